"""Healthy candidates are rarely taken back, however often one looks and whatever the traffic does."""

from collections.abc import Iterator

import numpy as np
import pytest
from tests.penstock_operator.core.judge.streams import (
    NEVER,
    PerTick,
    constant,
    error_ticks,
    judged,
    latency_ticks,
    ticks_until,
)

from penstock_operator.core.judge.counts import Tick
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
)

RUNS = 150
STRICT = ErrorRateAgainstStable(name="errors", tolerate_ratio=1.0, tolerate_difference=0.0)
PATIENT = ErrorRateAgainstStable(name="errors", tolerate_ratio=1.2, tolerate_difference=0.001)


def share_that_fails(streams: Iterator[tuple[ErrorRateAgainstStable, Iterator[Tick]]]) -> float:
    delays = [ticks_until(Verdict.FAIL, judged(metric, ticks)) for metric, ticks in streams]
    return sum(delay < NEVER for delay in delays) / len(delays)


@pytest.mark.parametrize("requests", [600, 6000])
def test_of_equal_candidates_at_most_one_in_40_fails_in_60_looks(requests: int) -> None:
    streams = (
        (
            STRICT,
            error_ticks(
                np.random.default_rng(seed),
                stable=constant(0.005),
                candidate=constant(0.005),
                requests=constant(requests),
            ),
        )
        for seed in range(RUNS)
    )
    assert share_that_fails(streams) <= 0.025


@pytest.mark.parametrize("requests", [600, 6000])
def test_a_rising_weight_while_the_shared_error_rate_drifts_fools_nobody(requests: int) -> None:
    def weight(t: int) -> float:
        return 0.05 + 0.45 * t / 59

    def drifting(t: int) -> float:
        return 0.005 + 0.010 * t / 59

    streams = (
        (
            STRICT,
            error_ticks(
                np.random.default_rng(seed),
                stable=drifting,
                candidate=drifting,
                requests=constant(requests),
                share=weight,
            ),
        )
        for seed in range(RUNS)
    )
    assert share_that_fails(streams) <= 0.04


@pytest.mark.parametrize("base", [0.0, 0.005, 0.2], ids=lambda base: f"base {base}")
def test_a_candidate_at_exactly_the_tolerated_rate_fails_at_most_once_in_20(base: float) -> None:
    streams = (
        (
            PATIENT,
            error_ticks(np.random.default_rng(seed), stable=constant(base), candidate=constant(1.2 * base + 0.001)),
        )
        for seed in range(RUNS)
    )
    assert share_that_fails(streams) <= 0.05


def test_bursts_that_hit_both_arms_alike_are_no_evidence() -> None:
    def burst(t: int) -> float:
        return 0.3 if t % 10 == 5 else 0.005

    streams = (
        (STRICT, error_ticks(np.random.default_rng(seed), stable=burst, candidate=burst)) for seed in range(RUNS)
    )
    assert share_that_fails(streams) <= 0.04


def test_an_error_rate_exactly_at_its_limit_fails_at_most_once_in_20() -> None:
    metric = ErrorRateAgainstLimit(name="errors", limit=0.02)
    rate: PerTick = constant(0.02)
    delays = [
        ticks_until(Verdict.FAIL, judged(metric, error_ticks(np.random.default_rng(seed), stable=rate, candidate=rate)))
        for seed in range(RUNS)
    ]
    assert sum(delay < NEVER for delay in delays) / RUNS <= 0.05


@pytest.mark.parametrize("slower", [1.0, 1.2])
@pytest.mark.parametrize("quantile", [0.95, 0.99])
def test_latencies_up_to_the_tolerated_ratio_do_not_fail(quantile: float, slower: float) -> None:
    metric = LatencyAgainstStable(name="slower", quantile=quantile, tolerate_ratio=1.2)
    delays = [
        ticks_until(
            Verdict.FAIL,
            judged(metric, latency_ticks(np.random.default_rng(seed), slower=slower, candidate_requests=60)),
        )
        for seed in range(40)
    ]
    assert sum(delay < NEVER for delay in delays) <= 2


def test_equal_latencies_with_a_tolerated_ratio_of_1_do_not_fail() -> None:
    metric = LatencyAgainstStable(name="slower", quantile=0.95, tolerate_ratio=1.0)
    delays = [
        ticks_until(
            Verdict.FAIL, judged(metric, latency_ticks(np.random.default_rng(seed), slower=1.0, candidate_requests=60))
        )
        for seed in range(40)
    ]
    assert sum(delay < NEVER for delay in delays) <= 2


def test_a_latency_quantile_exactly_at_its_limit_fails_at_most_once_in_20() -> None:
    # The 99th percentile of these latencies is 20 ms * exp(0.5 * 2.3263) = 64 ms.
    metric = LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0.064)
    edges = (0.01, 0.025, 0.05, 0.064, 0.1, 0.25)
    delays = [
        ticks_until(
            Verdict.FAIL,
            judged(metric, latency_ticks(np.random.default_rng(seed), slower=1.0, candidate_requests=60, le=edges)),
        )
        for seed in range(40)
    ]
    assert sum(delay < NEVER for delay in delays) <= 2
