"""One revision under watch: rows are gathered into windows, and windows are judged."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.drift import contribution
from penstock_operator.core.drift.budget import Budget, Signal
from penstock_operator.core.drift.describe import Described, describe
from penstock_operator.core.drift.engine import Alarm, Judge, Memory
from penstock_operator.core.drift.live import rightness, wording
from penstock_operator.core.drift.live.episodes import Open, carried
from penstock_operator.core.drift.live.flat import Ints, Read, Shape
from penstock_operator.core.drift.live.limits import CLASSES, Limits
from penstock_operator.core.drift.live.news import news
from penstock_operator.core.drift.live.rightness import Demands, Rightness
from penstock_operator.core.drift.live.volume import Volume
from penstock_operator.core.drift.performance import Estimator
from penstock_operator.core.drift.quality import OUT_OF_RANGE
from penstock_operator.core.drift.tally import Tallies

#: With fewer of the pods read nothing is judged: those that are missing may have other traffic.
COVERAGE_MIN = 0.8
MONTH_SECONDS = 30 * 86_400.0
#: The typical length of a window is a mean over about so many of them.
_TYPICAL_OF = 64
#: Sizes of so many windows are remembered, for what people are told.
_SIZES = 1024
SILENCE, VOLUME = "dataQuality/silence", "dataQuality/volume"
_MOST = 0.5
_FLOW = frozenset({SILENCE, VOLUME})
#: Alarms that are not of a window's tests.
_ELSEWHERE = frozenset({*_FLOW, rightness.ESTIMATED, rightness.LABELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What live rows are compared with, and the order of the numbers that pods send."""

    shape: Shape
    judge: Judge
    estimator: Estimator | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A column in the window that was judged last; ``explained``: its share of the output's shift, where that moved."""

    described: Described
    explained: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is known of a revision. ``windows`` and ``rows`` were judged, also by operators before this one.

    ``partial`` has been counted since ``opened_at`` and is not judged yet. Times are Unix seconds.
    """

    revision: str
    since: float
    looked_at: float
    opened_at: float
    known: Mapping[str, Read] = field(default_factory=dict)
    partial: Ints | None = None
    windows: int = 0
    rows: int = 0
    window_seconds: float | None = None
    sizes: tuple[int, ...] = ()
    memory: Memory | None = None
    open: Mapping[str, Open] = field(default_factory=dict)
    columns: tuple[Seen, ...] = ()
    coverage: float = 1.0
    refused: tuple[str, ...] = ()
    volume: Volume = field(default_factory=Volume)
    rightness: Rightness | None = None

    @property
    def waiting(self) -> int:
        """Rows that wait for their window to be full."""
        return 0 if self.partial is None else int(self.partial[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen at one look: what pods said, which are ready, and which there are.

    ``refused``: by pod, why what it said is of no use.
    """

    now: float
    reads: Mapping[str, Read]
    ready: Collection[str]
    present: Collection[str]
    refused: Mapping[str, str] = field(default_factory=dict)


def begin(revision: str, now: float) -> Watch:
    """Return the watch over a revision that nobody has watched before."""
    return Watch(revision=revision, since=now, looked_at=now, opened_at=now)


def after(watch: Watch, look: Look, reference: Reference, limits: Limits) -> Watch:
    """Return what is known after a look; where too few pods could be read, nothing is judged and nothing is lost."""
    seconds = look.now - watch.looked_at
    shape = reference.shape
    fresh = news(watch.known, look.reads, shape, present=look.present, since=watch.since, seconds=seconds)
    refused = {**look.refused, **fresh.refused}
    trusted = sum(pod in look.reads and pod not in refused for pod in look.ready)
    coverage, before = (trusted / len(look.ready) if look.ready else 0.0), watch.coverage
    watch = replace(
        watch,
        looked_at=look.now,
        known=fresh.known,
        partial=fresh.numbers if watch.partial is None else watch.partial + fresh.numbers,
        coverage=coverage,
        refused=tuple(refused.values()),
    )
    watch = _told(watch, fresh.feedback, limits)
    if coverage < COVERAGE_MIN:
        return watch
    # After a look at too few pods rows of more than one look have come, and nobody knows how many of each.
    since = seconds if before >= COVERAGE_MIN else 0.0
    watch = replace(watch, volume=watch.volume.after(int(fresh.numbers[0]), since, look.now))
    if watch.waiting >= reference.judge.window_rows:
        watch = _judged(watch, reference, limits)
    return _with(watch, _flow(watch, limits), about=_FLOW.__contains__)


def _with(watch: Watch, found: Iterable[Open], *, about: Callable[[str], bool]) -> Watch:
    return replace(watch, open=carried(watch.open, found, about=about, revision=watch.revision))


def _told(watch: Watch, news: FeedbackCounts, limits: Limits) -> Watch:
    """Return the watch with labels that have come; alarms about them are looked for when there are enough."""
    known = watch.rightness or Rightness(since=watch.since)
    per_second = limits.per_30_days / MONTH_SECONDS
    known, found = rightness.told(
        known, news, limits.demands or Demands(), alarms_per_second=per_second, now=watch.looked_at
    )
    watch = replace(watch, rightness=known)
    return watch if found is None else _with(watch, found, about=rightness.LABELLED.__eq__)


def _judged(watch: Watch, reference: Reference, limits: Limits) -> Watch:
    assert watch.partial is not None
    judge, seconds = reference.judge, max(watch.looked_at - watch.opened_at, 1e-3)
    typical = seconds if watch.window_seconds is None else watch.window_seconds
    typical += (seconds - typical) / _TYPICAL_OF
    # More rows than a window should have are no more evidence than a window may be.
    whole = reference.shape.tallies(watch.partial)
    window = whole.weighing(judge.window_rows)
    answers = whole.bins[0, reference.estimator.column] if reference.estimator is not None else whole.rows
    false_alarm_every = max(2.0, MONTH_SECONDS / typical / _for_tests(limits))
    judged, memory = judge.judge(window, watch.memory or judge.start(), false_alarm_every=false_alarm_every)
    columns = _seen(judge, window, describe(judge, window, judged)[0])
    watch = replace(
        watch,
        windows=watch.windows + 1,
        rows=watch.rows + watch.waiting,
        sizes=(*watch.sizes, watch.waiting)[-_SIZES:],
        window_seconds=typical,
        memory=memory,
        columns=columns,
        partial=reference.shape.zero(),
        opened_at=watch.looked_at,
    )
    explained = {one.described.name: one.explained for one in columns}
    counting = [alarm for alarm in judged.alarms[0] if limits.count(alarm)]
    drifted = {one.partition("/")[2] for one in (*watch.open, *(alarm.name for alarm in counting)) if _is_column(one)}
    found = [
        _alarm(watch, alarm, limits, explained.get(alarm.name))
        for alarm in counting
        if not _is_drift_itself(alarm, drifted)
    ]
    watch = _with(watch, found, about=lambda name: name not in _ELSEWHERE)
    if reference.estimator is None or watch.rightness is None:
        return watch
    known, below = rightness.answered(
        watch.rightness,
        answers,
        reference.estimator,
        limits.demands or Demands(),
        level=1 / false_alarm_every,
        now=watch.looked_at,
    )
    return _with(replace(watch, rightness=known), below, about=rightness.ESTIMATED.__eq__)


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
    demands = limits.demands
    asked = 0 if demands is None else sum(one is not None for one in (
        demands.estimated_min, demands.labelled_min, demands.absolute_error_max,
    ))  # fmt: skip
    return limits.per_30_days * (1 - (demands.budget_share * asked if demands else 0.0))


def _alarm(watch: Watch, found: Alarm, limits: Limits, explained: float | None) -> Open:
    rows = sum(watch.sizes[-found.windows :])
    limit = limits.limit_of(found)
    numbers = {
        "rows": rows,
        "windows": found.windows,
        "evidence": found.evidence,
        "p": found.p,
        "psi": found.psi,
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


def _seen(judge: Judge, window: Tallies, described: Iterable[Described]) -> tuple[Seen, ...]:
    shares = contribution.explained_share(judge.frame, judge.reference, window)[0].tolist()
    # By what the column's own bins say of the output, which is also what goes with it: that can be more than all of it.
    finite = [min(share, 1.0) if math.isfinite(share) and share > 0 else None for share in shares]
    return tuple(
        Seen(described=one, explained=finite[place] if place < len(finite) else None)
        for place, one in enumerate(described)
    )


def _flow(watch: Watch, limits: Limits) -> list[Open]:
    """Return what is wrong with how often rows come, which needs no window to be full."""
    found: list[Open] = []
    silent = watch.volume.silent_seconds(watch.looked_at)
    if limits.silence_seconds is not None and silent > limits.silence_seconds:
        message = wording.silence(silent, limits.silence_seconds)
        found.append(_of_flow(SILENCE, watch, message, {"seconds": silent, "limit": limits.silence_seconds}))
        return found  # that fewer rows come is then no news
    change, ratio = watch.volume.change(), limits.volume_ratio
    if ratio is not None and change is not None and not 1 / ratio <= change <= ratio:
        message = wording.volume(watch.volume, ratio)
        found.append(_of_flow(VOLUME, watch, message, {"times": change, "limit": ratio}))
    return found


def _of_flow(name: str, watch: Watch, message: str, evidence: Mapping[str, float]) -> Open:
    return Open(
        signal=SignalClass.DATA_QUALITY, name=name, since=watch.looked_at, message=message, evidence=dict(evidence)
    )
