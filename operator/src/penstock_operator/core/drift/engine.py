"""Judges windows of counts: which signals have drifted, at every length of look-back, within the budget."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from penstock_contract.profile import Column, Profile
from penstock_operator.core.drift import (
    conditional,
    contribution,
    correlation,
    discrepancy,
    distances,
    quality,
    ranking,
    spread,
    univariate,
)
from penstock_operator.core.drift.budget import USUAL, Budget, Signal, budget, holm
from penstock_operator.core.drift.spread import Spread, Steps
from penstock_operator.core.drift.tally import Floats, Frame, Places, Tallies


class Verdict(StrEnum):
    """What is said of a signal in a window."""

    PASS = "Pass"  # noqa: S105 - a verdict
    FAIL = "Fail"
    NO_DATA = "NoData"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A signal that a test ending with a window has shown to differ: over the last ``windows`` windows.

    ``p`` is adjusted for all tests of its kind and ``limit`` is what it was compared with; ``evidence`` their ratio's
    logarithm, which can be compared over kinds and lengths. ``lost``: of a contribution, the share that is surely gone.
    ``psi``: of an input or output, over these windows, less what so many rows show by chance; ``live`` and ``known``:
    of data quality, the share of rows that is wrong, there and in the reference. ``distance``: of how all inputs go
    together. ``ndcg``: of the order of contributions, with ``less``, the input that counts for less by most.
    """

    kind: Signal
    name: str
    windows: int
    p: float
    limit: float
    lost: float = 0.0
    psi: float | None = None
    live: float = 0.0
    known: float = 0.0
    distance: float | None = None
    ndcg: float | None = None
    less: str = ""

    @property
    def evidence(self) -> float:
        """By how many orders of magnitude the limit was passed."""
        return float(np.log10(self.limit) - np.log10(max(self.p, 1e-300)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Successive windows: the alarms that end with each, and the p of each column in each window alone."""

    alarms: tuple[tuple[Alarm, ...], ...]
    p: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered from windows judged before: how statistics scatter, and what longer blocks begin with."""

    correlation: Spread
    contribution: Spread
    #: Per length of part, the last ones: what later blocks begin with.
    parts: tuple[Tallies, ...] = ()
    #: Per length of part but the longest, one that waits for the next to become a longer part with it, or none.
    odd: tuple[Tallies, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looks:
    """Looks of one level; ``first``: the first window of the call that is new in each."""

    level: int
    first: Places
    budget: Budget


class Judge:
    """Everything that a profile, a length of windows and a budget decide beforehand.

    ``kinds``: the signals that are asked for; those that are not leave their share of the budget to the others.
    ``reference``: what windows are compared with where that is not the profile's own rows, counted as these were.
    ``levels_max``: at most so many lengths of look-back. ``ndcg_min``: what the order of contributions must be worth,
    where that is asked for.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        window_rows: int,
        false_alarm_every: float,
        kinds: Collection[Signal] = USUAL,
        reference: Tallies | None = None,
        levels_max: int | None = None,
        ndcg_min: float | None = None,
    ) -> None:
        self.frame = Frame.of(profile)
        self.reference = Tallies.of([profile.counts], self.frame) if reference is None else reference
        self.shapes = univariate.reference_of(self.frame, self.reference)
        self.links = contribution.links_of(self.frame, self.reference)
        self._pairs = correlation.pairs_of(self.frame, self.reference)
        self._whitener = conditional.whitener_of(
            self.frame, self.reference, correlation.kurtoses(self.frame, self.reference)
        )
        self._checks = quality.checks(self.frame)
        # How waves scatter is known of the profile's own rows alone.
        self._waters = discrepancy.waters_of(profile.sea, self.reference) if reference is None else None
        self._ndcg_min = ndcg_min
        self._order = ranking.order_of(self.frame, self.reference)
        self._counts = self._counted()
        self.budget: Budget = budget(
            false_alarm_every=false_alarm_every,
            window_rows=window_rows,
            reference_rows=profile.rows if reference is None else int(reference.rows[0]),
            kinds=[kind for kind, count in self._counts.items() if count and kind in kinds],
        )
        if levels_max is not None:
            self.budget = replace(self.budget, levels=min(self.budget.levels, levels_max))
        self.window_rows = window_rows
        self._pooled: dict[float, univariate.Pooled] = {}

    @property
    def block(self) -> int:
        """The longest look-back, in windows."""
        return int(2 ** (self.budget.levels - 1))

    def start(self) -> Memory:
        """Return the memory before the first window."""
        return Memory(
            correlation=Spread.none(len(self._pairs.z)),
            contribution=Spread.none(len(self.links.slope)),
        )

    def fits(self, memory: Memory) -> bool:
        """Return whether a memory is of windows that this judge would have judged."""
        rows = {float(part.rows[0]) for part in memory.parts[:1] if len(part)}
        widths = len(memory.correlation.count), len(memory.contribution.count)
        return rows <= {float(self.window_rows)} and widths == (len(self._pairs.z), len(self.links.slope))

    def pooled(self, rows: float) -> univariate.Pooled:
        """Return the groups of bins for windows of so many rows."""
        if rows not in self._pooled:
            self._pooled[rows] = univariate.pool(self.frame, self.shapes, rows)
        return self._pooled[rows]

    def judge(
        self, windows: Tallies, memory: Memory, *, false_alarm_every: float | None = None
    ) -> tuple[Judged, Memory]:
        """Return what is said of successive windows, and what is remembered from them.

        Windows may come one by one or many at once, it makes no difference to columns and data quality. What is learned
        of the scatter of correlations and contributions is learned before the call: in calls of multiples of ``block``
        windows a look never learns from the windows that it looks at, else from those of earlier calls.
        ``false_alarm_every`` is for these windows, where it differs from the judge's own.
        """
        budget = self.budget if false_alarm_every is None else replace(self.budget, per_window=1 / false_alarm_every)
        correlated = correlation.statistics(self._pairs, windows)
        linked = contribution.slopes_of(self.frame, self.links, windows).z
        past = {
            Signal.CORRELATION: memory.correlation.along(correlated),
            Signal.CONTRIBUTION: memory.contribution.along(linked),
        }
        alarms: list[dict[tuple[Signal, str], Alarm]] = [{} for _ in range(len(windows))]
        levels = range(self.budget.levels if float(windows.rows[0]) == self.window_rows else 1)
        parts, completed, odd = self._parts(windows, memory)
        p_alone = np.ones((len(windows), len(self.frame.columns)))
        for level in levels:
            place = level - (self.budget.parts(level).bit_length() - 1)
            looks = min(len(completed[place]), max(0, len(parts[place]) - self.budget.parts(level) + 1))
            if not looks:
                continue
            tallies = parts[place].sliding(self.budget.parts(level))[-looks:]
            # The first looks of all have no full block behind them.
            ends = completed[place][-looks:]
            columns_p = self._columns(tallies, level)
            if level == 0:
                p_alone = columns_p
            looked = _Looks(level=level, first=np.maximum(ends - budget.step(level), 0), budget=budget)
            for alarm, look in self._found(tallies, columns_p, past, looked):
                _keep(alarms[ends[look] - 1], alarm)
        judged = Judged(alarms=tuple(tuple(_ordered(one.values())) for one in alarms), p=p_alone)
        return judged, Memory(
            correlation=memory.correlation.after(correlated),
            contribution=memory.contribution.after(linked),
            parts=tuple(one[-(self.budget.parts(self.budget.levels) - 1) :].copy() for one in parts),
            odd=odd,
        )

    def together(self, window: Tallies) -> dict[str, float]:
        """Return what is asked for about all columns of a window at once, by the name of its signal."""
        told: dict[str, float] = {}
        if Signal.MMD in self.budget.kinds and self._waters is not None:
            told[self._name(Signal.MMD, 0)] = discrepancy.distance(self._waters, window)
        if Signal.RANKING in self.budget.kinds and (found := ranking.seen(self.frame, self._order, window)):
            told[self._name(Signal.RANKING, 0)] = found[0]
        return told

    def _parts(self, windows: Tallies, memory: Memory) -> tuple[list[Tallies], list[Places], tuple[Tallies, ...]]:
        """Return the windows in each length that blocks come in, behind those remembered.

        Also, per length, after how many of the windows each new part was complete; and the parts that are left over.
        """
        lengths = max(1, self.budget.levels - (self.budget.parts(self.budget.levels).bit_length() - 1))
        known = memory.parts or (windows[:0],) * lengths
        waiting = memory.odd or (windows[:0],) * lengths
        ends: Places = np.arange(1, len(windows) + 1)
        parts: list[Tallies] = []
        completed: list[Places] = []
        odd: list[Tallies] = []
        for one, left in zip(known, waiting, strict=True):
            parts.append(one.followed_by(windows))
            completed.append(ends)
            paired = left.followed_by(windows)
            ends = np.concatenate([np.zeros(len(left), dtype=np.intp), ends])[1::2]
            odd.append(paired[len(paired) // 2 * 2 :].copy())
            windows = paired.coarser()
        return parts, completed, tuple(odd)

    def _columns(self, tallies: Tallies, level: int) -> Floats:
        rows = float(tallies.rows[0]) if level == 0 else float(self.window_rows * 2**level)
        others = univariate.CONDITIONAL if self._whitener.usable else 0
        alone = univariate.p_values(self.shapes, self.pooled(rows), tallies, others=others)
        against = conditional.p_values(self._whitener, tallies, alone.shape[1])
        return np.minimum(alone, np.minimum(1.0, against * univariate.weight(others) / univariate.CONDITIONAL))

    def _found(
        self, tallies: Tallies, columns_p: Floats, past: Mapping[Signal, Steps], looks: "_Looks"
    ) -> Iterator[tuple[Alarm, int]]:
        inputs = self.frame.inputs
        links = contribution.slopes_of(self.frame, self.links, tallies)
        tests = {
            Signal.INPUTS: columns_p[:, :inputs],
            Signal.OUTPUTS: columns_p[:, inputs:],
            Signal.CORRELATION: spread.p_values(
                correlation.statistics(self._pairs, tallies), past[Signal.CORRELATION], looks.first,
                variance_max=correlation.VARIANCE_MAX,
            ),
            Signal.CONTRIBUTION: spread.p_values(
                links.z, past[Signal.CONTRIBUTION], looks.first,
                variance_max=contribution.VARIANCE_MAX,
            ),
            Signal.DATA_QUALITY: quality.p_values(self._checks, self.reference, tallies),
            Signal.MMD: self._discrepancies(tallies),
            Signal.RANKING: self._rankings(tallies),
        }  # fmt: skip
        for kind, p in tests.items():
            if not p.shape[1] or kind not in looks.budget.kinds:
                continue
            limit = looks.budget.level(kind, looks.level)
            adjusted = holm(p)
            for block, place in zip(*np.nonzero(adjusted <= limit), strict=True):
                alarm = Alarm(
                    kind=kind,
                    name=self._name(kind, int(place)),
                    windows=2**looks.level,
                    p=float(adjusted[block, place]),
                    limit=limit,
                    lost=float(links.lost[block, place]) if kind is Signal.CONTRIBUTION else 0.0,
                )
                yield self._sized(alarm, tallies[block : block + 1], int(place)), int(block)

    def _sized(self, alarm: Alarm, block: Tallies, place: int) -> Alarm:
        """Return an alarm with how large the difference is."""
        if alarm.kind in (Signal.INPUTS, Signal.OUTPUTS):
            column = place + (self.frame.inputs if alarm.kind is Signal.OUTPUTS else 0)
            pooled = self.pooled(float(self.window_rows * alarm.windows))
            live = distances.shares(pooled.of(block.bins), pooled.used)[0, column]
            known = distances.shares(pooled.reference, pooled.used)[column]
            rows, reference_rows = block.bins[0, column].sum(), self.shapes.rows[column]
            chance = (pooled.groups[column] - 1) * (1 / max(rows, 1.0) + 1 / max(reference_rows, 1.0))
            return replace(alarm, psi=max(0.0, float(distances.psi(live, known) - chance)))
        if alarm.kind is Signal.MMD and self._waters is not None:
            return replace(alarm, distance=discrepancy.distance(self._waters, block))
        if alarm.kind is Signal.RANKING and (found := ranking.seen(self.frame, self._order, block)):
            return replace(alarm, ndcg=found[0], less=_bare(self.frame.columns[found[1]]))
        if alarm.kind is Signal.DATA_QUALITY:
            live_share, known_share = (quality.share(self._checks[place], one) for one in (block, self.reference))
            return replace(alarm, live=live_share, known=known_share)
        return alarm

    def _discrepancies(self, tallies: Tallies) -> Floats:
        if self._waters is None or Signal.MMD not in self.budget.kinds:
            return np.ones((len(tallies), 0))
        return discrepancy.p_values(self._waters, tallies)

    def _rankings(self, tallies: Tallies) -> Floats:
        if self._ndcg_min is None or Signal.RANKING not in self.budget.kinds:
            return np.ones((len(tallies), 0))
        return ranking.p_values(self.frame, self._order, tallies, ndcg_min=self._ndcg_min)

    def _counted(self) -> dict[Signal, int]:
        return {
            Signal.INPUTS: self.frame.inputs,
            Signal.OUTPUTS: len(self.frame.columns) - self.frame.inputs,
            Signal.CORRELATION: len(self._pairs.z),
            Signal.CONTRIBUTION: len(self.links.slope),
            Signal.DATA_QUALITY: len(self._checks),
            Signal.MMD: int(self._waters is not None),
            Signal.RANKING: int(self._ndcg_min is not None and self._order.usable),
        }

    def _name(self, kind: Signal, place: int) -> str:
        columns = self.frame.columns
        match kind:
            case Signal.INPUTS:
                return columns[place].name
            case Signal.OUTPUTS:
                return columns[place + self.frame.inputs].name
            case Signal.CORRELATION:
                return f"{kind}/{self._pairs.name(self.frame, place)}"
            case Signal.CONTRIBUTION:
                return f"{kind}/{_bare(columns[int(self.links.inputs[place])])}"
            case Signal.DATA_QUALITY:
                check = self._checks[place]
                return f"{kind}/{_bare(columns[check.place])}/{check.what}"
            case Signal.MMD:
                return f"{Signal.INPUTS}/{kind}"
            case Signal.RANKING:
                return f"{Signal.CONTRIBUTION}/{kind}"


def _bare(column: Column) -> str:
    return column.name.partition("/")[2]


def _keep(alarms: dict[tuple[Signal, str], Alarm], alarm: Alarm) -> None:
    known = alarms.get((alarm.kind, alarm.name))
    if known is None or (alarm.lost, alarm.evidence) > (known.lost, known.evidence):
        alarms[alarm.kind, alarm.name] = alarm


def _ordered(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Return alarms kind by kind, the strongest of each first; of contributions, the one that has lost most.

    Where a column is broken, the output also follows less what goes with that column, and with many rows all of them
    are beyond doubt.
    """
    kinds = list(Signal)
    return sorted(alarms, key=lambda alarm: (kinds.index(alarm.kind), -alarm.lost, -alarm.evidence, alarm.name))
