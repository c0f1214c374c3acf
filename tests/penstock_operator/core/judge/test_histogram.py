"""Edges, counts above them, and where two arms are compared."""

import numpy as np
import pytest
from tests.penstock_operator.core.judge.streams import COARSE_EDGES, lognormal_counts

from penstock_operator.core.judge import histogram
from penstock_operator.core.judge.histogram import Comparison

LE = (0.01, 0.02, 0.05, 0.1)


def test_a_limit_that_is_an_edge_but_for_rounding_is_that_edge() -> None:
    assert histogram.edge_at_or_above(LE, 0.050000001) == 2
    assert histogram.edge_at_or_below(LE, 0.049999999) == 2


def test_a_limit_between_edges_has_one_on_each_side() -> None:
    assert histogram.edge_at_or_above(LE, 0.03) == 2
    assert histogram.edge_at_or_below(LE, 0.03) == 1


def test_a_limit_outside_all_edges_has_none_on_the_far_side() -> None:
    assert histogram.edge_at_or_above(LE, 0.2) is None
    assert histogram.edge_at_or_below(LE, 0.005) is None


def test_a_quantile_beyond_the_last_edge_is_told_as_the_last_edge() -> None:
    assert histogram.quantile_seconds(LE, (1, 1, 1, 1, 96), 0.5) == 0.1


def test_the_comparison_at_the_quantile_comes_first_and_no_edge_is_far_from_the_tail() -> None:
    stable = (900, 60, 30, 8, 2)  # above the edges: 100, 40, 10, 2 of 1000
    chosen = histogram.choose_comparisons(LE, stable, quantile=0.95, ratio=1.0)
    assert [comparison.candidate for comparison in chosen] == [1, 2, 0]
    assert all(comparison.stable == comparison.candidate and comparison.share == 0 for comparison in chosen)
    assert [each.candidate for each in histogram.choose_comparisons(LE, stable, quantile=0.99, ratio=1.0)] == [2, 3]


def test_a_ratio_that_leads_from_edge_to_edge_needs_no_interpolation() -> None:
    chosen = histogram.choose_comparisons(LE, (950, 30, 15, 5, 0), quantile=0.99, ratio=2.0)
    assert Comparison(candidate=3, stable=2, share=0.0) in chosen


def test_inside_a_bucket_above_the_median_the_share_is_that_of_the_straight_line_over_log_latency() -> None:
    chosen = histogram.choose_comparisons(LE, (900, 60, 30, 8, 2), quantile=0.95, ratio=2**0.5)
    assert chosen[0] == Comparison(candidate=1, stable=1, share=0.5)


def test_a_bucket_that_reaches_below_the_median_counts_by_half_at_least() -> None:
    chosen = histogram.choose_comparisons(LE, (100, 860, 30, 8, 2), quantile=0.95, ratio=1.01)
    assert chosen[0] == Comparison(candidate=1, stable=1, share=0.5)
    all_in_the_first = histogram.choose_comparisons(LE, (1000, 0, 0, 0, 0), quantile=0.95, ratio=1.2)
    assert all_in_the_first[0] == Comparison(candidate=0, stable=0, share=0.5)


def test_a_quantile_far_above_the_last_edge_cannot_be_compared() -> None:
    assert histogram.choose_comparisons(LE, (0, 0, 0, 50, 50), quantile=0.95, ratio=1.2) == ()


def test_acceptance_never_lets_a_candidate_beyond_the_ratio_of_the_foot_of_the_stables_bucket() -> None:
    fine = tuple(0.001 * 1.2**i for i in range(30))
    edge = 10
    chosen = histogram.acceptance_comparison(fine, edge=edge, ratio=2.0)
    assert fine[chosen.candidate] <= 2.0 * fine[edge - 1] < fine[chosen.candidate + 1]
    assert histogram.acceptance_comparison(LE, edge=2, ratio=2.0).candidate == 2
    assert histogram.acceptance_comparison(LE, edge=0, ratio=2.0).candidate == 0


@pytest.mark.parametrize("sigma", [0.2, 0.35, 0.5, 1.0])
@pytest.mark.parametrize("quantile", [0.9, 0.95, 0.99])
def test_log_normal_latencies_slowed_by_exactly_the_tolerated_ratio_stay_within_the_hypothesis(
    sigma: float, quantile: float
) -> None:
    rng = np.random.default_rng(7)
    for median in np.geomspace(0.006, 0.2, 25):
        stable = lognormal_counts(rng, n=20_000, median=median, sigma=sigma).latency
        slower = lognormal_counts(rng, n=20_000, median=median * 1.2, sigma=sigma).latency
        assert stable is not None
        assert slower is not None
        for comparison in histogram.choose_comparisons(COARSE_EDGES, stable.counts, quantile=quantile, ratio=1.2):
            may = histogram.partly_above(stable.counts, comparison)
            assert histogram.above(slower.counts, comparison.candidate) <= may + 4 * max(1.0, may) ** 0.5
