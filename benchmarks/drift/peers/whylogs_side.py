"""whylogs: drift scores between the profiles of a window and of the reference, as its example on drift has them.

It keeps sketches; Kolmogorov-Smirnov for numbers and chi-squared for categories, and says DRIFT below p 0.05.
"""

from collections.abc import Collection, Iterator

import pandas as pd
import whylogs as why
from benchmarks.drift.streams import Values
from benchmarks.drift.tool import Contender, Window, cut, length
from whylogs.core.view.dataset_profile_view import DatasetProfileView
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores


class Scores:
    def __init__(self, window_rows: int, _every: float) -> None:
        self._window_rows = window_rows

    def fit(self, reference: Values, categorical: Collection[str]) -> None:
        self._categorical = categorical
        self._reference = self._profile(reference)

    def warm(self, before: Values) -> None: ...

    def windows(self, values: Values) -> Iterator[Window]:
        for start in range(0, length(values) - self._window_rows + 1, self._window_rows):
            view = self._profile(cut(values, start, start + self._window_rows))
            scores = calculate_drift_scores(target_view=view, reference_view=self._reference, with_thresholds=True)
            named = frozenset(name for name, score in scores.items() if score and score["drift_category"] == "DRIFT")
            yield Window(rows=self._window_rows, named=named)

    def _profile(self, values: Values) -> DatasetProfileView:
        frame = pd.DataFrame(
            {name: array.astype(str) if name in self._categorical else array for name, array in values.items()}
        )
        return why.log(frame).view()


CONTENDERS = (Contender(name="whylogs", make=Scores),)
