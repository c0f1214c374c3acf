"""An operator with the rights of the chart, and no others, does its work without a refusal."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.embedded.control_plane import ControlPlane
from tests.charts.conftest import CHART, Helm, Render
from tests.controlplane.operator_process import OperatorProcess
from tests.fakes.people import People

from penstock_operator.adapters.api_client import load_access
from penstock_operator.core.objects import Kind, ObjectRef

HOME, SHOP = "penstock-system", "shop"
USER = f"system:serviceaccount:{HOME}:penstock-operator"
OBJECTS: list[dict[str, Any]] = [
    {"kind": "ModelDeployment", "spec": {"model": {"uri": "s3://models/fraud.onnx", "sha256": "9f2c" * 16}}},
    {
        "kind": "TrafficSplit",
        "spec": {
            "stable": {"modelDeployment": "fraud"},
            "strategy": {"steps": [{"weight": 100}]},
            "policies": ["fraud"],
        },
    },
    {
        "kind": "DriftPolicy",
        "spec": {
            "target": {"name": "fraud"},
            "metrics": [{"name": "e", "source": "ErrorRate", "against": "Stable"}],
            "retrain": {"cronJob": "train"},
        },
    },
]

pytestmark = pytest.mark.controlplane


@pytest.fixture
def control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of its own: the chart brings the kinds, and the audit log tells of one operator only."""
    with ControlPlane(tmp_path, audit_log=tmp_path / "audit.log", die_with_parent=True) as running:
        yield running


@pytest.fixture
async def people(control_plane: ControlPlane) -> AsyncIterator[People]:
    """The administrator, with the two namespaces made."""
    async with People(await load_access(str(control_plane.kubeconfig))) as acting:
        await acting.create_namespace(HOME)
        await acting.create_namespace(SHOP)
        yield acting


async def token_of_the_operator(people: People) -> str:
    """Return a token of the chart's service account."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    where = f"/api/v1/namespaces/{HOME}/serviceaccounts/penstock-operator/token"
    answer = await people.client.request("create", where, resource="serviceaccounts", body=request)
    assert answer is not None
    return str(answer["status"]["token"])


def kubeconfig_with(token: str, control_plane: ControlPlane) -> Path:
    """Return the administrator's kubeconfig with the token instead of the certificate."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = control_plane.directory / "operator.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def used(log: Path) -> Counter[tuple[str, str, str]]:
    """Return what the operator asked of the API server: group, resource with subresource, verb."""
    asked: Counter[tuple[str, str, str]] = Counter()
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        target = entry.get("objectRef", {})
        if entry["user"]["username"] == USER and target.get("resource"):
            assert entry["responseStatus"]["code"] not in (401, 403), entry
            resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
            asked[target.get("apiGroup", ""), resource, entry["verb"]] += 1
    return asked


def with_gateway(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return an object, a TrafficSplit with a Gateway; nothing in this control plane knows HTTPRoutes."""
    spec = {**manifest["spec"], "gateway": {"parentRefs": [{"name": "edge"}]}}
    return {**manifest, "spec": spec} if manifest["kind"] == "TrafficSplit" else manifest


@pytest.mark.parametrize("watched", ["", SHOP], ids=["all namespaces", "one namespace, with Gateways"])
async def test_the_rights_of_the_chart_are_enough(
    watched: str, people: People, control_plane: ControlPlane, helm: Helm, render: Render
) -> None:
    values = [f"watchNamespaces={{{watched}}}", "gateway.enabled=true"] if watched else []
    flags = [part for value in values for part in ("--set", value)]
    done = helm("install", "penstock", str(CHART), "-n", HOME, *flags, kubeconfig=control_plane.kubeconfig)
    assert done.returncode == 0, done.stderr
    operator = OperatorProcess(
        "operator-0",
        kubeconfig=kubeconfig_with(await token_of_the_operator(people), control_plane),
        namespace=HOME,
        log=control_plane.directory / "operator.log",
        environment={"WATCH_NAMESPACES": watched, "POD_IP": "10.1.2.3", "GATEWAY_ENABLED": str(bool(watched))},
    )
    try:
        operator.wait_until_leading()
        for manifest in OBJECTS:
            metadata = {"name": "fraud", "namespace": SHOP}
            await people.create(
                {
                    "apiVersion": "penstock.dev/v1alpha1",
                    "metadata": metadata,
                    **(with_gateway(manifest) if watched else manifest),
                }
            )
        for kind in (Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY):
            ref = ObjectRef(kind=kind, namespace=SHOP, name="fraud")
            await people.until(ref, lambda live: (live or {}).get("status", {}).get("conditions"))
        revision = await people.until(
            ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=SHOP, name="fraud"),
            lambda live: (live or {})["status"].get("latestRevision"),
        )
        name = revision["status"]["latestRevision"]
        await people.until(ObjectRef(kind=Kind.DEPLOYMENT, namespace=SHOP, name=name), bool)
        await people.until(ObjectRef(kind=Kind.CONTROLLER_REVISION, namespace=SHOP, name=name), bool)
    finally:
        operator.terminate()
        operator.wait(20)
    asked = used(control_plane.directory / "audit.log")
    granted = {
        (group, resource, verb)
        for entry in render(*values)
        if entry["kind"] in ("Role", "ClusterRole") and entry["metadata"]["name"].startswith("penstock-operator")
        for rule in entry["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert set(asked) <= granted | {("authorization.k8s.io", "selfsubjectaccessreviews", "create")}
    assert asked["discovery.k8s.io", "endpointslices", "patch"]
    assert asked["coordination.k8s.io", "leases", "update"]
    assert asked["batch", "cronjobs", "get"]
    assert bool(asked["gateway.networking.k8s.io", "httproutes", "get"]) == bool(watched)
