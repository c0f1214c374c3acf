"""A full window is judged: what its tests find, what of that the policy wants to hear, and how it is told."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from penstock_operator.core.drift import contribution
from penstock_operator.core.drift.budget import Budget, Signal
from penstock_operator.core.drift.describe import describe
from penstock_operator.core.drift.engine import Alarm, Judge, Judged
from penstock_operator.core.drift.live import mmd, rightness, versus, wording
from penstock_operator.core.drift.live.episodes import Open
from penstock_operator.core.drift.live.limits import CLASSES, Limits
from penstock_operator.core.drift.live.rightness import Demands
from penstock_operator.core.drift.live.state import Reference, Seen, Watch, with_alarms
from penstock_operator.core.drift.quality import OUT_OF_RANGE
from penstock_operator.core.drift.tally import Tallies

MONTH_SECONDS = 30 * 86_400.0
#: The typical length of a window is a mean over about so many of them.
_TYPICAL_OF = 64
#: Sizes of so many windows are remembered, for what people are told.
_SIZES = 1024
SILENCE, VOLUME = "dataQuality/silence", "dataQuality/volume"
_MOST = 0.5
FLOW = frozenset({SILENCE, VOLUME})
#: Alarms that are not of a window's tests.
_ELSEWHERE = frozenset({*FLOW, rightness.ESTIMATED, rightness.LABELLED, versus.NAME})


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What came of a window: ``whole`` is all of its rows, ``typical_seconds`` what windows usually take.

    One window in ``false_alarm_every`` may have an alarm while nothing differs. ``together``: what is said of all
    columns at once, by signal.
    """

    alarms: Collection[Alarm]
    columns: tuple[Seen, ...]
    whole: Tallies
    typical_seconds: float
    false_alarm_every: float
    together: Mapping[str, float] = field(default_factory=dict)


def judged(watch: Watch, reference: Reference, judge: Judge, limits: Limits) -> Watch:
    """Return the watch after its rows were judged as a window."""
    assert watch.partial is not None
    typical, every = pace(watch, limits)
    # More rows than a window should have are no more evidence than a window may be.
    whole = reference.shape.tallies(watch.partial)
    window = whole.weighing(judge.window_rows)
    found, memory = judge.judge(window, watch.memory or judge.start(), false_alarm_every=every)
    findings = Findings(
        alarms=found.alarms[0],
        columns=seen(judge, window, found),
        whole=whole,
        typical_seconds=typical,
        false_alarm_every=every,
        together=judge.together(window),
    )
    return concluded(replace(watch, memory=memory), reference, findings, limits)


def pace(watch: Watch, limits: Limits) -> tuple[float, float]:
    """Return how long windows usually take, this one included, and in how many of them one may be a false alarm."""
    seconds = max(watch.looked_at - watch.opened_at, 1e-3)
    typical = seconds if watch.window_seconds is None else watch.window_seconds
    typical += (seconds - typical) / _TYPICAL_OF
    return typical, max(2.0, MONTH_SECONDS / typical / _for_tests(limits))


def concluded(watch: Watch, reference: Reference, findings: Findings, limits: Limits) -> Watch:
    """Return the watch after a window, with what of its findings the policy wants to hear."""
    watch = replace(
        watch,
        windows=watch.windows + 1,
        rows=watch.rows + watch.waiting,
        sizes=(*watch.sizes, watch.waiting)[-_SIZES:],
        window_seconds=findings.typical_seconds,
        columns=findings.columns,
        together=findings.together,
        partial=reference.shape.zero(),
        opened_at=watch.looked_at,
    )
    explained = {one.described.name: one.explained for one in findings.columns}
    counting = mmd.untold([alarm for alarm in findings.alarms if limits.count(alarm)], watch.open)
    drifted = {one.partition("/")[2] for one in (*watch.open, *(alarm.name for alarm in counting)) if _is_column(one)}
    found = [
        _alarm(watch, alarm, limits, explained.get(alarm.name))
        for alarm in counting
        if not _is_drift_itself(alarm, drifted)
    ]
    watch = with_alarms(watch, found, about=lambda name: name not in _ELSEWHERE)
    if reference.estimator is None or watch.rightness is None:
        return watch
    known, below = rightness.answered(
        watch.rightness,
        findings.whole.bins[0, reference.estimator.column],
        reference.estimator,
        limits.demands or Demands(),
        level=1 / findings.false_alarm_every,
        now=watch.looked_at,
    )
    return with_alarms(replace(watch, rightness=known), below, about=rightness.ESTIMATED.__eq__)


def _is_column(name: str) -> bool:
    return name.startswith(("inputs/", "outputs/"))


def _is_drift_itself(alarm: Alarm, drifted: Collection[str]) -> bool:
    """Return whether values are outside the reference's range because their column has drifted, and is told so.

    Where most of them are, it is no drift that a model could be trained on: a unit, a scale, another column.
    """
    column, _, what = alarm.name.removeprefix(f"{Signal.DATA_QUALITY}/").rpartition("/")
    return what == OUT_OF_RANGE and column in drifted and alarm.live <= _MOST


def _for_tests(limits: Limits) -> float:
    """Return the part of the budget that is not for demands on how often the model is right."""
    return limits.per_30_days * (limits.demands.of_tests if limits.demands is not None else 1.0)


def _alarm(watch: Watch, found: Alarm, limits: Limits, explained: float | None) -> Open:
    rows = sum(watch.sizes[-found.windows :])
    limit = limits.limit_of(found)
    numbers = {
        "rows": rows,
        "windows": found.windows,
        "evidence": found.evidence,
        "p": found.p,
        "psi": found.psi,
        "distance": found.distance,
        "nDCG": found.ndcg,
        "lost": found.lost or None,
        "explained": explained,
        "limit": limit,
    }
    return Open(
        signal=CLASSES[found.kind],
        name=found.name,
        since=watch.looked_at,
        message=wording.sentence(found, rows=rows, limit=limit, explained=explained),
        evidence={name: float(number) for name, number in numbers.items() if number is not None},
        hold=Budget.step(found.windows.bit_length() - 1),
    )


def seen(judge: Judge, window: Tallies, found: Judged) -> tuple[Seen, ...]:
    """Return what is shown of each column in a window."""
    described = describe(judge, window, found)[0]
    shares = contribution.explained_share(judge.frame, judge.reference, window)[0].tolist()
    # By what the column's own bins say of the output, which is also what goes with it: that can be more than all of it.
    finite = [min(share, 1.0) if math.isfinite(share) and share > 0 else None for share in shares]
    return tuple(
        Seen(described=one, explained=finite[place] if place < len(finite) else None)
        for place, one in enumerate(described)
    )
