"""The t-test that may be looked at at any time: its mean is 1 where nothing is wrong, for every number of values."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from penstock_operator.core.judge.student import evidence_above_zero, student_cdf


@pytest.mark.parametrize("freedom", [1.0, 1.7, 2.0, 5.0, 33.3, 400.0])
@pytest.mark.parametrize("t", [-60.0, -3.0, -0.2, 0.0, 0.7, 2.0, 9.0, 300.0])
def test_the_distribution_of_t_is_the_one_of_the_tables(t: float, freedom: float) -> None:
    assert student_cdf(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-8)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 20])
def test_at_mean_zero_the_mean_evidence_is_one(n: int) -> None:
    def weighted(t: float) -> float:
        evidence = evidence_above_zero(n, t / math.sqrt(n), (n - 1) / n)
        return evidence * float(stats.t.pdf(t, n - 1))

    parts = [integrate.quad(weighted, low, high, limit=200)[0] for low, high in ((-1e4, -10), (-10, 10), (10, 1e4))]
    assert sum(parts) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("n", [2.0, 3.5, 12.0])
def test_more_distance_is_more_evidence(n: float) -> None:
    found = [evidence_above_zero(n, mean, 1.0) for mean in np.linspace(-5, 5, 60)]
    assert found == sorted(found)


def test_the_unit_of_the_values_does_not_matter() -> None:
    assert evidence_above_zero(6, 2e-9, 1e-18) == pytest.approx(evidence_above_zero(6, 2e9, 1e18))


@pytest.mark.parametrize("case", [(1, 5.0, 0.0), (0.4, 5.0, 1.0), (6, 0.0, 0.0)], ids=str)
def test_one_value_or_none_but_zeros_say_nothing(case: tuple[float, float, float]) -> None:
    assert evidence_above_zero(*case) == 1.0


def test_equal_values_above_zero_decide_after_four() -> None:
    assert evidence_above_zero(3, 1.0, 0.0) < 20 <= evidence_above_zero(4, 1.0, 0.0)


def test_who_looks_after_every_value_is_fooled_at_most_once_in_twenty() -> None:
    fooled = 0
    for seed in range(300):
        values = np.random.default_rng(seed).standard_normal(40)
        highest = max(
            evidence_above_zero(n, float(values[:n].mean()), float(values[:n].var())) for n in range(2, len(values) + 1)
        )
        fooled += highest >= 20
    assert fooled / 300 <= 0.05
