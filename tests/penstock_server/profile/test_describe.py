"""Columns are cut where the reference rows are, whatever their distribution."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from penstock_contract.profile import Column, Kind, Role, Transform
from penstock_server.profile import describe
from penstock_server.protocol import Array

RANDOM = np.random.default_rng(11)


def column(values: Array, datatype: str = "FP64", **more: Any) -> Column:
    settings: dict[str, Any] = {"transform": Transform.NONE, "scored": True} | more
    return describe.numeric(
        values, name="inputs/a", role=Role.INPUT, tensor="a", index=0, datatype=datatype, **settings
    )


def counts(one: Column, values: Array) -> list[int]:
    bins: list[int] = np.bincount(np.array(one.edges, values.dtype).searchsorted(values), minlength=one.bins).tolist()
    return bins


def test_a_smooth_column_has_32_bins_with_as_many_rows_each() -> None:
    values = RANDOM.normal(size=32_000)
    inside = counts(column(values), values)[1:-1]
    assert len(inside) == 32
    assert max(inside) - min(inside) <= 1


def test_a_column_of_mostly_zeros_is_seen_in_detail_where_it_is_not_zero() -> None:
    values = np.where(RANDOM.random(20_000) < 0.9, 0, RANDOM.lognormal(size=20_000))
    inside = counts(column(values), values)[1:-1]
    assert len(inside) == 32
    assert max(inside) == np.count_nonzero(values == 0)
    assert sorted(inside)[-2] < 120


@pytest.mark.parametrize("distinct", [1, 2, 5, 32])
def test_few_values_have_a_bin_each(distinct: int) -> None:
    values = RANDOM.integers(0, distinct, 5000).astype(float)
    assert counts(column(values), values)[1:-1] == np.bincount(values.astype(int)).tolist()


def test_a_constant_column_tells_less_from_more() -> None:
    one = column(np.full(100, 3.5))
    assert counts(one, np.array([3.4, 3.5, 3.6])) == [1, 1, 1]
    assert one.scale > 0


@settings(deadline=None)
@given(
    arrays(np.float64, st.integers(1, 200), elements=st.floats(allow_nan=True, allow_infinity=True)),
    st.sampled_from(["FP64", "FP32", "FP16"]),
)
def test_any_finite_values_make_a_column(values: Array, datatype: str) -> None:
    dtype = {"FP64": np.float64, "FP32": np.float32, "FP16": np.float16}[datatype]
    with np.errstate(over="ignore"):
        values = values.astype(dtype)
    finite = values[np.isfinite(values)]
    one = column(values, datatype)
    if not len(finite):
        assert (one.edges, one.minimum, one.mean, one.sd) == ((0.0,), None, None, None)
        return
    assert list(one.edges) == sorted(set(one.edges))
    assert all(float(np.array(edge, dtype)) == edge for edge in one.edges)  # exact in the type of the wire
    assert (one.minimum, one.maximum) == (finite.min(), finite.max())
    assert all(map(math.isfinite, (one.centre, one.scale, one.mean or 0, one.sd or 0)))
    assert one.scale > 0
    assert list(one.scores) == sorted(one.scores)
    assert len(one.scores) == one.bins
    inside = counts(one, finite)
    assert sum(inside) == len(finite)
    assert inside[-1] == 0


def test_one_absurd_value_moves_neither_centre_nor_scale() -> None:
    values = RANDOM.normal(size=10_000)
    spoilt = np.append(values, 1e12)
    one = column(spoilt)
    assert abs(one.centre) < 0.05
    assert abs(one.scale - 1) < 0.05


def test_scores_are_normal() -> None:
    one = column(RANDOM.normal(size=50_000))
    assert abs(sum(one.scores)) <= 4
    shares = np.array(counts(one, RANDOM.normal(size=50_000))) / 50_000
    assert math.isclose(float(shares @ np.array(one.scores) ** 2) / 64**2, 1, rel_tol=0.06)


def test_probabilities_are_summed_as_logits() -> None:
    values = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    one = column(values, transform=Transform.LOGIT, split_at=0.5)
    assert 0.5 in one.edges
    assert abs(one.centre) < 1e-9


@pytest.mark.parametrize(
    ("datatype", "values", "kind"),
    [
        ("BYTES", ["a"] * 40, Kind.CATEGORICAL),
        ("BOOL", [True] * 40, Kind.CATEGORICAL),
        ("INT64", [1, 2] * 20, Kind.CATEGORICAL),
        ("INT64", list(range(40)), Kind.NUMERIC),
        ("INT64", [1, 2, 3], Kind.NUMERIC),
        ("FP32", [1.0] * 40, Kind.NUMERIC),
    ],
)
def test_how_a_column_is_counted_follows_from_its_type_and_values(datatype: str, values: list[Any], kind: Kind) -> None:
    assert describe.kind_of(np.array(values), datatype) is kind


def test_rare_categories_share_a_bin_and_are_remembered() -> None:
    names = [f"c{number:03}" for number in range(100) for _ in range(200 - number)]
    one = describe.categorical(
        np.array(names, dtype=object), name="inputs/c", role=Role.INPUT, tensor="c", index=0, datatype="BYTES"
    )
    assert one.categories[:2] == ("c000", "c001")
    assert (len(one.categories), len(one.others), one.others_complete) == (63, 37, True)


def test_too_many_rare_categories_are_not_remembered() -> None:
    one = describe.categorical(np.arange(5000), name="inputs/c", role=Role.INPUT, tensor="c", index=0, datatype="INT64")
    assert (one.others, one.others_complete) == ((), False)
