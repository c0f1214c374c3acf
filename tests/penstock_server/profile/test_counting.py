"""What numpy counts is what one would count by hand, row by row, with the contract's rule."""

import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.penstock_server.profile.conftest import columns_of

from penstock_contract.bins import bin_of
from penstock_contract.counts import Counts
from penstock_contract.profile import CLIP, FIXED_POINT, Column, Derived, Kind, Role, layout_of, parse
from penstock_server.profile import describe
from penstock_server.profile.counting import Counter
from penstock_server.profile.rows import Block
from penstock_server.protocol import Array

REFERENCE = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
OUTPUT = (REFERENCE.sum(axis=1, keepdims=True) ** 2).astype(np.float32)
COLUMNS = (*columns_of(REFERENCE), *columns_of(OUTPUT, "y", Role.OUTPUT))

ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=True)
ROWS = arrays(np.float32, st.tuples(st.integers(0, 20), st.just(4)), elements=ANY_FLOAT)


def block(rows: Array, test: Sequence[int] | None = None) -> Block:
    places = None if test is None else np.array(test, dtype=np.intp)
    return Block(rows=len(rows), inputs={"x": rows[:, :3]}, outputs={"y": rows[:, 3:]}, test=places)


def counted(*blocks: Block, columns: Sequence[Column] = COLUMNS) -> Counts:
    counter = Counter(columns)
    for one in blocks:
        counter.add(one)
    return counter.counts()


def fixed(column: Column, value: float) -> int:
    if not math.isfinite(value):
        return 0
    return round(min(max((value - column.centre) * (FIXED_POINT / column.scale), -CLIP * 1024), CLIP * 1024))


@settings(deadline=None)
@given(ROWS)
def test_every_value_is_counted_where_the_rule_of_the_contract_says(rows: Array) -> None:
    counts = counted(block(rows))
    assert counts.rows == counts.test_rows == len(rows)
    for place, (column, got) in enumerate(zip(COLUMNS, counts.columns, strict=True)):
        values = [float(value) for value in rows[:, place]]
        finite = [value for value in values if math.isfinite(value)]
        bins = [bin_of(value, column.edges) for value in finite]
        assert got.bins == tuple(bins.count(bin_) for bin_ in range(column.bins))
        assert got.missing == got.quality.missing == sum(map(math.isnan, values))
        assert got.positive_infinity == got.quality.positive_infinity == values.count(math.inf)
        assert got.negative_infinity == got.quality.negative_infinity == values.count(-math.inf)
        assert (got.quality.below, got.quality.above) == (got.bins[0], got.bins[-1])
        assert sum(got.bins) + got.missing + got.positive_infinity + got.negative_infinity == len(rows)
        standard = [fixed(column, value) for value in values]
        assert (got.sum, got.sum_of_squares) == (sum(standard), sum(value**2 for value in standard))


@settings(deadline=None)
@given(ROWS)
def test_sums_of_an_output_are_kept_for_each_bin_of_each_input(rows: Array) -> None:
    counts = counted(block(rows))
    answers = [fixed(COLUMNS[3], float(value)) for value in rows[:, 3]]
    for place in range(3):
        expected = [0] * COLUMNS[place].bins
        for value, answer in zip(rows[:, place], answers, strict=True):
            if np.isfinite(value):
                expected[bin_of(float(value), COLUMNS[place].edges)] += answer
        assert counts.columns[place].output_sums == (tuple(expected),)
    assert counts.columns[3].output_sums == ()


@settings(deadline=None)
@given(ROWS)
def test_cross_moments_are_sums_of_products_of_scores(rows: Array) -> None:
    def score(place: int, value: float) -> int:
        scores = COLUMNS[place].scores
        if math.isnan(value):
            return 0
        if math.isinf(value):
            return scores[-1] if value > 0 else scores[0]
        return scores[bin_of(value, COLUMNS[place].edges)]

    counts = counted(block(rows))
    scores = [[score(place, float(row[place])) for place in range(3)] for row in rows]
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    assert counts.cross == tuple(sum(row[i] * row[j] for row in scores) for i, j in pairs)
    assert counts.cross_sums == tuple(sum(row[i] for row in scores) for i in range(3))


@settings(deadline=None)
@given(ROWS, st.data())
def test_how_rows_are_cut_into_blocks_changes_nothing(rows: Array, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    assert counted(block(rows[:cut]), block(rows[cut:])) == counted(block(rows))
    layout = layout_of(COLUMNS)
    apart = [counted(block(rows[:cut])), counted(block(rows[cut:]))]
    assert apart[0] + apart[1] == counted(block(rows))
    assert Counts.from_wire(apart[0].to_wire(layout), layout) == apart[0]


@settings(deadline=None)
@given(ROWS, st.data())
def test_rows_that_are_not_for_tests_count_for_quality_alone(rows: Array, data: st.DataObject) -> None:
    chosen = sorted(data.draw(st.sets(st.integers(0, max(len(rows) - 1, 0)), max_size=len(rows))))
    both, tests, every = counted(block(rows, chosen)), counted(block(rows[chosen])), counted(block(rows))
    assert both.rows == len(rows)
    assert both.test_rows == len(chosen)
    for got, test, all_ in zip(both.columns, tests.columns, every.columns, strict=True):
        assert got.bins == test.bins
        assert (got.sum, got.output_sums) == (test.sum, test.output_sums)
        assert got.quality == all_.quality
    assert both.cross == tests.cross


def test_an_output_that_was_not_asked_for_counts_nowhere() -> None:
    counts = counted(Block(rows=5, inputs={"x": REFERENCE[:5]}, outputs={}))
    assert sum(counts.columns[0].bins) == 5
    assert sum(counts.columns[3].bins) == counts.columns[3].missing == 0
    assert not any(counts.columns[0].output_sums[0])


def categorical(values: Array, datatype: str) -> Column:
    return describe.categorical(values, name="inputs/c", role=Role.INPUT, tensor="c", index=0, datatype=datatype)


@pytest.mark.parametrize(
    ("datatype", "reference", "live", "bins", "missing"),
    [
        ("BYTES", ["a", "b", "b", ""], ["b", b"b", "a", "z", "", b""], (2, 1, 0, 1), 2),
        ("INT64", [7, 7, 3], [3, 7, 5, -1], (1, 1, 0, 2), 0),
        ("BOOL", [True, True], [True, False], (1, 0, 1), 0),
        ("FP32", [1.0, 2.0, 2.0], [2.0, np.nan, 1.5], (1, 0, 0, 1), 1),
    ],
)
def test_categories_are_counted_by_frequency_with_the_unseen_apart(
    datatype: str, reference: list[Any], live: list[Any], bins: tuple[int, ...], missing: int
) -> None:
    dtype: Any = {"BYTES": object, "INT64": np.int64, "BOOL": np.bool_, "FP32": np.float32}[datatype]
    column = categorical(np.array(reference, dtype=dtype), datatype)
    rows = np.array(live, dtype=dtype).reshape(-1, 1)
    (counts,) = counted(Block(rows=len(rows), inputs={"c": rows}, outputs={}), columns=[column]).columns
    assert counts.bins == bins
    assert (counts.missing, counts.quality.missing, counts.quality.unseen) == (missing, missing, bins[-1])


def test_the_place_and_the_value_of_the_largest_of_many_are_counted() -> None:
    matrix = np.array([[0.1, 0.9], [0.7, 0.3], [0.2, 0.8]], dtype=np.float32)
    place = describe.categorical(
        matrix.argmax(axis=1), name="outputs/p.argmax", role=Role.OUTPUT, tensor="p", index=0, datatype="INT64",
        derived=Derived.ARGMAX,
    )  # fmt: skip
    assert place.kind is Kind.CATEGORICAL
    (counts,) = counted(Block(rows=3, inputs={}, outputs={"p": matrix}), columns=[place]).columns
    assert counts.bins == (2, 1, 0, 0)


@pytest.mark.parametrize("datatype", ["INT8", "UINT8", "INT64", "UINT64", "FP16", "FP64"])
def test_the_extreme_values_of_every_type_have_a_bin(datatype: str) -> None:
    dtype = np.dtype({"FP16": "f2", "FP64": "f8"}.get(datatype, datatype.lower()))
    info: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    rows = np.array([[info.min], [0], [1], [info.max]], dtype=dtype)
    (column,) = columns_of(rows, datatype=datatype)
    (counts,) = counted(Block(rows=4, inputs={"x": rows}, outputs={}), columns=[column]).columns
    assert sum(counts.bins) == 4


def test_memory_for_a_hundred_features_is_bounded(random: np.random.Generator) -> None:
    rows = random.normal(size=(1000, 101)).astype(np.float32)
    columns = (*columns_of(rows[:, :100]), *columns_of(rows[:, 100:], "y", Role.OUTPUT))
    unscored = [Column(**{name: getattr(column, name) for name in Column.__dataclass_fields__} | {"scores": ()})
                for column in columns]  # fmt: skip
    assert Counter(unscored).nbytes < 70_000


def test_rows_are_counted_as_version_1_counted_them() -> None:
    """The golden profile's columns, and rows that give exactly the golden counts' bins."""
    golden = resources.files("penstock_contract") / "golden" / "v1" / "profile.json"
    profile = parse(golden.read_text(encoding="utf-8"))
    amounts = np.array([0.25] * 5 + [1.0] * 4 + [np.nan], np.float32).reshape(-1, 1)
    cities = np.array(["Köln"] * 6 + ["Ulm"] * 3 + ["Elm"], dtype=object).reshape(-1, 1)
    scores = np.array([0.5] * 4 + [0.75] * 6, np.float32).reshape(-1, 1)
    rows = Block(rows=10, inputs={"x": amounts, "city": cities}, outputs={"score": scores})
    got = counted(rows, columns=profile.columns)
    assert [one.bins for one in got.columns] == [one.bins for one in profile.counts.columns]
    assert got.columns[0].missing == profile.counts.columns[0].missing == 1
    assert got.columns[0].sum == 5 * -307 + 4 * 1229
    assert got.cross == (5 * 40 * 40 + 4 * 40 * 40,)
