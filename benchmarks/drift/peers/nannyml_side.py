"""NannyML: its univariate calculator and its reconstruction error, as its tutorials use them.

Jensen-Shannon distance for numbers and categories, thresholds at three standard deviations of the chunks of the
reference, which are as long as those that are judged. The reconstruction error is its way to see that columns do not go
together as they did; it names none.
"""

import os
from collections.abc import Collection, Iterator

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import nannyml as nml
import pandas as pd
from benchmarks.drift.streams import Values
from benchmarks.drift.tool import SOMETHING, Contender, Window, cut, length


class _Chunks:
    _categorical: Collection[str]

    def __init__(self, window_rows: int, _every: float) -> None:
        self._window_rows = window_rows

    def warm(self, before: Values) -> None: ...

    def _named(self, frame: pd.DataFrame) -> Iterator[frozenset[str]]:
        raise NotImplementedError

    def windows(self, values: Values) -> Iterator[Window]:
        size = self._window_rows
        whole = length(values) // size * size
        # In parts, so that who has found what it looks for need not go on.
        for start in range(0, whole, size * 4):
            part = cut(values, start, min(start + size * 4, whole))
            for named in self._named(_frame(part, self._categorical)):
                yield Window(rows=size, named=named)


class Univariate(_Chunks):
    def fit(self, reference: Values, categorical: Collection[str]) -> None:
        self._categorical = categorical
        self._columns = list(reference)
        self._calculator = nml.UnivariateDriftCalculator(
            column_names=self._columns, treat_as_categorical=list(categorical),
            continuous_methods=["jensen_shannon"], categorical_methods=["jensen_shannon"],
            chunk_size=self._window_rows,
        )  # fmt: skip
        self._calculator.fit(_frame(reference, categorical))

    def _named(self, frame: pd.DataFrame) -> Iterator[frozenset[str]]:
        found = self._calculator.calculate(frame).filter(period="analysis").to_df()
        alerts = {name: found[name, "jensen_shannon", "alert"].tolist() for name in self._columns}
        for place in range(len(found)):
            yield frozenset(name for name, said in alerts.items() if said[place])


class Reconstruction(_Chunks):
    def fit(self, reference: Values, categorical: Collection[str]) -> None:
        self._categorical = categorical
        self._calculator = nml.DataReconstructionDriftCalculator(
            column_names=list(reference), chunk_size=self._window_rows
        )
        self._calculator.fit(_frame(reference, categorical))

    def _named(self, frame: pd.DataFrame) -> Iterator[frozenset[str]]:
        found = self._calculator.calculate(frame).filter(period="analysis").to_df()
        for alert in found["reconstruction_error", "alert"].tolist():
            yield frozenset([SOMETHING] if alert else [])


def _frame(values: Values, categorical: Collection[str]) -> pd.DataFrame:
    frame = pd.DataFrame(dict(values))
    return frame.astype({name: "category" for name in categorical if name in frame})


CONTENDERS = (
    Contender(name="NannyML, univariate", make=Univariate),
    Contender(name="NannyML, reconstruction", make=Reconstruction, names=False),
)
