"""Bad candidates are found within few ticks, and good ones pass."""

from statistics import median

import numpy as np
import pytest
from tests.penstock_operator.core.judge.streams import NEVER, constant, error_ticks, judged, latency_ticks, ticks_until

from penstock_operator.core.judge.counts import ArmCounts, Tick
from penstock_operator.core.judge.decide import judge_tick
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    Metric,
)
from penstock_operator.core.judge.state import EvidenceState

STRICT = ErrorRateAgainstStable(name="errors", tolerate_ratio=1.0, tolerate_difference=0.0)
DEFAULT = ErrorRateAgainstStable(name="errors")


def error_delays(
    metric: Metric, *, base: float, rate: float, candidate_requests: int, verdict: Verdict = Verdict.FAIL
) -> list[int]:
    return [
        ticks_until(
            verdict,
            judged(
                metric,
                error_ticks(
                    np.random.default_rng(seed),
                    stable=constant(base),
                    candidate=constant(rate),
                    requests=constant(10 * candidate_requests),
                ),
            ),
        )
        for seed in range(61)
    ]


@pytest.mark.parametrize(
    ("metric", "candidate_requests", "times", "at_most"),
    [
        pytest.param(STRICT, 60, 10, 2, id="tenfold errors at 60 requests in 2 ticks"),
        pytest.param(STRICT, 60, 4, 6, id="fourfold errors at 60 requests in 6 ticks"),
        pytest.param(STRICT, 600, 4, 1, id="fourfold errors at 600 requests in 1 tick"),
        pytest.param(STRICT, 600, 2, 5, id="twofold errors at 600 requests in 5 ticks"),
        pytest.param(DEFAULT, 60, 10, 2, id="with the default tolerance: tenfold at 60 in 2 ticks"),
        pytest.param(DEFAULT, 60, 4, 6, id="with the default tolerance: fourfold at 60 in 6 ticks"),
        pytest.param(DEFAULT, 600, 4, 1, id="with the default tolerance: fourfold at 600 in 1 tick"),
        pytest.param(DEFAULT, 600, 2, 5, id="with the default tolerance: twofold at 600 in 5 ticks"),
    ],
)
def test_a_candidate_with_more_errors_is_found(
    metric: Metric, candidate_requests: int, times: int, at_most: int
) -> None:
    delays = error_delays(metric, base=0.005, rate=0.005 * times, candidate_requests=candidate_requests)
    assert median(delays) <= at_most


@pytest.mark.parametrize(("rate", "at_most"), [(0.02, 4), (0.05, 2), (0.5, 1)])
def test_where_the_stable_has_no_errors_the_excess_over_the_tolerated_difference_decides(
    rate: float, at_most: int
) -> None:
    assert median(error_delays(DEFAULT, base=0.0, rate=rate, candidate_requests=60)) <= at_most


def test_against_a_limit_twice_the_limit_is_found_at_60_requests_in_10_ticks() -> None:
    metric = ErrorRateAgainstLimit(name="errors", limit=0.02)
    assert median(error_delays(metric, base=0.0, rate=0.04, candidate_requests=60)) <= 10


@pytest.mark.parametrize(
    "metric",
    [
        LatencyAgainstStable(name="slower", quantile=0.99),
        LatencyAgainstStable(name="slower", quantile=0.95),
        LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0.1),
    ],
    ids=lambda metric: f"{type(metric).__name__} {metric.quantile}",
)
def test_doubled_latency_is_found_at_600_requests_in_3_ticks(metric: Metric) -> None:
    delays = [
        ticks_until(
            Verdict.FAIL,
            judged(metric, latency_ticks(np.random.default_rng(seed), slower=2.0, candidate_requests=600)),
        )
        for seed in range(20)
    ]
    assert sorted(delays)[18] <= 3


@pytest.mark.parametrize(("healthy_errors", "at_most"), [(3, 6), (0, 6)], ids=["with errors before", "without"])
def test_after_1000_healthy_ticks_fourfold_errors_are_found_in_a_few(healthy_errors: int, at_most: int) -> None:
    state = EvidenceState.fresh(DEFAULT)
    for t in range(1000):
        healthy = Tick(
            at=t,
            stable=ArmCounts(requests=5400, errors=9 * healthy_errors),
            candidate=ArmCounts(requests=600, errors=healthy_errors),
        )
        state, judgement = judge_tick(DEFAULT, state, healthy, limit=20)
    assert judgement.verdict is Verdict.PASS
    for delay in range(1, 20):
        bad = Tick(
            at=1000 + delay,
            stable=ArmCounts(requests=5400, errors=9 * healthy_errors),
            candidate=ArmCounts(requests=600, errors=12),
        )
        state, judgement = judge_tick(DEFAULT, state, bad, limit=20)
        if judgement.verdict is Verdict.FAIL:
            break
    assert delay <= at_most


@pytest.mark.parametrize("candidate_requests", [60, 600])
def test_without_any_errors_a_candidate_passes_after_some_3_over_accept_difference_requests(
    candidate_requests: int,
) -> None:
    delays = error_delays(DEFAULT, base=0.0, rate=0.0, candidate_requests=candidate_requests, verdict=Verdict.PASS)
    requests = delays[0] * candidate_requests
    assert 600 <= requests <= 1200


def test_with_one_error_in_10000_in_both_arms_a_candidate_passes() -> None:
    delays = error_delays(DEFAULT, base=1e-4, rate=1e-4, candidate_requests=60, verdict=Verdict.PASS)
    assert max(delays) < NEVER
    assert median(delays) <= 20


@pytest.mark.parametrize(("candidate_requests", "ticks"), [(60, 60), (600, 6)])
def test_equal_candidates_pass_in_the_time_that_one_plans_for_a_ratio_of_2(candidate_requests: int, ticks: int) -> None:
    # (ln 20 + ln 5) / (0.005 * 10 * requests * KL(0.1, 0.18)): the mean time of the best bet on that ratio
    delays = error_delays(DEFAULT, base=0.005, rate=0.005, candidate_requests=candidate_requests, verdict=Verdict.PASS)
    assert median(delays) <= ticks


def test_equal_candidates_pass_in_95_of_100_runs() -> None:
    delays = error_delays(DEFAULT, base=0.005, rate=0.005, candidate_requests=600, verdict=Verdict.PASS)
    assert sum(delay <= 15 for delay in delays) / len(delays) >= 0.95


def test_a_candidate_at_the_accepted_ratio_seldom_passes() -> None:
    delays = error_delays(DEFAULT, base=0.005, rate=0.01, candidate_requests=600, verdict=Verdict.PASS)
    assert sum(delay < NEVER for delay in delays) / len(delays) <= 0.05


@pytest.mark.parametrize("quantile", [0.95, 0.99])
def test_equal_latencies_pass(quantile: float) -> None:
    metric = LatencyAgainstStable(name="slower", quantile=quantile)
    delays = [
        ticks_until(
            Verdict.PASS,
            judged(metric, latency_ticks(np.random.default_rng(seed), slower=1.0, candidate_requests=60)),
        )
        for seed in range(20)
    ]
    assert median(delays) <= 15


def test_a_candidate_with_many_times_the_accepted_errors_hardly_ever_passes() -> None:
    delays = error_delays(DEFAULT, base=0.005, rate=2 * 0.005 + 0.005, candidate_requests=60, verdict=Verdict.PASS)
    assert sum(delay < NEVER for delay in delays) <= 0.05 * len(delays)
