"""Writes the status of a TrafficSplit, and the events once it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.core.least_pods import least_pods
from penstock_operator.core.names import served_model
from penstock_operator.core.news import is_news
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_moves import Decision
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.router_choice import changes_router, router_before, router_of
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
#: How many writes of nothing but numbers an API server gets from all splits together.
_NUMBERS_PER_SECOND = 20.0
#: A split counts for that as long after it last had new numbers.
_BUSY_SECONDS = 10.0


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


class _Pace:
    """How often numbers alone are written: at each tick, as long as all splits together write no more than so often.

    Hundreds of rollouts at once would be hundreds of writes at each tick. What decides is never held up, and evidence
    that is not written yet is kept in memory; a crash loses what came since the last write, some seconds of it.
    """

    def __init__(self) -> None:
        self._asked: dict[ObjectRef, float] = {}
        self._written: dict[ObjectRef, float] = {}

    def allows(self, ref: ObjectRef, now: float) -> bool:
        """Return whether the numbers of a split may be written now, and remember that they are."""
        self._asked[ref] = now
        busy = sum(now - asked < _BUSY_SECONDS for asked in self._asked.values())
        if now - self._written.get(ref, float("-inf")) < busy / _NUMBERS_PER_SECOND:
            return False
        self._written[ref] = now
        return True

    def forget(self, ref: ObjectRef) -> None:
        """Drop what is kept of a split."""
        self._asked.pop(ref, None)
        self._written.pop(ref, None)


class Reporter:
    """The statuses of splits."""

    def __init__(self, *, cluster: Cluster, router: SplitRouter) -> None:
        self._cluster = cluster
        self._router = router
        self._pace = _Pace()

    async def write(
        self, turn: Turn, told: Acknowledgement | None, weights: Mapping[str, int], address: str | None
    ) -> None:
        """Write the status of a split that may act."""
        look, rollout = turn.look, turn.decision.rollout
        live = self._cluster.get(look.ref) or look.manifest
        # What was decided was decided for the generation that was looked at.
        generation = look.manifest["metadata"]["generation"]
        begun = _begun(look.rollout, rollout)
        # Evidence of one kind of router cannot go on with the counts of the other: their latency buckets differ.
        anew = bool(weights) and changes_router(look.manifest)
        analysis, evidence = _analysis(turn, begun), {} if anew else _evidence(turn, begun)
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
                least=least_pods(rollout, tactics=look.tactics, states=look.revisions, running=weights),
            ),
            now=turn.now,
        )
        decides = bool(turn.decision.events) or is_news(Kind.TRAFFIC_SPLIT, live, {**live, "status": status})
        if decides or self._pace.allows(look.ref, turn.now):
            await report(self._cluster, live, status, turn.decision.events)

    def forget(self, ref: ObjectRef) -> None:
        """Drop what is kept of a split that is gone."""
        self._pace.forget(ref)

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
    rollout = turn.decision.rollout
    going = _judged(rollout) - begun
    resting = None if rollout.candidates else rollout.stable
    return {
        name: dict(sums)
        for name, sums in found.items()
        if sums and (name in going or (name == resting and "steady" in sums))
    }


def _verdict(turn: Turn) -> str | None:
    """Return the worst verdict, as last known."""
    said = {trial.verdict for trial in turn.trials.values()} - {None}
    worst = next((verdict.value for verdict in SEVERITY if verdict.value in said), None)
    return worst or turn.look.status.get("verdict")
