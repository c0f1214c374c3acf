"""What a training has published becomes a ModelDeployment's model once, and never against somebody else's will."""

import json
from typing import Any

import pytest
from tests.penstock_operator.core.alarms import RETRAINS, alarm
from tests.penstock_operator.reconcile.test_acting import Desk

from penstock_operator.core.model_update import MESSAGE_KEY
from penstock_operator.core.objects import Manifest
from penstock_operator.ports import RequestRejected

NEW: dict[str, Any] = {"uri": "s3://models/fraud/4/model.onnx", "sha256": "4" * 64, "version": "4"}
UPDATES: dict[str, Any] = {**RETRAINS, "retrain": {"cronJob": "train", "update": {"modelDeployment": "fraud"}}}


def deployment(manager: str = "kubectl-client-side-apply", **model: Any) -> Manifest:
    fields: dict[str, Any] = {"f:spec": {"f:model": {"f:uri": {}, "f:sha256": {}, "f:version": {}}, "f:replicas": {}}}
    return {
        "metadata": {
            "name": "fraud",
            "namespace": "shop",
            "resourceVersion": "7",
            "managedFields": [
                {"manager": manager, "operation": "Update", "fieldsV1": fields},
                {"manager": "penstock", "subresource": "status", "fieldsV1": {"f:status": {}}},
            ],
        },
        "spec": {"model": {"uri": "s3://models/fraud/3/model.onnx", "sha256": "3" * 64, **model}, "replicas": 2},
    }


async def trained(desk: Desk, message: object = None) -> str:
    """Let a training run to its good end; return its name."""
    for _ in range(3):
        await desk.look(alarm())
    ((key, job),) = desk.trainer.jobs.items()
    desk.trainer.jobs[key] = {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    said = json.dumps({MESSAGE_KEY: NEW}) if message is None else message
    desk.trainer.messages[key] = [said] if isinstance(said, str) else []
    for _ in range(3):
        await desk.look(alarm(), after=20)
    return key[1]


def training(desk: Desk) -> dict[str, Any]:
    (entry,) = desk.status["trainings"]
    found: dict[str, Any] = entry
    return found


async def test_the_published_model_is_applied_once_and_nothing_else_of_the_spec() -> None:
    desk = Desk(**UPDATES)
    desk.trainer.deployments["shop", "fraud"] = deployment(credentials={"secretName": "s3"})
    name = await trained(desk)
    (applied,) = desk.trainer.updates
    assert applied["spec"] == {"model": NEW}
    assert applied["metadata"] == {"name": "fraud", "namespace": "shop", "resourceVersion": "7"}
    assert training(desk)["updated"] == "fraud asks for s3://models/fraud/4/model.onnx, version 4"
    condition = desk.condition("ModelUpdated")
    assert (condition["status"], condition["reason"]) == ("True", "ModelUpdated")
    assert condition["message"].startswith(f"{name}: fraud asks for ")
    assert [event.reason for _, event in desk.cluster.events].count("ModelUpdated") == 1
    desk.restart()
    for _ in range(3):
        await desk.look(alarm(), after=20)
    assert len(desk.trainer.updates) == 1
    assert desk.condition("ModelUpdated")["status"] == "True"


async def test_a_crash_after_the_update_and_before_the_status_changes_nothing_twice() -> None:
    desk = Desk(**UPDATES)
    desk.trainer.deployments["shop", "fraud"] = deployment()
    for _ in range(3):
        await desk.look(alarm())
    ((key, job),) = desk.trainer.jobs.items()
    desk.trainer.jobs[key] = {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    desk.trainer.messages[key] = [json.dumps({MESSAGE_KEY: NEW})]
    await desk.look(alarm(), after=20, crash=True)
    for _ in range(3):
        await desk.look(alarm(), after=20)
    assert len(desk.trainer.updates) == 1


async def test_without_being_asked_nothing_is_updated() -> None:
    desk = Desk(**RETRAINS)
    desk.trainer.deployments["shop", "fraud"] = deployment()
    await trained(desk)
    assert desk.trainer.updates == []
    assert desk.condition("ModelUpdated") == {}


@pytest.mark.parametrize("manager", ["argocd-controller", "kustomize-controller", "helm", "somebody"])
async def test_what_somebody_else_keeps_is_left_to_them_until_that_is_said(manager: str) -> None:
    desk = Desk(**UPDATES)
    desk.trainer.deployments["shop", "fraud"] = deployment(manager)
    await trained(desk)
    assert desk.trainer.updates == []
    condition = desk.condition("ModelUpdated")
    assert (condition["status"], condition["reason"]) == ("False", "FieldOwned")
    assert f"belongs to {manager}" in condition["message"]
    assert "takeFrom" in condition["message"]
    assert "updated" not in training(desk)
    update = {"modelDeployment": "fraud", "takeFrom": [manager]}
    desk.change(**{**RETRAINS, "retrain": {"cronJob": "train", "update": update}})
    await desk.look(alarm(), after=20)
    assert len(desk.trainer.updates) == 1


async def test_who_owns_other_fields_does_not_matter() -> None:
    desk = Desk(**UPDATES)
    live = deployment()
    other = {
        "manager": "argocd-controller",
        "fieldsV1": {"f:spec": {"f:replicas": {}, "f:model": {"f:credentials": {}}}},
    }
    live["metadata"]["managedFields"].append(other)
    desk.trainer.deployments["shop", "fraud"] = live
    await trained(desk)
    assert len(desk.trainer.updates) == 1


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", "ended without naming a model"),
        ("done", "ended without naming a model"),
        ([], "ended without naming a model"),
        (json.dumps({MESSAGE_KEY: "s3://x"}), "must be an object with uri and sha256"),
        (json.dumps({MESSAGE_KEY: {"uri": "s3://x"}}), "must be an object with uri and sha256"),
        (json.dumps({MESSAGE_KEY: {"uri": 7, "sha256": "x"}}), "must hold texts"),
        (json.dumps({MESSAGE_KEY: {"uri": "s3://x", "sha256": "x", "profile": {"path": "y"}}}), "profile must be"),
    ],
)
async def test_a_training_that_names_no_model_is_told_what_to_write(message: object, said: str) -> None:
    desk = Desk(**UPDATES)
    desk.trainer.deployments["shop", "fraud"] = deployment()
    await trained(desk, message)
    assert desk.trainer.updates == []
    condition = desk.condition("ModelUpdated")
    assert (condition["status"], condition["reason"]) == ("False", "NothingPublished")
    assert said in condition["message"]
    assert training(desk)["updated"].startswith("Refused: ")


async def test_a_model_without_the_profile_that_the_old_one_has_is_not_brought_in() -> None:
    desk = Desk(**UPDATES)
    desk.trainer.deployments["shop", "fraud"] = deployment(profile={"sha256": "a" * 64})
    await trained(desk)
    assert desk.trainer.updates == []
    assert "names a profile" in desk.condition("ModelUpdated")["message"]


async def test_an_operator_without_the_right_says_how_to_give_it() -> None:
    desk = Desk(**UPDATES)
    desk.trainer.deployments["shop", "fraud"] = deployment()
    for _ in range(3):
        await desk.look(alarm())
    desk.trainer.refusal = RequestRejected("patch modeldeployments: 403 forbidden", 403, "Forbidden")
    await trained(desk)
    condition = desk.condition("ModelUpdated")
    assert condition["reason"] == "UpdateNotAllowed"
    assert "modelUpdates.enabled=true" in condition["message"]
    desk.trainer.refusal = None
    await desk.look(alarm(), after=20)
    assert len(desk.trainer.updates) == 1


async def test_a_model_that_the_api_server_refuses_is_not_tried_again() -> None:
    desk = Desk(**UPDATES)
    desk.trainer.deployments["shop", "fraud"] = deployment()
    for _ in range(3):
        await desk.look(alarm())
    desk.trainer.refusal = RequestRejected("apply: 422 spec.model.uri: write s3://…", 422, "Invalid")
    await trained(desk)
    desk.trainer.refusal = None
    await desk.look(alarm(), after=20)
    assert desk.trainer.updates == []
    assert training(desk)["updated"] == "Refused: apply: 422 spec.model.uri: write s3://…"
    assert desk.condition("ModelUpdated")["reason"] == "RejectedByServer"


async def test_a_model_deployment_that_is_not_there_is_named() -> None:
    desk = Desk(**UPDATES)
    await trained(desk)
    condition = desk.condition("ModelUpdated")
    assert condition["reason"] == "TargetNotFound"
    assert "there is no ModelDeployment fraud" in condition["message"]


async def test_what_is_asked_for_already_needs_no_write() -> None:
    desk = Desk(**UPDATES)
    desk.trainer.deployments["shop", "fraud"] = deployment("argocd-controller", **NEW)
    await trained(desk)
    assert desk.trainer.updates == []
    assert desk.condition("ModelUpdated")["status"] == "True"
