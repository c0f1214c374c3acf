"""What the pods of a revision say: ready, still starting, or why they cannot."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_contract import termination
from penstock_operator.core.objects import Manifest

OUT_OF_MEMORY = "OutOfMemory"
#: One out-of-memory kill may be bad luck at start; a second one says that the limit is too small.
_OOM_KILLS = 2
_IMAGE_PROBLEMS = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why pods are not ready.

    ``permanent`` means that trying the same content again cannot help, so the revision is scaled to zero.
    """

    reason: str
    message: str
    permanent: bool = False


def ready_pods(pods: Iterable[Manifest]) -> int:
    """Return how many pods are ready and not on their way out."""
    return sum(1 for pod in pods if is_ready(pod))


def is_over(pod: Manifest) -> bool:
    """Return whether a pod ended for good: evicted or finished. Such pods may lie around for days."""
    return pod.get("status", {}).get("phase") in {"Failed", "Succeeded"}


def is_ready(pod: Manifest) -> bool:
    """Return whether a pod serves."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def trouble_of(deployment: Manifest | None, pods: Sequence[Manifest]) -> Trouble | None:
    """Return the most telling reason why a revision's pods are not ready, or None while they are merely starting."""
    # A pod on its way out ends as it was told to.
    staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    troubles = [trouble for pod in staying if not is_ready(pod) for trouble in _pod_troubles(pod)]
    if deployment is not None:
        troubles.extend(_deployment_troubles(deployment))
    return max(troubles, key=lambda trouble: trouble.permanent, default=None)


def _pod_troubles(pod: Manifest) -> Iterable[Trouble]:
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if trouble := _container_trouble(container):
            yield trouble
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield Trouble(reason="Unschedulable", message=condition.get("message", "no node fits"))
    if status.get("reason") == "Evicted":
        yield Trouble(reason="Evicted", message=status.get("message", "the node evicted the pod"))


def _container_trouble(container: dict[str, Any]) -> Trouble | None:
    waiting = container.get("state", {}).get("waiting", {})
    if waiting.get("reason") in _IMAGE_PROBLEMS:
        return Trouble(reason="ImagePullFailed", message=waiting.get("message", "the image cannot be pulled"))
    if waiting.get("reason") in {"CreateContainerConfigError", "CreateContainerError"}:
        return Trouble(reason="PodConfigInvalid", message=waiting.get("message", "the container cannot be created"))
    if container.get("ready") or (container.get("state", {}).get("running", {}) and container.get("started")):
        return None
    for state in ("state", "lastState"):
        terminated = container.get(state, {}).get("terminated")
        if terminated and terminated.get("exitCode") != 0:
            return _termination_trouble(container, terminated)
    return None


def _termination_trouble(container: dict[str, Any], terminated: dict[str, Any]) -> Trouble:
    if terminated.get("reason") == "OOMKilled":
        return Trouble(
            reason=OUT_OF_MEMORY,
            message="the model needs more memory than spec.resources.limits.memory allows; raise it",
            permanent=_ends(container) >= _OOM_KILLS,
        )
    told = termination.parse(terminated.get("message") or "")
    if told is not None:
        return Trouble(reason=told.reason.value, message=told.message, permanent=told.permanent)
    tail = (terminated.get("message") or "").strip()[-500:]
    return Trouble(
        reason="ContainerExited",
        message=f"container {container['name']} exited with code {terminated.get('exitCode')}: {tail or 'no message'}",
    )


def _ends(container: dict[str, Any]) -> int:
    """Return how often a container ended so far: once for each restart, and once more if it does not run now."""
    return int(container.get("restartCount", 0)) + (not container.get("state", {}).get("running"))


def _deployment_troubles(deployment: Manifest) -> Iterable[Trouble]:
    for condition in deployment.get("status", {}).get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            # Quota, admission and Pod Security say here why a pod may not exist. Pod names in it change with each try.
            message = re.sub(r'pods? "[^"]*" is', "a pod is", condition.get("message", ""))
            yield Trouble(reason="PodsDenied", message=message)
