"""Rows that come to pods: three to ten of them, which start anew, are read twice, late, or not at all."""

import copy
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from benchmarks.drift.streams import SCORE, Values
from benchmarks.drift.tool import Window, cut, length

from penstock_contract.profile import Profile
from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.live.flat import Ints, Read, Shape
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.watch import MONTH_SECONDS, Look, Reference, after, begin
from penstock_operator.core.drift.tally import Tallies
from penstock_server.profile.binding import without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.table import Table

#: Of the looks at a pod: it has started anew since the last, it cannot be read, what it said last comes again.
_RESTART, _LOST, _AGAIN = 0.01, 0.03, 0.03
_FEWEST, _MOST = 3, 10
_LOOKS_PER_WINDOW = 5
_LOOK_SECONDS = 30.0
#: What a policy watches that asks for nothing in particular.
KINDS = frozenset({Signal.INPUTS, Signal.OUTPUTS, Signal.CORRELATION, Signal.CONTRIBUTION, Signal.DATA_QUALITY})
#: Rows that are counted at once.
_TOGETHER = 1000


@dataclass(slots=True)
class Pod:
    """What one pod has counted since it started."""

    name: str
    numbers: Ints
    life: int = 0
    seq: int = 0
    said: Read | None = None

    def restart(self) -> None:
        """Begin a new life, with counters at 0."""
        self.life += 1
        self.seq = 0
        self.numbers = np.zeros_like(self.numbers)

    def read(self) -> Read:
        """Return what it says now."""
        self.seq += 1
        self.said = Read(boot_id=f"{self.name}-{self.life}", seq=self.seq, numbers=self.numbers.copy())
        return self.said


class Fleet:
    """Pods with rows, looked at every 30 seconds; a state that can be copied."""

    def __init__(self, reference: Reference, limits: Limits, *, seed: int, looked_rows: float) -> None:
        self._reference = reference
        self._limits = limits
        self._looked_rows = looked_rows
        self._rng = np.random.default_rng([7, seed])
        count = int(self._rng.integers(_FEWEST, _MOST + 1))
        self._pods = [Pod(name=f"pod-{place}", numbers=reference.shape.zero()) for place in range(count)]
        self._names = frozenset(pod.name for pod in self._pods)
        self._now = 0.0
        self._watch = begin("model", 0.0)
        self._look()

    def copy(self) -> "Fleet":
        """Return the same fleet, which goes another way from here."""
        return copy.deepcopy(self, {id(one): one for one in (self._reference, self._limits)})

    def windows(self, values: Values) -> Iterator[Window]:
        """Serve the rows; yield what is said whenever a window has been judged."""
        passed = 0
        for start in range(0, length(values), _TOGETHER):
            sums = _running(self._reference, cut(values, start, start + _TOGETHER))
            served = 0
            while served < len(sums) - 1:
                coming = min(max(1, int(self._rng.poisson(self._looked_rows))), len(sums) - 1 - served)
                self._serve(sums[served : served + coming + 1])
                served += coming
                passed += coming
                judged = self._watch.windows
                self._look()
                if self._watch.windows > judged:
                    yield Window(rows=passed, named=self._named())
                    passed = 0

    def _serve(self, sums: Ints) -> None:
        """Give each pod as many of the rows as a balancer gives it by chance."""
        rows = self._rng.multinomial(len(sums) - 1, np.full(len(self._pods), 1 / len(self._pods)))
        ends = np.cumsum(rows)
        for pod, start, end in zip(self._pods, ends - rows, ends, strict=True):
            pod.numbers += sums[end] - sums[start]

    def _named(self) -> frozenset[str]:
        """Return the columns that the window judged last has an alarm about."""
        return named(name for name, alarm in self._watch.open.items() if not alarm.quiet)

    def _look(self) -> None:
        self._now += _LOOK_SECONDS
        reads: dict[str, Read] = {}
        for pod in self._pods:
            chance = self._rng.random()
            if chance < _RESTART:
                pod.restart()
            elif chance < _RESTART + _LOST:
                continue
            again = _RESTART + _LOST <= chance < _RESTART + _LOST + _AGAIN
            reads[pod.name] = pod.said if again and pod.said is not None else pod.read()
        look = Look(now=self._now, reads=reads, ready=self._names, present=self._names)
        self._watch = after(self._watch, look, self._reference, self._limits)


def _running(reference: Reference, values: Values) -> Ints:
    """Return what pods would have counted of the first so many rows, from none to all of them."""
    shape = reference.shape
    frame = shape.frame
    bound = {column.name: values[column.name.partition("/")[2]] for column in frame.columns}
    each = count(frame, bound, 1)
    # Where a number goes is where it would be taken from.
    places = shape.tallies(np.arange(1, shape.size + 1))
    numbers = np.zeros((length(values) + 1, shape.size), dtype=np.int64)
    for part in fields(Tallies):
        place = getattr(places, part.name)[0].astype(np.intp)
        known = place > 0
        numbers[1:, place[known] - 1] = np.rint(getattr(each, part.name)[:, known])
    return np.cumsum(numbers, axis=0)


class Live:
    """The judge of live traffic with windows of so many rows, and a false alarm in so many of them."""

    def __init__(self, window_rows: int, false_alarm_every: float) -> None:
        self._window_rows = window_rows
        self._looked_rows = window_rows / _LOOKS_PER_WINDOW
        window_seconds = _LOOK_SECONDS * (_LOOKS_PER_WINDOW + 0.5)  # the last look brings more than was lacking
        self._limits = Limits(
            kinds=KINDS,
            window_rows=window_rows,
            per_30_days=MONTH_SECONDS / window_seconds / false_alarm_every,
        )

    def fit(self, reference: Values, categorical: Collection[str]) -> None:
        profile = profile_of(reference, categorical)
        judge = Judge(profile, window_rows=self._window_rows, false_alarm_every=1e9, kinds=self._limits.kinds)
        found = Reference(shape=Shape(profile), judge=judge)
        # Each reference has another fleet, and always the same.
        seed = round(abs(float(next(iter(reference.values()))[0])) * 1e6)
        self._fleet = Fleet(found, self._limits, seed=seed, looked_rows=self._looked_rows)

    def warm(self, before: Values) -> None:
        for _ in self._fleet.windows(before):
            pass

    def windows(self, values: Values) -> Iterator[Window]:
        return self._fleet.copy().windows(values)


def profile_of(values: Values, categorical: Collection[str]) -> Profile:
    """Return the profile of rows, as penstock-profile makes it."""
    inputs, outputs = without_model(Table(arrays=dict(values)), [SCORE] if SCORE in values else [])
    return build(inputs, outputs, labels=None, choices=Choices(categorical=frozenset(categorical)))


def named(alarms: Iterable[str]) -> frozenset[str]:
    """Return the columns that alarms name, as other tools would name them: without what is wrong with them."""
    columns: set[str] = set()
    for alarm in alarms:
        kind, _, rest = alarm.partition("/")
        match kind:
            case Signal.DATA_QUALITY:
                columns.add(rest.rpartition("/")[0])
            case _:
                columns.add(rest)
    return frozenset(columns)
