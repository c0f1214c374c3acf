"""Every factor has a mean of at most 1 under the hypothesis that it is evidence against: by exact enumeration."""

import math
from collections.abc import Callable, Sequence

import pytest

from penstock_operator.core.judge import likelihood
from penstock_operator.core.judge.likelihood import Events

Factors = Callable[[int, float], Sequence[float]]


def binomial(n: int, p: float) -> list[float]:
    return [math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1)]


def means_over_both_arms(n1: int, n0: int, p1: float, p0: float, factors: Factors) -> list[float]:
    chances1, chances0 = binomial(n1, p1), binomial(n0, p0)
    sums: list[float] = []
    for x1, chance1 in enumerate(chances1):
        for x0, chance0 in enumerate(chances0):
            terms = [chance1 * chance0 * math.exp(log) for log in factors(x1, x0)]
            sums = [old + new for old, new in zip(sums, terms, strict=True)] if sums else terms
    return sums


BASES = (0.0, 0.001, 0.02, 0.1, 0.3, 0.6, 0.9)
SIZES = ((1, 1), (3, 27), (12, 12), (27, 3))
MARGINS = ((1.0, 0.0), (1.0, 0.02), (1.2, 0.0), (1.2, 0.001), (2.0, 0.1), (5.0, 0.5))


@pytest.mark.parametrize("margins", MARGINS)
@pytest.mark.parametrize("sizes", SIZES)
def test_a_candidate_at_the_tolerated_rate_gathers_no_evidence_on_average(
    sizes: tuple[int, int], margins: tuple[float, float]
) -> None:
    (n1, n0), (ratio, difference) = sizes, margins

    def factors(x1: int, x0: float) -> Sequence[float]:
        return likelihood.log_worse_than_stable(
            Events(n=n1, events=x1), Events(n=n0, events=x0), ratio=ratio, difference=difference
        )

    for p0 in BASES:
        p1 = min(1.0, ratio * p0 + difference)
        assert max(means_over_both_arms(n1, n0, p1, p0, factors)) <= 1 + 1e-9
        assert max(means_over_both_arms(n1, n0, p1 / 2, p0, factors)) <= 1 + 1e-9


@pytest.mark.parametrize("margins", MARGINS)
@pytest.mark.parametrize("sizes", SIZES)
def test_a_candidate_at_the_accepted_rate_gathers_no_acceptance_on_average(
    sizes: tuple[int, int], margins: tuple[float, float]
) -> None:
    (n1, n0), (ratio, difference) = sizes, margins

    def factors(x1: int, x0: float) -> Sequence[float]:
        return likelihood.log_better_than_stable(
            Events(n=n1, events=x1), Events(n=n0, events=x0), ratio=ratio, difference=difference
        )

    for p0 in BASES:
        p1 = ratio * p0 + difference
        if p1 > 1:
            continue  # no candidate is as bad as that
        assert max(means_over_both_arms(n1, n0, p1, p0, factors)) <= 1 + 1e-9
        assert max(means_over_both_arms(n1, n0, (1 + p1) / 2, p0, factors)) <= 1 + 1e-9


def test_the_factors_are_sharp_where_the_stable_has_no_errors() -> None:
    def worse(x1: int, x0: float) -> Sequence[float]:
        return likelihood.log_worse_than_stable(
            Events(n=12, events=x1), Events(n=24, events=x0), ratio=1.2, difference=0.05
        )

    def better(x1: int, x0: float) -> Sequence[float]:
        return likelihood.log_better_than_stable(
            Events(n=12, events=x1), Events(n=24, events=x0), ratio=2.0, difference=0.05
        )

    assert means_over_both_arms(12, 24, 0.05, 0.0, worse) == pytest.approx([1.0] * len(likelihood.WORSE_BY))
    assert means_over_both_arms(12, 24, 0.05, 0.0, better) == pytest.approx([1.0] * len(likelihood.BETTER_BY))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_a_partly_counted_bucket_of_the_stable_keeps_the_mean_at_most_1(share: float) -> None:
    # The stable: 20% above the edge, 30% in the bucket of which `share` counts.
    n1, n0 = 6, 6
    p1 = 0.2 + share * 0.3
    means = [0.0] * len(likelihood.WORSE_BY)
    for x1, chance1 in enumerate(binomial(n1, p1)):
        for beyond, chance_beyond in enumerate(binomial(n0, 0.2)):
            for inside, chance_inside in enumerate(binomial(n0 - beyond, 0.3 / 0.8)):
                logs = likelihood.log_worse_than_stable(
                    Events(n=n1, events=x1), Events(n=n0, events=beyond + share * inside), ratio=1.0, difference=0.0
                )
                chance = chance1 * chance_beyond * chance_inside
                means = [mean + chance * math.exp(log) for mean, log in zip(means, logs, strict=True)]
    assert max(means) <= 1 + 1e-9


@pytest.mark.parametrize("limit", [0.0001, 0.01, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_against_a_limit_the_mean_is_1_at_the_limit_and_less_on_its_other_side(limit: float, n: int) -> None:
    def mean_of(p: float, direction: Callable[..., tuple[float, ...]]) -> list[float]:
        logs = [direction(Events(n=n, events=x), limit=limit) for x in range(n + 1)]
        return [
            sum(chance * math.exp(log) for chance, log in zip(binomial(n, p), guess, strict=True))
            for guess in zip(*logs, strict=True)
        ]

    assert mean_of(limit, likelihood.log_worse_than_limit) == pytest.approx([1.0] * len(likelihood.WORSE_BY))
    assert mean_of(limit, likelihood.log_better_than_limit) == pytest.approx([1.0] * len(likelihood.BETTER_BY))
    assert max(mean_of(limit / 2, likelihood.log_worse_than_limit)) < 1
    assert max(mean_of((1 + limit) / 2, likelihood.log_better_than_limit)) < 1


@pytest.mark.parametrize("sizes", [(1, 10**9), (10**9, 1), (10**9, 10**9)])
def test_extreme_shares_of_traffic_give_finite_factors(sizes: tuple[int, int]) -> None:
    here, there = Events(n=sizes[0], events=sizes[0]), Events(n=sizes[1], events=sizes[1])
    for log in (
        *likelihood.log_worse_than_stable(here, there, ratio=1.0, difference=0.0),
        *likelihood.log_better_than_stable(here, there, ratio=2.0, difference=1.0),
    ):
        assert math.isfinite(log)
