"""Windows of live rows judged one after the other, with the distances that people read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from penstock_cli.drift.rows import Live
from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.describe import Described, describe
from penstock_operator.core.drift.engine import Alarm, Judge, Judged, Memory
from penstock_operator.core.drift.tally import Tallies

#: So many windows are counted at once: enough to be fast, few enough for memory.
_TOGETHER = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One window: ``described`` in the order of the profile's columns."""

    start: int
    rows: int
    described: tuple[Described, ...]
    alarms: tuple[Alarm, ...]


def windows(live: Live, judge: Judge) -> Iterator[Window]:
    """Yield the windows in order; rows that fill none at the end are a shorter one, compared by themselves."""
    rows = judge.window_rows
    whole = live.rows // rows * rows
    together = max(judge.block, _TOGETHER // judge.block * judge.block) * rows
    memory = judge.start()
    for start in range(0, whole, together):
        tallies = _counted(live, judge, start, min(whole, start + together), rows)
        judged, memory = judge.judge(tallies, memory)
        yield from _told(judge, tallies, judged, start)
    if whole < live.rows:
        yield from _rest(live, judge, whole, memory)


def _rest(live: Live, judge: Judge, start: int, memory: Memory) -> Iterator[Window]:
    tallies = _counted(live, judge, start, live.rows, live.rows - start)
    judged, _ = judge.judge(tallies, memory)
    yield from _told(judge, tallies, judged, start)


def _counted(live: Live, judge: Judge, start: int, stop: int, rows: int) -> Tallies:
    part = {name: values[start:stop] for name, values in live.values.items()}
    return count(judge.frame, part, rows)


def _told(judge: Judge, tallies: Tallies, judged: Judged, start: int) -> Iterator[Window]:
    described: Sequence[tuple[Described, ...]] = describe(judge, tallies, judged)
    starts = start + np.cumsum(np.concatenate([[0], tallies.rows[:-1]]))
    for place, at in enumerate(starts.tolist()):
        yield Window(
            start=int(at),
            rows=int(tallies.rows[place]),
            described=described[place],
            alarms=judged.alarms[place],
        )
