"""Evidently: the tests of its DataDriftPreset on each window, as it comes.

Which test it is, and from which value on a column has drifted, it chooses by the number of rows itself: from 1,000 rows
of the reference on, the Wasserstein distance in standard deviations, above 0.1. ``half``: at least half of the columns.

A report takes seconds for a window, since it also draws. Here the very tests are called that it would choose, which is
all that decides; what a whole report takes is measured as well.
"""

import os
from collections.abc import Collection, Iterator

os.environ["DO_NOT_TRACK"] = "1"

import pandas as pd
from benchmarks.drift.streams import Values
from benchmarks.drift.tool import SOMETHING, Contender, Window, cut, length
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests.registry import get_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.tests.base_test import TestStatus
from evidently.presets import DataDriftPreset


class Tests:
    def __init__(self, window_rows: int, _every: float) -> None:
        self._window_rows = window_rows

    def fit(self, reference: Values, categorical: Collection[str]) -> None:
        self._categorical = categorical
        self._reference = _frame(reference, categorical)
        self._tests = {}
        for name in reference:
            kind = ColumnType.Categorical if name in categorical else ColumnType.Numerical
            column = self._reference[name]
            self._tests[name] = (kind, get_stattest(column, column, kind, None))

    def warm(self, before: Values) -> None: ...

    def windows(self, values: Values) -> Iterator[Window]:
        for start in range(0, length(values) - self._window_rows + 1, self._window_rows):
            current = _frame(cut(values, start, start + self._window_rows), self._categorical)
            yield Window(rows=self._window_rows, named=self._named(current))

    def _named(self, current: pd.DataFrame) -> frozenset[str]:
        return frozenset(
            name
            for name, (kind, test) in self._tests.items()
            if test(self._reference[name], current[name], kind, None).drifted
        )


class Half(Tests):
    def _named(self, current: pd.DataFrame) -> frozenset[str]:
        named = super()._named(current)
        return frozenset([SOMETHING] if len(named) >= len(self._tests) / 2 else [])


class Whole(Tests):
    def fit(self, reference: Values, categorical: Collection[str]) -> None:
        numeric = [name for name in reference if name not in categorical]
        self._definition = DataDefinition(numerical_columns=numeric, categorical_columns=list(categorical))
        self._categorical = categorical
        self._known = self._dataset(_frame(reference, categorical))

    def _named(self, current: pd.DataFrame) -> frozenset[str]:
        report = Report([DataDriftPreset()], include_tests=True).run(self._dataset(current), self._known)
        failed = [test for test in report.tests_results if test.status == TestStatus.FAIL]
        # The test that is about no column is about how many of them there are.
        return frozenset(test.metric_config.params.get("column") for test in failed) - {None}

    def _dataset(self, frame: pd.DataFrame) -> Dataset:
        return Dataset.from_pandas(frame, data_definition=self._definition)


def _frame(values: Values, categorical: Collection[str]) -> pd.DataFrame:
    return pd.DataFrame({name: array.astype(str) if name in categorical else array for name, array in values.items()})


CONTENDERS = (
    Contender(name="Evidently, columns", make=Tests),
    Contender(name="Evidently, half of the columns", make=Half, names=False, sizes=(500,)),
    Contender(name="Evidently, a whole report", make=Whole, sizes=(500,), parts=("cost",)),
)
