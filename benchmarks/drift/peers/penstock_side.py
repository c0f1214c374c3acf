"""Penstock: the judge of live traffic over simulated pods, and the same engine on a file."""

import copy
from collections.abc import Collection, Iterator

from benchmarks.drift.live import Live, named, profile_of
from benchmarks.drift.streams import Values
from benchmarks.drift.tool import Contender, Window, cut, length

from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.engine import Judge, Memory

#: So many windows are counted at once.
_TOGETHER = 64


class OnFile:
    """What ``kubectl penstock drift`` judges by."""

    def __init__(self, window_rows: int, false_alarm_every: float) -> None:
        self._window_rows = window_rows
        self._every = false_alarm_every
        self._memory: Memory | None = None

    def fit(self, reference: Values, categorical: Collection[str]) -> None:
        profile = profile_of(reference, categorical)
        self._judge = Judge(profile, window_rows=self._window_rows, false_alarm_every=self._every)
        self._memory = None

    def warm(self, before: Values) -> None:
        for memory, _ in self._judged(before):
            self._memory = memory

    def windows(self, values: Values) -> Iterator[Window]:
        for _, windows in self._judged(values):
            yield from windows

    def _judged(self, values: Values) -> Iterator[tuple[Memory, list[Window]]]:
        size, judge = self._window_rows, self._judge
        memory = copy.deepcopy(self._memory) or judge.start()
        together = max(judge.block, _TOGETHER // judge.block * judge.block)
        windows = length(values) // size
        for start in range(0, windows, together):
            part = cut(values, start * size, min(start + together, windows) * size)
            bound = {column.name: part[column.name.partition("/")[2]] for column in judge.frame.columns}
            judged, memory = judge.judge(count(judge.frame, bound, size), memory)
            yield memory, [Window(rows=size, named=named(alarm.name for alarm in alarms)) for alarms in judged.alarms]


CONTENDERS = (
    Contender(name="Penstock, live", make=Live, budgeted=True, sizes=(50, 500), patience=9),
    Contender(name="Penstock, on a file", make=OnFile, budgeted=True, sizes=(50, 100, 500), thorough=4),
)
