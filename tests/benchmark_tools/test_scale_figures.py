"""Figures of the benchmark of scale: quantiles of what was counted between two readings."""

import math

import pytest
from benchmarks.scale.figures import Reading, quantile

INFINITY = float("inf")


def test_a_quantile_lies_within_its_bucket_in_proportion() -> None:
    after = {0.1: 50.0, 0.5: 90.0, 1.0: 100.0, INFINITY: 100.0}
    assert quantile({}, after, 0.5) == pytest.approx(0.1)
    assert quantile({}, after, 0.7) == pytest.approx(0.3)
    assert quantile({}, after, 1.0) == pytest.approx(1.0)


def test_only_what_was_counted_between_the_readings_counts() -> None:
    before = {0.1: 100.0, 1.0: 100.0, INFINITY: 100.0}
    assert quantile(before, {0.1: 100.0, 1.0: 110.0, INFINITY: 110.0}, 0.5) == pytest.approx(0.55)


def test_beyond_the_last_edge_that_edge_is_told() -> None:
    assert quantile({}, {1.0: 1.0, INFINITY: 100.0}, 0.99) == 1.0


def test_nothing_counted_has_no_quantile() -> None:
    assert math.isnan(quantile({}, {1.0: 0.0, INFINITY: 0.0}, 0.5))


def test_a_histogram_is_found_by_name_and_kind() -> None:
    values = {
        'late_bucket{kind="TrafficSplit",le="0.5"}': 3.0,
        'late_bucket{kind="TrafficSplit",le="+Inf"}': 4.0,
        'late_bucket{kind="DriftPolicy",le="0.5"}': 9.0,
        'late_count{kind="TrafficSplit"}': 4.0,
    }
    assert Reading(values=values, cpu_seconds=0.0).histogram("late", "TrafficSplit") == {0.5: 3.0, INFINITY: 4.0}
