"""Counts that no run of requests can give are refused where they are built."""

import math

import pytest

from penstock_operator.core.judge.counts import ArmCounts, LatencyHistogram, Tick
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
)


def test_more_errors_than_requests_are_refused() -> None:
    with pytest.raises(ValueError, match=r"errors must be between 0 and requests \(3\), got 4"):
        ArmCounts(requests=3, errors=4)


@pytest.mark.parametrize("requests", [-1, math.nan, math.inf])
def test_requests_that_are_no_count_are_refused(requests: float) -> None:
    with pytest.raises(ValueError, match="requests must be a whole number"):
        ArmCounts(requests=requests, errors=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("errors", [-1, math.nan])
def test_errors_that_are_no_count_are_refused(errors: float) -> None:
    with pytest.raises(ValueError, match="errors must be"):
        ArmCounts(requests=3, errors=errors)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("le", "counts", "reason"),
    [
        ((0.1, 0.2), (1, 2), "got 2 counts for 2 edges"),
        ((), (1,), "le is empty"),
        ((0.1, math.inf), (1, 2, 3), "finite number of seconds"),
        ((0.1, math.nan), (1, 2, 3), "finite number of seconds"),
        ((0.0, 0.1), (1, 2, 3), "above 0"),
        ((0.2, 0.1), (1, 2, 3), "must rise"),
        ((0.1, 0.1), (1, 2, 3), "must rise"),
        ((0.1, 0.2), (1, -2, 3), "counts must be whole numbers >= 0"),
        ((0.1, 0.2), (1, math.nan, 3), "counts must be whole numbers >= 0"),
    ],
)
def test_what_is_no_histogram_is_refused(le: tuple[float, ...], counts: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LatencyHistogram(le=le, counts=counts)


def test_a_tick_without_an_orderable_time_is_refused() -> None:
    with pytest.raises(ValueError, match="at must be a finite time"):
        Tick(at=math.nan, stable=None, candidate=None)


def test_margins_that_mean_nothing_are_refused_by_the_name_of_the_field() -> None:
    with pytest.raises(ValueError, match="errors: tolerate_ratio must be a ratio of at least 1"):
        ErrorRateAgainstStable(name="errors", tolerate_ratio=0.9)
    with pytest.raises(ValueError, match="errors: accept_difference must be a share between 0 and 1"):
        ErrorRateAgainstStable(name="errors", accept_difference=5)
    with pytest.raises(ValueError, match="errors: limit must be a share above 0 and below 1"):
        ErrorRateAgainstLimit(name="errors", limit=2)
    with pytest.raises(ValueError, match="slo: quantile must be a share above 0 and below 1"):
        LatencyAgainstLimit(name="slo", quantile=99, limit_seconds=0.05)
    with pytest.raises(ValueError, match="slo: limit_seconds must be above 0"):
        LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0)
    with pytest.raises(ValueError, match="slower: accept_ratio must be a ratio"):
        LatencyAgainstStable(name="slower", quantile=0.95, accept_ratio=math.nan)
