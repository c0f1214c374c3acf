"""The status of a TrafficSplit: where its traffic is, why, and what somebody has to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.manifests.endpoint import endpoint_url
from penstock_operator.core.objects import Manifest
from penstock_operator.core.phases import Phase
from penstock_operator.core.rollout_moves import Decision
from penstock_operator.core.rollout_status import rollout_to_wire
from penstock_operator.core.router_choice import GATEWAY, RouterName
from penstock_operator.core.routes import Acknowledgement
from penstock_operator.core.sample_ratio import SampleRatio
from penstock_operator.core.traffic_split import Problem
from penstock_operator.core.trial import PolicyView

_RESTING = frozenset({Phase.IDLE, Phase.PROMOTED, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the status of a split tells."""

    split: Manifest
    spec: TrafficSplitSpec
    model_name: str
    decision: Decision
    port: int | None
    """The port of the built-in routers; None with a Gateway."""
    router: RouterName | None = None
    """Who leads the requests; until a new router has acknowledged weights, the one before."""
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
    commands: Sequence[Mapping[str, Any]] = ()
    """The last commands, newest first."""
    least: Mapping[str, int] = field(default_factory=dict)
    """Fewest pods that autoscalers must leave revisions."""
    shares: SampleRatio | None = None
    """Where requests really went at these weights; None where weights do not decide, or nothing is on trial."""


def split_status(report: Report, *, now: float) -> dict[str, Any]:
    """Return the whole status of a split that may act."""
    metadata = report.split["metadata"]
    status: dict[str, Any] = {
        "observedGeneration": metadata["generation"],
        **rollout_to_wire(report.decision.rollout),
        "endpoint": endpoint_url(metadata["name"], metadata["namespace"], report.model_name),
        "conditions": _conditions(report, now=now),
    }
    for candidate in status.get("candidates", ()):
        if (share := _realised(report, candidate)) is not None:
            candidate["realisedShare"] = share
    told: dict[str, Any] = {
        "port": report.port,
        "router": report.router,
        "clusterIP": report.address,
        "weights": [{"revision": name, "weight": weight} for name, weight in sorted(report.weights.items())] or None,
        "minPods": [{"revision": name, "pods": pods} for name, pods in sorted(report.least.items())] or None,
        "analysis": list(report.analysis) or None,
        "evidence": dict(report.evidence or {}) or None,
        "verdict": report.verdict,
        "lastCommand": dict(report.command) if report.command is not None else None,
        "commands": [dict(command) for command in report.commands] or None,
    }
    return status | {field: value for field, value in told.items() if value is not None}


def _realised(report: Report, candidate: Mapping[str, Any]) -> float | None:
    """Return the share that a candidate really got at its weight, or the one last told before a restart."""
    shares, revision = report.shares, candidate["revision"]
    if shares is None or shares.intended != report.weights:
        return None
    if revision in shares.realised:
        return round(shares.realised[revision], 4)
    live = report.split.get("status", {}).get("candidates", ())
    same = (entry for entry in live if all(entry.get(key) == candidate[key] for key in ("revision", "step", "weight")))
    return next((entry.get("realisedShare") for entry in same), None)


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
    if report.shares is not None and report.shares.mismatch:
        return False, Reason.SPLIT_MISMATCH, f"requests do not go as the weights say: {report.shares.mismatch}"
    gateways = ", ".join(sorted(told.acknowledged))
    who = f"by {gateways}" if report.router == GATEWAY else f"by all {len(told.acknowledged)} routers"
    return True, Reason.ROUTERS_ACKNOWLEDGED, f"these weights are run {who}"


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
    if rollout.candidates:
        shares = ", ".join(f"{candidate.revision} at {candidate.weight}%" for candidate in rollout.candidates)
        return _STORIES[rollout.phase], f"{shares}: {holding}" if holding else shares
    if rollout.returning is not None:
        return Reason.RETURNING, f"{holding or f'going back to {rollout.returning.revision}'}; {rollout.stable} serves"
    if rollout.phase is Phase.ROLLED_BACK and rollout.rejected:
        last = rollout.rejected[0]
        return Reason(last.reason), f"{last.revision} taken back: {last.message}; {rollout.stable} serves"
    reason = Reason.PROMOTED if rollout.phase is Phase.PROMOTED else Reason.READY
    kept = f"; {rollout.watch.revision} is kept to return to" if rollout.watch else ""
    return reason, f"{rollout.stable} serves all requests{kept}" if rollout.stable else "nothing serves yet"
