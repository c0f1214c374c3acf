"""Names: short enough, and for ever the same."""

from datetime import timedelta
from typing import Any

import pytest
from tests.penstock_operator.api.schemas import defaulted, schema_of

from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.core import names

DIGEST = "9f2c" * 16
SMALL: dict[str, Any] = {"model": {"uri": "s3://models/fraud/3/model.onnx", "sha256": DIGEST}}
#: As objects were stored while 2s was the default: the API server writes defaults out.
STORED_THEN: dict[str, Any] = {**SMALL, "serving": {"timeout": "2s", "concurrency": {"max": 64, "queue": 256}}}
FULL: dict[str, Any] = {
    "model": {**SMALL["model"], "version": "3", "credentials": {"secretName": "models-s3"}},
    "serving": {"modelName": "f", "timeout": "500ms", "concurrency": {"max": 8, "queue": 16}},
    "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    "pod": {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "labels": {"team": "risk"},
        "annotations": {"a": "b"},
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "registry"}],
    },
}


def name_of(spec: dict[str, Any]) -> str:
    return names.revision_name("fraud", ModelDeploymentSpec.parse(spec))


@pytest.mark.parametrize(
    ("spec", "golden"),
    [(STORED_THEN, "fraud-5df29b45"), (FULL, "fraud-c7e3f1af"), (SMALL, "fraud-a43268e0")],
    ids=["of the first version", "full", "small"],
)
def test_the_name_of_a_revision_never_changes(spec: dict[str, Any], golden: str) -> None:
    """A name that changed with a version of the operator would restart every model of every user."""
    assert name_of(spec) == golden


def test_objects_stored_before_the_default_timeout_changed_keep_their_two_seconds_and_their_revision() -> None:
    schema = schema_of("modeldeployments")["properties"]["spec"]
    upgraded = defaulted(schema, STORED_THEN)

    assert ModelDeploymentSpec.parse(upgraded).serving.timeout == timedelta(seconds=2)
    assert name_of(upgraded) == name_of(STORED_THEN) != name_of(SMALL)


def test_defaults_spelled_out_or_left_out_make_the_same_revision() -> None:
    spelled = defaulted(schema_of("modeldeployments")["properties"]["spec"], SMALL)

    assert spelled != SMALL
    assert name_of(spelled) == name_of(SMALL)


@pytest.mark.parametrize(
    "same",
    [
        {**SMALL, "replicas": 7},
        {**SMALL, "revisionHistoryLimit": 0},
        {**SMALL, "pod": {"labels": {}, "tolerations": [], "nodeSelector": {}}},
        {**SMALL, "serving": {"timeout": "30000ms"}},
        {**SMALL, "serving": {"timeout": "30s", "grpc": {"enabled": True}}},
        {**SMALL, "model": {**SMALL["model"], "files": []}},
        {**SMALL, "somethingNewer": True},
        {"model": dict(reversed(SMALL["model"].items()))},
    ],
    ids=[
        "replicas",
        "history",
        "empty pod settings",
        "the same time in other words",
        "defaults of later fields",
        "no files",
        "an unknown field",
        "order",
    ],
)
def test_what_does_not_change_the_pods_makes_no_new_revision(same: dict[str, Any]) -> None:
    assert name_of(same) == name_of(SMALL)


@pytest.mark.parametrize(
    "other",
    [
        {"model": {**SMALL["model"], "sha256": "0" * 64}},
        {"model": {**SMALL["model"], "uri": "s3://models/fraud/4/model.onnx"}},
        {"model": {**SMALL["model"], "version": "3"}},
        {**SMALL, "serving": {"timeout": "3s"}},
        {**SMALL, "serving": {"timeout": "2s"}},
        {**SMALL, "serving": {"grpc": {"enabled": False}}},
        {**SMALL, "serving": {"batching": {}}},
        {**SMALL, "serving": {"predictionLog": {"destination": "stdout"}}},
        {"model": {**SMALL["model"], "files": [{"path": "w", "sha256": DIGEST}]}},
        {"model": {**SMALL["model"], "profile": {"sha256": DIGEST}}},
        {**SMALL, "resources": {"limits": {"memory": "1Gi"}}},
        {**SMALL, "resources": {"requests": {}}},
        {**SMALL, "pod": {"labels": {"team": "risk"}}},
    ],
    ids=[
        "digest",
        "uri",
        "version",
        "timeout",
        "the default timeout of the first version",
        "no gRPC",
        "batching",
        "prediction log",
        "files",
        "profile",
        "memory",
        "no requests",
        "label",
    ],
)
def test_what_changes_the_pods_makes_a_new_revision(other: dict[str, Any]) -> None:
    assert name_of(other) != name_of(SMALL)


def test_the_longest_name_that_is_admitted_fits_everywhere() -> None:
    longest = "a" * 46
    revision = names.revision_name(longest, ModelDeploymentSpec.parse(SMALL))
    pod = f"{revision}-{'b' * 10}-{'c' * 5}"

    assert len(revision) <= 63
    assert len(names.serving_name(longest)) <= 63
    assert len(pod) <= 253


def test_a_revisions_host_leaves_the_clusters_domain_to_the_resolver() -> None:
    assert names.revision_host("fraud-9f2c", "shop") == "fraud-9f2c.shop.svc"
