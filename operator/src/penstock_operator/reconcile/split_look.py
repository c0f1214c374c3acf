"""What is known of a TrafficSplit before anything is decided, or why it may not act."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.core.conditions import Reason
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of
from penstock_operator.core.policy_view import policy_views
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.rollout_status import parse_rollout
from penstock_operator.core.router_choice import ENVOY, changes_router, router_of
from penstock_operator.core.tactics import Tactics, tactics_of
from penstock_operator.core.traffic_split import (
    Competition,
    Problem,
    competition,
    deployments_of,
    problem_of,
    revision_states,
    router_port,
)
from penstock_operator.core.trial import PolicyView
from penstock_operator.core.world import RevisionState
from penstock_operator.ports import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of a split before anything is decided."""

    manifest: Manifest
    spec: TrafficSplitSpec
    tactics: Tactics
    deployment: Manifest
    """The ModelDeployment of the stable revision, as spec names it."""
    targets: Mapping[str, ModelDeploymentSpec]
    """Every ModelDeployment that the split has to do with and that can be read, by name."""
    revisions: Mapping[str, RevisionState]
    competition: Competition
    policies: list[PolicyView]
    rollout: Rollout
    weights: dict[str, int]
    """What every router has acknowledged, as status tells; empty while another kind of router takes over."""
    port: int | None
    """The port of the built-in routers; None with a Gateway."""

    @property
    def ref(self) -> ObjectRef:
        """Its reference."""
        return ref_of(Kind.TRAFFIC_SPLIT, self.manifest)

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.manifest["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Name of the split."""
        return str(self.manifest["metadata"]["name"])

    @property
    def status(self) -> dict[str, Any]:
        """Its status as last written."""
        status: dict[str, Any] = self.manifest.get("status", {})
        return status

    @property
    def grpc(self) -> bool:
        """Whether any of its models is asked for over gRPC too."""
        return any(target.serving.grpc.enabled for target in self.targets.values())

    @property
    def target(self) -> ModelDeploymentSpec:
        """What the stable ModelDeployment asks for."""
        return self.targets[self.spec.stable.model_deployment]


def look_at(ref: ObjectRef, manifest: Manifest, cluster: Cluster) -> Look | Problem:
    """Return what is known of a split, or what keeps it from acting."""
    try:
        spec = TrafficSplitSpec.parse(manifest["spec"])
    except ValidationError as error:
        return Problem(reason=Reason.INVALID_SPEC, message=str(error))
    deployments = {item["metadata"]["name"]: item for item in cluster.list(Kind.MODEL_DEPLOYMENT, ref.namespace)}
    splits = cluster.list(Kind.TRAFFIC_SPLIT, ref.namespace)
    if problem := problem_of(manifest, spec, deployments, splits):
        return problem
    rollout = parse_rollout(manifest.get("status", {}))
    weights = {} if changes_router(manifest) else acknowledged_weights(manifest)
    concerned = deployments_of(spec, rollout, weights) & deployments.keys()
    autoscalers = {
        item["metadata"]["name"]: item for item in cluster.list(Kind.HORIZONTAL_POD_AUTOSCALER, ref.namespace)
    }
    targets = {}
    for name in concerned:
        try:
            targets[name] = ModelDeploymentSpec.parse(deployments[name]["spec"])
        except ValidationError as error:
            if name == spec.stable.model_deployment:
                return Problem(reason=Reason.INVALID_SPEC, message=f"ModelDeployment {name} is invalid: {error}")
    return Look(
        manifest=manifest,
        spec=spec,
        tactics=tactics_of(spec),
        deployment=deployments[spec.stable.model_deployment],
        targets=targets,
        revisions={
            revision: state
            for name in concerned
            for revision, state in revision_states(deployments[name], autoscalers).items()
        },
        competition=competition(spec, deployments),
        policies=policy_views(spec, ref.name, cluster.list(Kind.DRIFT_POLICY, ref.namespace)),
        rollout=rollout,
        weights=weights,
        port=_port(manifest, splits) if router_of(manifest) == ENVOY else None,
    )


def acknowledged_weights(manifest: Manifest) -> dict[str, int]:
    """Return the weights that every router runs, as a split's status tells."""
    return {entry["revision"]: entry.get("weight", 0) for entry in manifest.get("status", {}).get("weights", ())}


def _port(manifest: Manifest, splits: Sequence[Manifest]) -> int:
    own = manifest.get("status", {}).get("port")
    if own is not None:
        return int(own)
    taken = {split.get("status", {}).get("port") for split in splits}
    return router_port(manifest["metadata"]["name"], {port for port in taken if port is not None})
