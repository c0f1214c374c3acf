"""A candidate's windows, each compared with what the stable revision answered in the same time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from penstock_contract.counts import Counts
from penstock_contract.profile import Profile, layout_of
from penstock_operator.core.drift.budget import Budget
from penstock_operator.core.drift.engine import Alarm, Judge, Judged
from penstock_operator.core.drift.live.judging import Findings, concluded, pace, seen
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.state import Reference, Watch
from penstock_operator.core.drift.tally import Frame, Tallies

#: Look-backs of 1, 2, 4, 8 and 16 windows. Each has a reference of its own, which wears out with none of them.
LEVELS = 5
LOOK_BACK = 2 ** (LEVELS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The stable revision as a candidate's watch sees it, and the pairs of windows before.

    ``watch`` gathers the stable's rows since the candidate's window began. ``live`` weigh as many rows as a window
    should have, ``stable`` have all of theirs. ``judge`` is what the last pair was judged by.
    """

    watch: Watch
    live: Tallies | None = None
    stable: Tallies | None = None
    pairs: int = 0
    judge: Judge | None = None


def is_full(watch: Watch, beside: Beside, window_rows: int) -> bool:
    """Return whether both have a window."""
    return min(watch.waiting, beside.watch.waiting) >= window_rows


def judged(watch: Watch, beside: Beside, reference: Reference, limits: Limits) -> tuple[Watch, Beside]:
    """Return both after a pair of windows, which must be full, was judged."""
    assert watch.partial is not None
    assert beside.watch.partial is not None
    shape, rows = reference.shape, limits.window_rows
    typical, every = pace(watch, limits)
    whole, window_beside = shape.tallies(watch.partial), shape.tallies(beside.watch.partial)
    window = whole.weighing(rows)
    beside = replace(
        beside,
        live=_last(beside.live, window),
        stable=_last(beside.stable, window_beside),
        pairs=beside.pairs + 1,
        watch=replace(beside.watch, partial=shape.zero(), opened_at=beside.watch.looked_at),
    )
    alarms: list[Alarm] = []
    for level, judge, block, found in _looks(beside, shape.frame, limits, every):
        alarms += [replace(one, windows=2**level) for one in found.alarms[0]]
        if level == 0:
            columns = seen(judge, block, found)
            beside = replace(beside, judge=judge)
    findings = Findings(
        alarms=alarms, columns=columns, whole=whole, typical_seconds=typical, false_alarm_every=every
    )  # fmt: skip
    return concluded(watch, reference, findings, limits), beside


def _looks(beside: Beside, frame: Frame, limits: Limits, every: float) -> Iterator[tuple[int, Judge, Tallies, Judged]]:
    """Yield what each look-back that is due says."""
    assert beside.live is not None
    assert beside.stable is not None
    for level in range(LEVELS):
        size, step = 2**level, Budget.step(level)
        if beside.pairs % step or len(beside.live) < size:
            continue
        live, stable = beside.live[-size:], beside.stable[-size:]
        # Each window of the stable weighs the same multiple of the candidate's: where the split's weights change while
        # traffic does, the mixtures would differ although each pair is alike.
        times = float((stable.test_rows / live.test_rows).min())
        block = live.sliding(size)
        judge = Judge(
            _without_rows(frame),
            window_rows=limits.window_rows * size,
            false_alarm_every=every,
            kinds=limits.kinds,
            reference=stable.weighing(times * limits.window_rows).sliding(size),
            levels_max=1,
            ndcg_min=limits.ndcg_min,
        )
        found, _ = judge.judge(block, judge.start(), false_alarm_every=max(2.0, every * LEVELS / step))
        yield level, judge, block, found


def _last(known: Tallies | None, window: Tallies) -> Tallies:
    return window if known is None else known.followed_by(window)[-LOOK_BACK:].copy()


def _without_rows(frame: Frame) -> Profile:
    # Waves are compared with the profile's own rows alone.
    return Profile(columns=frame.columns, counts=Counts.zero(layout_of(frame.columns)))
