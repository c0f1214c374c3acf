"""The pods that serve revisions, as those see them who ask pods what they have counted."""

from collections.abc import Iterable
from dataclasses import dataclass

from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Manifest
from penstock_operator.core.pod_state import is_ready


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPod:
    """One pod of a revision, and where it listens."""

    name: str
    ip: str
    revision: str


def ready_serving_pods(pods: Iterable[Manifest]) -> list[ServingPod]:
    """Return those of ``pods`` that serve a revision now: ready, with an address, not on their way out."""
    return [
        ServingPod(name=pod["metadata"]["name"], ip=pod["status"]["podIP"], revision=revision)
        for pod in pods
        if (revision := (pod["metadata"].get("labels") or {}).get(REVISION))
        and is_ready(pod)
        and pod["status"].get("podIP")
    ]
