"""What pods say, in the words of real kubelets."""

from typing import Any

import pytest

from penstock_contract.termination import Reason, TerminationMessage
from penstock_operator.core.objects import Manifest
from penstock_operator.core.pod_state import Trouble, is_over, is_ready, ready_pods, trouble_of

SCHEDULED = {"type": "PodScheduled", "status": "True"}
WAITING_TO_START = {
    "name": "server",
    "ready": False,
    "started": False,
    "state": {"waiting": {"reason": "PodInitializing"}},
}
TOLD = TerminationMessage(reason=Reason.CHECKSUM_MISMATCH, message="sha256 is 0a…, not 9f…", permanent=False)


def pod(*, deleted: bool = False, **status: Any) -> Manifest:
    metadata: dict[str, Any] = {"name": "fraud-9f2c-x"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": {"conditions": [SCHEDULED], **status}}


def with_condition(status: str, *, deleted: bool = False) -> Manifest:
    return pod(deleted=deleted, conditions=[SCHEDULED, {"type": "Ready", "status": status}])


def fetching(**container: Any) -> Manifest:
    fetch = {"name": "fetch", "ready": False, "started": False, "restartCount": 0, **container}
    return pod(phase="Pending", initContainerStatuses=[fetch], containerStatuses=[WAITING_TO_START])


def serving(**container: Any) -> Manifest:
    fetched = {"name": "fetch", "ready": True, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    server = {"name": "server", "ready": False, "started": False, "restartCount": 0, **container}
    return pod(phase="Running", initContainerStatuses=[fetched], containerStatuses=[server])


def ended(message: str = "", *, reason: str = "Error", code: int = 1) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (with_condition("True"), True),
        (with_condition("False"), False),
        (with_condition("True", deleted=True), False),
        (pod(), False),
        ({"metadata": {"name": "new"}}, False),
    ],
    ids=["ready", "not ready", "on its way out", "starting", "without a status"],
)
def test_a_pod_is_ready_when_its_condition_says_so_and_it_stays(manifest: Manifest, *, expected: bool) -> None:
    assert is_ready(manifest) is expected
    assert ready_pods([manifest, manifest]) == 2 * expected


@pytest.mark.parametrize(
    ("phase", "expected"), [("Pending", False), ("Running", False), ("Failed", True), ("Succeeded", True)]
)
def test_a_pod_is_over_when_it_failed_or_finished(phase: str, *, expected: bool) -> None:
    assert is_over(pod(phase=phase)) is expected


@pytest.mark.parametrize(
    "manifest",
    [
        {"metadata": {"name": "new"}},
        fetching(state=RUNNING),
        fetching(state={"waiting": {"reason": "PodInitializing"}}),
        serving(state=RUNNING),
        serving(state=RUNNING, started=True),
        serving(state=RUNNING, started=True, restartCount=1, lastState=ended("boom")),
        serving(state=ended(code=0)),
        with_condition("True"),
        pod(
            deleted=True,
            phase="Running",
            containerStatuses=[{"name": "server", "ready": False, "state": ended("killed", code=137)}],
        ),
    ],
    ids=[
        "just created",
        "fetching",
        "waiting for the fetcher",
        "loading",
        "loaded and not ready",
        "up again after a crash",
        "ended well",
        "ready",
        "ended because it was told to",
    ],
)
def test_pods_that_merely_start_or_end_are_in_no_trouble(manifest: Manifest) -> None:
    assert trouble_of(None, [manifest]) is None


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (
            fetching(state=ended(TOLD.to_json())),
            Trouble(reason="ChecksumMismatch", message="sha256 is 0a…, not 9f…"),
        ),
        (
            fetching(state=BACK_OFF, lastState=ended(TOLD.to_json()), restartCount=3),
            Trouble(reason="ChecksumMismatch", message="sha256 is 0a…, not 9f…"),
        ),
        (
            fetching(state=RUNNING, lastState=ended(TOLD.to_json()), restartCount=1),
            Trouble(reason="ChecksumMismatch", message="sha256 is 0a…, not 9f…"),
        ),
        (
            serving(state=BACK_OFF, lastState=ended("Traceback…\nValueError: no"), restartCount=1),
            Trouble(
                reason="ContainerExited", message="container server exited with code 1: Traceback…\nValueError: no"
            ),
        ),
        (
            serving(state=ended(code=139)),
            Trouble(reason="ContainerExited", message="container server exited with code 139: no message"),
        ),
        (
            fetching(state={"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}),
            Trouble(reason="ImagePullFailed", message='Back-off pulling image "x"'),
        ),
        (
            fetching(state={"waiting": {"reason": "InvalidImageName"}}),
            Trouble(reason="ImagePullFailed", message="the image cannot be pulled"),
        ),
        (
            fetching(state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}}),
            Trouble(reason="PodConfigInvalid", message='secret "s" not found'),
        ),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]),
            Trouble(reason="Unschedulable", message="0/3 nodes are available"),
        ),
        (
            pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
            Trouble(reason="Evicted", message="The node was low on resource: memory."),
        ),
    ],
    ids=[
        "the fetcher ended",
        "the fetcher ends again and again",
        "the fetcher tries again",
        "the server ends again and again",
        "the server crashed",
        "no image",
        "no name of an image",
        "no secret",
        "no node",
        "evicted",
    ],
)
def test_why_a_pod_is_not_ready(manifest: Manifest, expected: Trouble) -> None:
    assert trouble_of(None, [manifest]) == expected


def test_what_the_container_said_about_permanence_is_kept() -> None:
    said = TerminationMessage(reason=Reason.NOT_ONNX, message="no", permanent=True).to_json()
    found = trouble_of(None, [fetching(state=ended(said))])

    assert found is not None
    assert found.permanent


@pytest.mark.parametrize(
    ("container", "permanent"),
    [
        ({"state": ended(reason="OOMKilled", code=137), "restartCount": 0}, False),
        ({"state": RUNNING, "lastState": ended(reason="OOMKilled", code=137), "restartCount": 1}, False),
        ({"state": BACK_OFF, "lastState": ended(reason="OOMKilled", code=137), "restartCount": 1}, True),
        ({"state": ended(reason="OOMKilled", code=137), "restartCount": 1}, True),
        ({"state": RUNNING, "lastState": ended(reason="OOMKilled", code=137), "restartCount": 2}, True),
    ],
    ids=["first kill", "second try", "second kill, waiting", "second kill", "third try"],
)
def test_only_the_second_kill_for_memory_is_final(container: dict[str, Any], *, permanent: bool) -> None:
    found = trouble_of(None, [serving(**container)])

    assert found is not None
    assert (found.reason, found.permanent) == ("OutOfMemory", permanent)


def test_the_most_final_trouble_of_several_pods_is_told() -> None:
    said = TerminationMessage(reason=Reason.NOT_ONNX, message="no", permanent=True).to_json()
    pods = [
        fetching(state={"waiting": {"reason": "ErrImagePull"}}),
        fetching(state=ended(said)),
        with_condition("True"),
    ]

    found = trouble_of(None, pods)

    assert found is not None
    assert found.reason == "NotOnnx"


def test_long_last_words_keep_their_end() -> None:
    found = trouble_of(None, [serving(state=ended("x" * 5000 + "the end"))])

    assert found is not None
    assert found.message.endswith("the end")
    assert len(found.message) < 600


def test_pods_that_may_not_exist_are_told_by_their_deployment() -> None:
    def deployment(pod_name: str) -> Manifest:
        message = f'pods "{pod_name}" is forbidden: exceeded quota: none, requested: pods=1'
        return {"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": message}]}}

    expected = Trouble(reason="PodsDenied", message="a pod is forbidden: exceeded quota: none, requested: pods=1")
    assert trouble_of(deployment("fraud-a-x1"), []) == trouble_of(deployment("fraud-a-x2"), []) == expected
    assert trouble_of({"status": {}}, []) is None
