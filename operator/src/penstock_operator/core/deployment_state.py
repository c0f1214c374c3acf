"""What is seen of a ModelDeployment, and what was decided about each of its revisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.core.manifests.serving_pod import ServingImage
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.revisions import RevisionView
from penstock_operator.core.traffic_view import TrafficView, Usage


class RevisionPhase(StrEnum):
    """Where a revision is in its life."""

    PENDING = "Pending"
    READY = "Ready"
    SERVING = "Serving"
    RETIRED = "Retired"
    WITHDRAWN = "Withdrawn"
    FAILED = "Failed"
    REJECTED = "Rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The world around one ModelDeployment."""

    manifest: Manifest
    spec: ModelDeploymentSpec
    revisions: Mapping[str, RevisionView]
    children: Mapping[ObjectRef, Manifest]
    """Live children of all kinds by reference."""
    traffic: TrafficView | None
    """The split that moves this endpoint's traffic."""
    image: ServingImage
    usage: Usage = field(default_factory=Usage)
    """What all splits use; one may compete with revisions of several ModelDeployments."""
    retired: Mapping[str, str] = field(default_factory=dict)
    """Revisions that policies have retired, and the words for it."""
    foreign: frozenset[ObjectRef] = frozenset()
    """Objects with a child's name that belong to somebody else."""

    @property
    def name(self) -> str:
        """Name of the ModelDeployment."""
        return str(self.manifest["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.manifest["metadata"]["namespace"])

    @property
    def endpoint(self) -> Manifest | None:
        """The live Service that clients know."""
        return self.children.get(ObjectRef(kind=Kind.SERVICE, namespace=self.namespace, name=self.name))

    @property
    def status(self) -> dict[str, Any]:
        """Its status as last written."""
        status: dict[str, Any] = self.manifest.get("status", {})
        return status


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A revision with what was decided about it."""

    name: str
    number: int
    template: Manifest
    content: Manifest
    view: RevisionView | None
    phase: RevisionPhase
    reason: str
    message: str
    replicas: int
    """Pods that its Deployment asks for, or is to ask for."""
    least: int
    """Ready pods that make it complete; an autoscaler leaves it no fewer."""
    autoscaled: bool
    """Whether an autoscaler sets ``replicas``."""

    @property
    def ready(self) -> int:
        """Its ready pods."""
        return self.view.ready if self.view else 0

    latest: bool
    on_trial: bool
    """Whether a split tries it; or tried it when somebody deleted that split, and nothing has proven it since."""

    @property
    def grpc(self) -> bool:
        """Whether its pods speak gRPC; those of long ago may not, although nobody said so."""
        return bool(self.content.get("serving", {}).get("grpc", {}).get("enabled", True))

    @property
    def active(self) -> bool:
        """Whether its Deployment and Services are kept: not those of what was taken back and replaced since."""
        gone = self.phase is RevisionPhase.RETIRED or (self.phase is RevisionPhase.REJECTED and not self.latest)
        return not gone
