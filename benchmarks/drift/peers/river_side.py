"""river: one detector for each column, fed row by row, with its defaults.

They have no reference: they learn from the rows before. Numbers of categories are taken for numbers.
"""

import copy
from collections.abc import Callable, Collection, Iterator

from benchmarks.drift.streams import Values
from benchmarks.drift.tool import Contender, Tool, Window, cut, length
from river import drift
from river.base import DriftDetector

#: Whoever looks, looks as often.
_LOOK_ROWS = 10


class Columns:
    def __init__(self, detector: Callable[[], DriftDetector]) -> None:
        self._detector = detector

    def fit(self, reference: Values, categorical: Collection[str]) -> None:  # noqa: ARG002
        self._detectors = {name: self._detector() for name in reference}
        # As many rows as there are before a change anyhow.
        self.warm(cut(reference, 0, 2000))

    def warm(self, before: Values) -> None:
        for _ in _fed(self._detectors, before):
            pass

    def windows(self, values: Values) -> Iterator[Window]:
        return _fed(copy.deepcopy(self._detectors), values)


def _fed(detectors: dict[str, DriftDetector], values: Values) -> Iterator[Window]:
    for start in range(0, length(values), _LOOK_ROWS):
        part = cut(values, start, start + _LOOK_ROWS)
        named = set()
        for name, detector in detectors.items():
            for value in part[name].tolist():
                detector.update(value)
                if detector.drift_detected:
                    named.add(name)
        yield Window(rows=length(part), named=frozenset(named))


def _of(detector: Callable[[], DriftDetector]) -> Callable[[int, float], Tool]:
    return lambda _window_rows, _every: Columns(detector)


CONTENDERS = (
    Contender(name="river, ADWIN", make=_of(drift.ADWIN), sizes=(100,)),
    Contender(name="river, Page-Hinkley", make=_of(drift.PageHinkley), sizes=(100,)),
)
