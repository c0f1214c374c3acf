"""A rollout replayed: tick by tick through the judge until it decides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from penstock_cli.replay.policies import Policy
from penstock_cli.replay.ticks import PastTick
from penstock_operator.core.judge.counts import Reading, Tick
from penstock_operator.core.judge.decide import judge_all
from penstock_operator.core.judge.judgement import ArmSummary, Judgement, Verdict
from penstock_operator.core.judge.metrics import MeanAgainstLimit, MeanAgainstStable, Metric
from penstock_operator.core.judge.state import EvidenceState


class Action(StrEnum):
    """What a tick leads to."""

    ROLLBACK = "Rollback"
    ADVANCE = "Advance"
    HOLD = "Hold"
    NONE = "None"


class Outcome(StrEnum):
    """How a replayed rollout ends."""

    ROLLED_BACK = "RolledBack"
    PROMOTED = "Promoted"
    UNDECIDED = "Undecided"


_OUTCOMES = {Action.ROLLBACK: Outcome.ROLLED_BACK, Action.ADVANCE: Outcome.PROMOTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedTick:
    """One tick with what each metric of each policy says, in the policies' order."""

    at: float
    action: Action
    judgements: tuple[tuple[str, Judgement], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the documented form."""
        verdicts = [_verdict(policy, judgement) for policy, judgement in self.judgements]
        return {"t": self.at, "action": self.action.value, "verdicts": verdicts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One file: its ticks up to the decision, and the decision."""

    file: str
    ticks: tuple[JudgedTick, ...]
    outcome: Outcome

    @property
    def decided_at(self) -> float | None:
        """Return the time of the tick that decided, or None."""
        return None if self.outcome is Outcome.UNDECIDED else self.ticks[-1].at

    def to_json(self) -> dict[str, Any]:
        """Return the documented form."""
        return {
            "file": self.file,
            "outcome": self.outcome.value,
            "decidedAt": self.decided_at,
            "ticks": [tick.to_json() for tick in self.ticks],
        }


def replay(file: str, ticks: Iterable[PastTick], policies: Sequence[Policy]) -> Replay:
    """Judge ticks in order until a metric fails, which rolls back, or all pass at one tick, which promotes.

    There is no schedule: each tick is judged by its own counts, whatever the weights were.
    """
    states: dict[str, dict[str, EvidenceState]] = {policy.name: {} for policy in policies}
    idle = {policy.name: policy.dry_run for policy in policies}
    judged: list[JudgedTick] = []
    for past in ticks:
        judgements: list[tuple[str, Judgement]] = []
        for policy in policies:
            after = judge_all(
                policy.metrics,
                states[policy.name],
                _complete(past.tick, policy.metrics),
                false_alarms_per_rollout=policy.false_alarms_per_rollout,
                dry_run=policy.dry_run,
            )
            states[policy.name] = dict(after.states)
            judgements += [(policy.name, _with_problem(one, past)) for one in after.judgements.values()]
        action = _action({one.verdict for name, one in judgements if one.metric not in idle[name]})
        judged.append(JudgedTick(at=past.at, action=action, judgements=tuple(judgements)))
        if action in _OUTCOMES:
            return Replay(file=file, ticks=tuple(judged), outcome=_OUTCOMES[action])
    return Replay(file=file, ticks=tuple(judged), outcome=Outcome.UNDECIDED)


def _complete(tick: Tick, metrics: Sequence[Metric]) -> Tick:
    """Return the tick with a word on every mean: live its source may be silent for a while, but a file says it all."""
    silent = {
        metric.name: Reading(at=tick.at, absent="no values of it in this tick")
        for metric in metrics
        if isinstance(metric, MeanAgainstStable | MeanAgainstLimit)
    }
    return replace(tick, readings={**silent, **tick.readings}) if silent else tick


def _with_problem(judgement: Judgement, past: PastTick) -> Judgement:
    return replace(judgement, verdict=Verdict.ERROR, message=past.problem) if past.problem else judgement


def _action(verdicts: set[Verdict]) -> Action:
    if Verdict.FAIL in verdicts:
        return Action.ROLLBACK
    if verdicts == {Verdict.PASS}:
        return Action.ADVANCE
    return Action.HOLD if verdicts & {Verdict.NO_DATA, Verdict.ERROR} else Action.NONE


def _verdict(policy: str, judgement: Judgement) -> dict[str, Any]:
    return {
        "policy": policy,
        "metric": judgement.metric,
        "verdict": judgement.verdict.value,
        "evidence": judgement.evidence,
        "limit": judgement.limit,
        "acceptance": judgement.acceptance,
        "acceptanceLimit": judgement.acceptance_limit,
        "stable": _arm(judgement.stable),
        "candidate": _arm(judgement.candidate),
        "message": judgement.message,
    }


def _arm(summary: ArmSummary | None) -> dict[str, Any]:
    return {"n": 0, "value": None} if summary is None else {"n": summary.n, "value": summary.value}
