"""alibi-detect: TabularDrift on each window, as its page on monitoring of tables says.

- Kolmogorov-Smirnov for numbers, chi-squared for categories, Bonferroni over columns: its defaults, p 0.05.
- Its ``p_val`` is a rate of false alarms per window, so that it can be given the budget too: that is the second one.
- Its detectors with an expected run time (MMD, LSDD, CvM, online) find their thresholds by bootstrap from ten times as
  many simulated rows as that run time; at 500,000 rows nobody waits for it, and they are left out. MMD and the learned
  kernels need PyTorch or TensorFlow, and the whole reference in a kernel matrix: 50,000 rows are 20 GB.
"""

from collections.abc import Callable, Collection, Iterator

import numpy as np
import numpy.typing as npt
from alibi_detect.cd import TabularDrift
from benchmarks.drift.streams import Values
from benchmarks.drift.tool import Contender, Tool, Window, cut, length


class Tabular:
    def __init__(self, window_rows: int, level: float) -> None:
        self._window_rows = window_rows
        self._level = level

    def fit(self, reference: Values, categorical: Collection[str]) -> None:
        self._names = list(reference)
        places = {place: None for place, name in enumerate(self._names) if name in categorical}
        self._detector = TabularDrift(self._matrix(reference), p_val=self._level, categories_per_feature=places or None)

    def warm(self, before: Values) -> None: ...

    def windows(self, values: Values) -> Iterator[Window]:
        for start in range(0, length(values) - self._window_rows + 1, self._window_rows):
            said = self._detector.predict(
                self._matrix(cut(values, start, start + self._window_rows)),
                drift_type="batch", return_p_val=True, return_distance=False,
            )["data"]  # fmt: skip
            named = np.flatnonzero(said["p_val"] < said["threshold"])
            yield Window(rows=self._window_rows, named=frozenset(self._names[place] for place in named))

    def _matrix(self, values: Values) -> npt.NDArray[np.float64]:
        return np.stack([values[name].astype(np.float64) for name in self._names], axis=1)


def _at(level: float | None) -> Callable[[int, float], Tool]:
    return lambda window_rows, every: Tabular(window_rows, 1 / every if level is None else level)


CONTENDERS = (
    Contender(name="alibi-detect, as it comes", make=_at(0.05)),
    Contender(name="alibi-detect, p of the budget", make=_at(None), budgeted=True),
)
