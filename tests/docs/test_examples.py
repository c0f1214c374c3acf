"""Every manifest that people may copy is taken by the schema, the operator's types and a real API server."""

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.fakes.people import People

from penstock_operator.api.model import ApiModel
from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "examples" / "models"
SPECS: dict[str, type[ApiModel]] = {
    "ModelDeployment": ModelDeploymentSpec,
    "TrafficSplit": TrafficSplitSpec,
    "DriftPolicy": DriftPolicySpec,
}
PLURALS = {"ModelDeployment": "modeldeployments", "TrafficSplit": "trafficsplits", "DriftPolicy": "driftpolicies"}


def manifests() -> list[Any]:
    """Every object of ours in examples, in the documentation and in the README."""
    texts = {path: path.read_text() for path in sorted((ROOT / "examples").rglob("*.yaml"))}
    for path in sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]):
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", path.read_text(), re.DOTALL)):
            texts[path.with_suffix(f".{number}")] = block
    return [
        pytest.param(manifest, id=f"{path.relative_to(ROOT)} {manifest['kind']}")
        for path, text in texts.items()
        for manifest in yaml.safe_load_all(text)
        if isinstance(manifest, dict) and str(manifest.get("apiVersion")).startswith("penstock.dev/")
    ]


EXAMPLES = manifests()


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a structural schema as a JSON schema that refuses unknown fields, as kubectl does."""
    closed = dict(schema)
    if closed.pop("x-kubernetes-int-or-string", False):
        closed["type"] = ["integer", "string"]
    if "properties" in closed:
        closed["properties"] = {name: strict(child) for name, child in closed["properties"].items()}
        closed["additionalProperties"] = False
    elif isinstance(closed.get("additionalProperties"), dict):
        closed["additionalProperties"] = strict(closed["additionalProperties"])
    elif closed.get("type") == "object" and not closed.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    if "items" in closed:
        closed["items"] = strict(closed["items"])
    return closed


def test_there_are_examples_of_every_kind() -> None:
    assert {example.values[0]["kind"] for example in EXAMPLES} == set(SPECS)


@pytest.mark.parametrize("manifest", EXAMPLES)
def test_the_schema_and_the_types_take_it(manifest: dict[str, Any]) -> None:
    crd = yaml.safe_load((ROOT / "crds" / f"{PLURALS[manifest['kind']]}.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    jsonschema.validate(manifest["spec"], strict(spec))
    SPECS[manifest["kind"]].parse(manifest["spec"])


@pytest.mark.controlplane
@pytest.mark.parametrize("manifest", EXAMPLES)
async def test_a_real_api_server_takes_it(manifest: dict[str, Any], people: People) -> None:
    body = copy.deepcopy(manifest)
    body["metadata"]["namespace"] = "default"
    plural = PLURALS[manifest["kind"]]
    where = f"/apis/penstock.dev/v1alpha1/namespaces/default/{plural}"
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    assert await people.client.request("create", where, resource=plural, body=body, query=query)


def test_the_digests_of_example_models_are_theirs() -> None:
    lines = (MODELS / "SHA256SUMS").read_text().splitlines()
    known = {name: digest for digest, name in (line.split() for line in lines)}
    pages = [*(ROOT / "examples").rglob("*.yaml"), ROOT / "docs" / "quickstart.md"]
    named = [
        match
        for page in pages
        for match in re.findall(
            r'configmap://tumor-models/([\w.-]+)"?,?\s+"?sha256"?: "?([0-9a-f]{64})', page.read_text()
        )
    ]
    assert len(named) >= 4
    for name, digest in named:
        assert known[name] == digest, name
