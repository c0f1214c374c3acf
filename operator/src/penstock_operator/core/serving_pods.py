"""The pods that serve revisions, as those see them who ask pods what they have counted."""

from collections.abc import Iterable
from dataclasses import dataclass

from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Manifest
from penstock_operator.core.pod_state import is_over, is_ready


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPod:
    """One pod of a revision, and where it listens."""

    name: str
    ip: str
    revision: str


def ready_serving_pods(pods: Iterable[Manifest]) -> list[ServingPod]:
    """Return those of ``pods`` that serve a revision now: ready, with an address, not on their way out."""
    return _serving(pod for pod in pods if is_ready(pod))


def leaving_serving_pods(pods: Iterable[Manifest]) -> list[ServingPod]:
    """Return those of ``pods`` that are on their way out; they may still tell what they have counted."""
    return _serving(pod for pod in pods if pod["metadata"].get("deletionTimestamp") and not is_over(pod))


def _serving(pods: Iterable[Manifest]) -> list[ServingPod]:
    return [
        ServingPod(name=pod["metadata"]["name"], ip=pod["status"]["podIP"], revision=revision)
        for pod in pods
        if (revision := (pod["metadata"].get("labels") or {}).get(REVISION)) and pod.get("status", {}).get("podIP")
    ]
