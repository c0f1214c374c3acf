"""Autoscalers of revisions on a real API server, with Kubernetes' own controllers."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.controlplane.conftest import StartOperator
from tests.controlplane.test_shell import deployments, until_quiet, writes
from tests.fakes.people import People

from penstock_operator.adapters.kubernetes import path
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.ports import RequestRejected

pytestmark = pytest.mark.controlplane

#: Kubernetes looks at a new autoscaler after 15 s, and again as often.
AUTOSCALER_SECONDS = 60.0


def model_deployment(namespace: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "fraud", "namespace": namespace},
        "spec": {"model": {"uri": "configmap://models/model.onnx", "sha256": "0" * 64}, **spec},
    }


async def scale(people: People, ref: ObjectRef, replicas: int) -> None:
    """Do what an autoscaler does."""
    body = {"spec": {"replicas": replicas}}
    await people.client.request("patch", f"{path(ref)}/scale", resource=ref.kind.resource.plural, body=body)


def condition(live: Manifest | None, type_: str) -> dict[str, Any]:
    found = ((live or {}).get("status") or {}).get("conditions") or []
    return next((item for item in found if item["type"] == type_), {})


def asks_for(replicas: int) -> Any:
    return lambda live: live is not None and live["spec"]["replicas"] == replicas


@pytest.fixture(autouse=True)
def leading(start_operator: StartOperator) -> None:
    """One operator that leads, however long a busy machine takes to start it."""
    start_operator().wait_until_leading(120)


async def test_an_autoscaler_counts_the_pods_and_the_operator_only_says_how_few(
    people: People, namespace: str, audit_log: Path
) -> None:
    scaling = {"minReplicas": 2, "maxReplicas": 10}
    created = await people.create(model_deployment(namespace, autoscaling=scaling))
    assert created["spec"]["autoscaling"]["targetCPUUtilization"] == 70
    (child,) = await deployments(people, namespace, 1)
    name = child["metadata"]["name"]
    deployment = ObjectRef(kind=Kind.DEPLOYMENT, namespace=namespace, name=name)
    autoscaler = ObjectRef(kind=Kind.HORIZONTAL_POD_AUTOSCALER, namespace=namespace, name=name)
    owner = ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=namespace, name="fraud")
    live = await people.until(autoscaler, bool)
    assert (live["spec"]["minReplicas"], live["spec"]["maxReplicas"]) == (2, 10)
    assert live["metadata"]["ownerReferences"][0]["uid"] == created["metadata"]["uid"]
    assert child["spec"]["replicas"] == 2

    # What somebody asks for through the scale subresource, nobody takes back.
    await until_quiet(audit_log, namespace, 2)
    before = len(writes(audit_log, namespace))
    await scale(people, deployment, 7)
    await people.until(owner, lambda seen: seen and seen["status"]["revisions"][0]["replicas"] == 7)
    await until_quiet(audit_log, namespace, 2)
    told = [(line["verb"], line["objectRef"]["resource"]) for line in writes(audit_log, namespace)[before:]]
    assert set(told) <= {("update", "modeldeployments"), ("create", "events"), ("patch", "events")}
    assert asks_for(7)(await people.get(deployment))

    # Nor does mending another field of the Deployment.
    await people.patch(deployment, {"spec": {"revisionHistoryLimit": 5}})
    mended = await people.until(deployment, lambda seen: seen and seen["spec"]["revisionHistoryLimit"] == 0)
    assert mended["spec"]["replicas"] == 7

    # There are no metrics here: Kubernetes says so, and so does the condition; minima are kept all the same.
    said = await people.until(
        owner, lambda seen: condition(seen, "AutoscalingActive").get("status") == "False", seconds=AUTOSCALER_SECONDS
    )
    assert condition(said, "AutoscalingActive")["reason"] == "NoCpuMetrics"
    assert "metrics" in condition(said, "AutoscalingActive")["message"]
    await people.patch(owner, {"spec": {"autoscaling": {"minReplicas": 9}}})
    await people.until(deployment, asks_for(9), seconds=AUTOSCALER_SECONDS)

    # Replicas again: the autoscaler goes, and the operator asks for the pods.
    await people.patch(owner, {"spec": {"autoscaling": None, "replicas": 3}})
    await people.until(deployment, asks_for(3))
    await people.until(autoscaler, lambda seen: seen is None)
    assert json.dumps(await people.get(owner)).count("AutoscalingActive") == 0 or await people.until(
        owner, lambda seen: not condition(seen, "AutoscalingActive")
    )


async def test_an_autoscaler_of_the_users_own_scales_the_model_deployment(people: People, namespace: str) -> None:
    await people.create(model_deployment(namespace))
    (child,) = await deployments(people, namespace, 1)
    owner = ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=namespace, name="fraud")
    await people.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "mine", "namespace": namespace},
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "penstock.dev/v1alpha1",
                    "kind": "ModelDeployment",
                    "name": "fraud",
                },
                "minReplicas": 4,
                "maxReplicas": 6,
            },
        }
    )
    deployment = ObjectRef(kind=Kind.DEPLOYMENT, namespace=namespace, name=child["metadata"]["name"])
    await people.until(deployment, asks_for(4), seconds=AUTOSCALER_SECONDS)

    # Two autoscalers for one model are refused where the second one comes.
    await people.delete(ObjectRef(kind=Kind.HORIZONTAL_POD_AUTOSCALER, namespace=namespace, name="mine"))
    await people.patch(owner, {"spec": {"replicas": 2, "autoscaling": {"maxReplicas": 5}}})
    with pytest.raises(RequestRejected, match="replicas and autoscaling exclude each other"):
        await scale(people, owner, 5)
