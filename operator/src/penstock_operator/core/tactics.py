"""What a strategy asks of a rollout: the steps of each candidate, and what follows the last one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from penstock_operator.api.v1alpha1.traffic_split import Step, Strategy, TrafficSplitSpec
from penstock_operator.core.schedule import steps_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """How long after its start a rollout may be held by verdicts, in seconds, and what follows then."""

    after_seconds: float
    then: Literal["Hold", "Promote", "Rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tactics:
    """A strategy in the core's terms."""

    steps: tuple[Step, ...]
    """The steps of each candidate that ``own`` does not name."""
    own: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    """The steps of candidates that have a weight of their own, by name."""
    open_ended: bool = False
    """Whether a person alone ends the last step by promoting a candidate."""
    undecided: Undecided | None = None
    """None: verdicts may hold a rollout for ever."""
    progress_deadline_seconds: float | None = None
    """How long a candidate may wait for its pods; None: for ever."""
    watch_seconds: float = 0.0
    """How long the old revision is kept after a promotion."""
    match_reaches: frozenset[str] = frozenset()
    """Candidates that get requests by a match, also without weight."""
    mirrored: bool = False
    """Whether candidates without weight get copies of requests."""

    def steps_for(self, name: str) -> tuple[Step, ...]:
        """Return the steps of a candidate."""
        return self.own.get(name, self.steps)

    def reaches(self, name: str, weight: int) -> bool:
        """Return whether a candidate with a weight gets any requests, so that it can be judged."""
        return weight > 0 or self.mirrored or name in self.match_reaches


def tactics_of(spec: TrafficSplitSpec) -> Tactics:
    """Return what a spec asks of its rollouts."""
    strategy = spec.strategy
    deadline = strategy.progress_deadline
    return Tactics(
        steps=_steps(strategy),
        own={
            candidate.name: (_fixed(candidate.weight, strategy),)
            for candidate in spec.candidates
            if strategy.type == "ABTest" and candidate.weight is not None
        },
        open_ended=strategy.type == "Shadow" or (strategy.type == "ABTest" and strategy.winner is None),
        undecided=_undecided(strategy),
        progress_deadline_seconds=None if deadline is None else deadline.total_seconds(),
        watch_seconds=spec.after_promotion.watch.total_seconds() if spec.after_promotion else 0.0,
        match_reaches=frozenset(match.to for match in spec.match),
        mirrored=spec.shadow is not None,
    )


def _steps(strategy: Strategy) -> tuple[Step, ...]:
    if strategy.type in {"ABTest", "Shadow"}:
        # The schema asks each challenger of a test for its weight; what has none gets none.
        return (_fixed(0, strategy),)
    return steps_of(strategy)


def _fixed(weight: int, strategy: Strategy) -> Step:
    winner = strategy.winner
    if strategy.type != "ABTest" or winner is None:
        return Step(weight=weight)
    return Step(weight=weight, hold=winner.hold, require=winner.require)


def _undecided(strategy: Strategy) -> Undecided | None:
    if strategy.max_duration is None:
        return None
    return Undecided(after_seconds=strategy.max_duration.total_seconds(), then=strategy.on_undecided)
