"""What a TrafficSplit means: whether it may act, what the routers are asked, and the status that tells it."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.core import names
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.manifests.endpoint import endpoint_url
from penstock_operator.core.manifests.router import SPLIT_PORTS
from penstock_operator.core.manifests.serving_pod import HTTP_PORT
from penstock_operator.core.objects import Manifest
from penstock_operator.core.phases import Phase
from penstock_operator.core.rollout_moves import Decision
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.rollout_status import rollout_to_wire
from penstock_operator.core.routes import Acknowledgement, Backend, SplitRoute
from penstock_operator.core.traffic_view import governing_split
from penstock_operator.core.trial import PolicyView
from penstock_operator.core.world import RevisionState

#: The router gives up later than the pods do, so that their own 504 reaches the client.
_ROUTER_TIMEOUT_MARGIN_SECONDS = 1.0
_RESTING = frozenset({Phase.IDLE, Phase.PROMOTED, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What somebody has to mend. Traffic stays as it is until then."""

    reason: Reason
    message: str


def problem_of(
    split: Manifest, spec: TrafficSplitSpec, deployments: Mapping[str, Manifest], splits: Sequence[Manifest]
) -> Problem | None:
    """Return what keeps a split from acting, or None."""
    name, target = split["metadata"]["name"], spec.stable.model_deployment
    if target not in deployments:
        known = ", ".join(sorted(deployments)) or "none"
        return Problem(
            reason=Reason.MODEL_DEPLOYMENT_NOT_FOUND,
            message=f"spec.stable.modelDeployment: there is no ModelDeployment {target} here; there are: {known}",
        )
    governing = governing_split(target, splits)
    if governing is not None and governing["metadata"]["name"] != name:
        rival = governing["metadata"]["name"]
        return Problem(
            reason=Reason.MODEL_DEPLOYMENT_TAKEN,
            message=f"ModelDeployment {target} is governed by TrafficSplit {rival}; delete one of the two",
        )
    if name in deployments and name != target:
        return Problem(
            reason=Reason.ENDPOINT_TAKEN,
            message=f"Service {name} is the endpoint of ModelDeployment {name}; give this split another name",
        )
    return None


def router_port(split: str, taken: Collection[int]) -> int:
    """Return the port of a new split: the same for the same name as long as nobody else has it."""
    start = zlib.crc32(split.encode()) % len(SPLIT_PORTS)
    for offset in range(len(SPLIT_PORTS)):
        port = SPLIT_PORTS[(start + offset) % len(SPLIT_PORTS)]
        if port not in taken:
            return port
    raise ValueError(f"all {len(SPLIT_PORTS)} router ports of the namespace are taken")


def split_route(
    *,
    namespace: str,
    split: str,
    port: int,
    rollout: Rollout,
    ready: Collection[str],
    request_timeout_seconds: float,
) -> SplitRoute | None:
    """Return what the routers are asked for a split, or None before there is a stable revision.

    A candidate that waits is in it with weight 0 as soon as it is one of ``ready``, the revisions with ready pods: the
    routers know and check it before it gets traffic. Not earlier, because a name without an address is remembered as
    such by the cluster's DNS for some seconds.
    """
    weights = rollout.weights
    if not weights:
        return None
    return SplitRoute(
        namespace=namespace,
        split=split,
        port=port,
        backends=tuple(
            Backend(revision=revision, host=names.revision_host(revision, namespace), port=HTTP_PORT, weight=weight)
            for revision, weight in sorted(weights.items())
            if weight or revision in ready or revision == rollout.stable
        ),
        request_timeout_seconds=request_timeout_seconds + _ROUTER_TIMEOUT_MARGIN_SECONDS,
    )


def revision_states(deployment: Manifest) -> dict[str, RevisionState]:
    """Return how the revisions of a ModelDeployment are, as its status tells."""
    wanted = deployment["spec"].get("replicas", 1)
    return {
        entry["name"]: RevisionState(
            ready=entry.get("readyReplicas", 0),
            wanted=wanted,
            failure=f"{entry.get('reason')}: {entry.get('message')}" if entry.get("phase") == "Failed" else None,
        )
        for entry in deployment.get("status", {}).get("revisions", ())
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the status of a split tells."""

    split: Manifest
    spec: TrafficSplitSpec
    model_name: str
    decision: Decision
    port: int
    address: str | None = None
    """ClusterIP of an endpoint of the split's own."""
    weights: Mapping[str, int]
    """What every router has acknowledged; empty before the first time."""
    acknowledgement: Acknowledgement | None
    routers: int
    policies: Sequence[PolicyView] = ()
    router_trouble: str = ""
    obstacle: Problem | None = None
    """Why the routers or the endpoint cannot be made as they should be."""
    analysis: Sequence[Mapping[str, Any]] = ()
    evidence: Mapping[str, Any] | None = None
    verdict: str | None = None
    command: Mapping[str, Any] | None = None


def split_status(report: Report, *, now: float) -> dict[str, Any]:
    """Return the whole status of a split that may act."""
    metadata = report.split["metadata"]
    status: dict[str, Any] = {
        "observedGeneration": metadata["generation"],
        **rollout_to_wire(report.decision.rollout),
        "port": report.port,
        "endpoint": endpoint_url(metadata["name"], metadata["namespace"], report.model_name),
        "conditions": _conditions(report, now=now),
    }
    if report.address is not None:
        status["clusterIP"] = report.address
    if report.weights:
        status["weights"] = [
            {"revision": revision, "weight": weight} for revision, weight in sorted(report.weights.items())
        ]
    if report.analysis:
        status["analysis"] = list(report.analysis)
    if report.evidence:
        status["evidence"] = dict(report.evidence)
    if report.verdict is not None:
        status["verdict"] = report.verdict
    if report.command is not None:
        status["lastCommand"] = dict(report.command)
    return status


def blocked_status(split: Manifest, problem: Problem, *, now: float) -> dict[str, Any]:
    """Return the status of a split that may not act: what was stays, and the condition says why."""
    live: dict[str, Any] = split.get("status", {})
    generation = split["metadata"]["generation"]
    conditions = Conditions(live.get("conditions", []), generation=generation, now=now)
    for type_, status in (("Ready", False), ("Stalled", True)):
        conditions.set(type_, status=status, reason=problem.reason, message=problem.message)
    return {**live, "observedGeneration": generation, "conditions": conditions.to_wire()}


def _conditions(report: Report, *, now: float) -> list[dict[str, Any]]:
    live = report.split.get("status", {}).get("conditions", [])
    conditions = Conditions(live, generation=report.split["metadata"]["generation"], now=now)
    programmed = _programmed(report)
    conditions.set("Programmed", status=programmed[0], reason=programmed[1], message=programmed[2])
    rollout = report.decision.rollout
    reason, message = _story(report)
    if report.obstacle is not None:
        conditions.set("Ready", status=False, reason=report.obstacle.reason, message=report.obstacle.message)
        conditions.set("Stalled", status=True, reason=report.obstacle.reason, message=report.obstacle.message)
    elif report.weights and (programmed[0] or programmed[1] is not Reason.ROUTER_REJECTED):
        conditions.set("Ready", status=True, reason=reason, message=message)
    else:
        conditions.set("Ready", status=False, reason=programmed[1], message=programmed[2])
    if report.policies:
        unfit = next((policy for policy in report.policies if policy.spec is None), None)
        conditions.set(
            "PoliciesReady",
            status=unfit is None,
            reason=unfit.reason if unfit else Reason.POLICIES_READY,
            message=f"{unfit.problem}; until then nothing is promoted" if unfit else "every policy can judge",
        )
    promoted = {Phase.IDLE: True, Phase.PROMOTED: True, Phase.ROLLED_BACK: False, Phase.FAILED: False}
    conditions.set("Promoted", status=promoted.get(rollout.phase), reason=reason, message=message)
    if report.obstacle is None and rollout.phase in {Phase.ROLLED_BACK, Phase.FAILED}:
        conditions.set("Stalled", status=True, reason=reason, message=message)
    elif report.obstacle is None and (rollout.phase not in _RESTING or not programmed[0]):
        conditions.set("Reconciling", status=True, reason=reason, message=message)
    return conditions.to_wire()


def _programmed(report: Report) -> tuple[bool, Reason, str]:
    if report.decision.rollout.stable is None:
        return False, Reason.WAITING_FOR_STABLE, "the ModelDeployment has no ready revision yet"
    told = report.acknowledgement
    if report.routers == 0:
        cause = f": {report.router_trouble}" if report.router_trouble else ""
        return False, Reason.WAITING_FOR_ROUTERS, f"no router pod is ready yet{cause}"
    if told is None:
        return False, Reason.WAITING_FOR_ROUTERS, "the routers are being told"
    if told.rejected:
        words = "; ".join(f"{pod}: {message}" for pod, message in sorted(told.rejected.items()))
        return False, Reason.ROUTER_REJECTED, f"the last good configuration stays: {words}"
    if told.missing:
        return False, Reason.WAITING_FOR_ROUTERS, f"no acknowledgement from {', '.join(sorted(told.missing))}"
    if not report.weights:
        return False, Reason.WAITING_FOR_ROUTERS, "the routers are resolving the stable revision"
    return True, Reason.ROUTERS_ACKNOWLEDGED, f"all {len(told.acknowledged)} routers run these weights"


_STORIES = {
    Phase.WAITING: Reason.WAITING_FOR_CANDIDATE,
    Phase.FAILED: Reason.CANDIDATE_FAILED,
    Phase.PROGRESSING: Reason.ROLLOUT_IN_PROGRESS,
    Phase.PAUSED: Reason.PAUSED,
}


def _story(report: Report) -> tuple[Reason, str]:
    """Return where the rollout is, as a reason and a sentence."""
    rollout, holding = report.decision.rollout, report.decision.holding
    if rollout.phase is Phase.FAILED and holding:
        return Reason.CANDIDATE_FAILED, f"{holding}; {rollout.stable} serves"
    if rollout.candidate is not None:
        share = f"{rollout.candidate.revision} at {rollout.candidate.weight}%"
        return _STORIES[rollout.phase], f"{share}: {holding}" if holding else share
    if rollout.phase is Phase.ROLLED_BACK and rollout.rejected:
        last = rollout.rejected[0]
        return Reason(last.reason), f"{last.revision} taken back: {last.message}; {rollout.stable} serves"
    reason = Reason.PROMOTED if rollout.phase is Phase.PROMOTED else Reason.READY
    return reason, f"{rollout.stable} serves all requests" if rollout.stable else "nothing serves yet"
