import doctest

import pytest
from benchmarks.serving import figures, quiet, results
from benchmarks.serving.figures import Cell, Figures, medians, quantile, ratios, spread


def of(rate: float, p50: float = 1.0) -> Figures:
    return Figures(requests_per_second=rate, p50_ms=p50, p99_ms=2.0, cpu_seconds_per_1000=0.1, client_share=0.5)


@pytest.mark.parametrize("module", [figures, quiet, results], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type] # a module


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 201)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)) == (100, 198, 200)


def test_a_quantile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


@pytest.mark.parametrize("share", [0, -0.1, 1.01])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share must be"):
        quantile([1.0], share)


def test_each_figure_has_its_own_median_so_one_odd_round_moves_none() -> None:
    middle = medians([of(100, 3.0), of(5, 1.0), of(110, 2.0)])
    assert (middle.requests_per_second, middle.p50_ms) == (100, 2.0)


def test_spread_is_the_distance_of_fastest_and_slowest_in_medians() -> None:
    assert spread([of(90), of(100), of(120)]) == pytest.approx(0.3)


def test_ratios_compare_only_what_was_asked_in_the_same_way() -> None:
    rates = {
        Cell(line="ours", workload="gbm-1", connections=16): 30.0,
        Cell(line="bare", workload="gbm-1", connections=16): 10.0,
        Cell(line="ours", workload="gbm-1", connections=64): 40.0,
        Cell(line="bare", workload="gbm-32", connections=64): 1.0,
    }
    assert ratios(rates, "bare") == {
        Cell(line="ours", workload="gbm-1", connections=16): 3.0,
        Cell(line="bare", workload="gbm-1", connections=16): 1.0,
        Cell(line="bare", workload="gbm-32", connections=64): 1.0,
    }
