"""Writes the status of a TrafficSplit, and the events once it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.core.names import served_model
from penstock_operator.core.objects import Manifest
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_moves import Decision
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.router_choice import router_before, router_of
from penstock_operator.core.routes import Acknowledgement
from penstock_operator.core.sample_ratio import SampleRatio
from penstock_operator.core.split_status import Report, blocked_status, split_status
from penstock_operator.core.traffic_split import Problem
from penstock_operator.core.trial import SEVERITY, Trial
from penstock_operator.ports import Cluster
from penstock_operator.reconcile.execute import report
from penstock_operator.reconcile.routing import SplitRouter
from penstock_operator.reconcile.split_look import Look
from penstock_operator.reconcile.split_trials import analysis_of, evidence_of

_COMMANDS_LIMIT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was decided at one look, on its way to the routers and into the status."""

    look: Look
    decision: Decision
    now: float
    trials: Mapping[str, Trial] = field(default_factory=dict)
    """By revision."""
    command: Mapping[str, Any] | None = None
    obstacle: Problem | None = None
    shares: SampleRatio | None = None
    """Where requests really went; None where that is not tested."""

    @property
    def answered(self) -> Mapping[str, Any] | None:
        """The command that was answered at this look, if there was one."""
        return self.command if self.command != self.look.status.get("lastCommand") else None


class Reporter:
    """The statuses of splits."""

    def __init__(self, *, cluster: Cluster, router: SplitRouter) -> None:
        self._cluster = cluster
        self._router = router

    async def write(
        self, turn: Turn, told: Acknowledgement | None, weights: Mapping[str, int], address: str | None
    ) -> None:
        """Write the status of a split that may act."""
        look, rollout = turn.look, turn.decision.rollout
        live = self._cluster.get(look.ref) or look.manifest
        # What was decided was decided for the generation that was looked at.
        generation = look.manifest["metadata"]["generation"]
        begun = _begun(look.rollout, rollout)
        analysis, evidence = _analysis(turn, begun), _evidence(turn, begun)
        status = split_status(
            Report(
                split={**live, "metadata": {**live["metadata"], "generation": generation}},
                spec=look.spec,
                model_name=served_model(look.spec.stable.model_deployment, look.target),
                decision=turn.decision,
                port=look.port,
                router=router_of(look.manifest) if weights else router_before(look.manifest),
                address=address,
                weights=weights,
                acknowledgement=told,
                routers=self._router.size(look.ref),
                policies=look.policies,
                router_trouble=self._router.trouble(look.ref),
                analysis=analysis,
                evidence=evidence,
                verdict=_verdict(turn) if analysis or not begun else None,
                obstacle=turn.obstacle or look.competition.problem,
                command=turn.command,
                commands=_commands(turn),
                shares=turn.shares,
            ),
            now=turn.now,
        )
        await report(self._cluster, live, status, turn.decision.events)

    async def write_blocked(self, manifest: Manifest, problem: Problem, *, now: float) -> None:
        """Say why nothing moves."""
        live = manifest.get("status", {}).get("conditions", ())
        known = any(item["type"] == "Stalled" and item["reason"] == problem.reason for item in live)
        event = EventRecord(type="Warning", reason=problem.reason.value, message=problem.message)
        status = blocked_status(manifest, problem, now=now)
        await report(self._cluster, manifest, status, () if known else (event,))


def _commands(turn: Turn) -> list[Mapping[str, Any]]:
    """Return the last commands, so that none is carried out again that somebody applies once more."""
    before = turn.look.status.get("commands", ())
    answered = turn.answered
    return [*([answered] if answered is not None and answered["verb"] else []), *before][:_COMMANDS_LIMIT]


def _begun(before: Rollout, after: Rollout) -> frozenset[str]:
    """Return the revisions whose trial begins with this decision."""
    known = {candidate.revision for candidate in before.candidates}
    return frozenset(candidate.revision for candidate in after.candidates if candidate.revision not in known)


def _judged(rollout: Rollout) -> frozenset[str]:
    """Return the revisions whose trial goes on."""
    watched = [rollout.stable] if rollout.watch is not None and rollout.stable is not None else []
    return frozenset([*(candidate.revision for candidate in rollout.candidates), *watched])


def _analysis(turn: Turn, begun: frozenset[str]) -> list[dict[str, Any]]:
    """Return what is told of each revision. What decided stays to be read until the next trial begins."""
    found = analysis_of(turn.look.status) | {name: trial.analysis for name, trial in turn.trials.items()}
    going = _judged(turn.decision.rollout) - begun
    shown = [name for name in found if name in going or (not begun and name not in begun)]
    return [entry for name in shown for entry in found[name]]


def _evidence(turn: Turn, begun: frozenset[str]) -> dict[str, Any]:
    found = evidence_of(turn.look.status) | {name: trial.evidence for name, trial in turn.trials.items()}
    going = _judged(turn.decision.rollout) - begun
    return {name: dict(sums) for name, sums in found.items() if name in going and sums}


def _verdict(turn: Turn) -> str | None:
    """Return the worst verdict, as last known."""
    said = {trial.verdict for trial in turn.trials.values()} - {None}
    worst = next((verdict.value for verdict in SEVERITY if verdict.value in said), None)
    return worst or turn.look.status.get("verdict")
