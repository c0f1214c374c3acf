"""The area under the ROC curve from bins: within the bound that it tells of the exact one, and judged by its errors."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from penstock_contract.feedback import FeedbackCounts, score_bin
from penstock_operator.core.drift import roc

Numbers = npt.NDArray[np.float64]


def scores(positive: Numbers, negative: Numbers) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {"positive": {}, "negative": {}}
    for side, values in (("positive", positive), ("negative", negative)):
        for value in values.tolist():
            place = str(score_bin(value))
            table[side][place] = table[side].get(place, 0) + 1
    return table


def drawn(seed: int, rows: int, apart: float) -> tuple[Numbers, Numbers]:
    rng = np.random.default_rng(seed)
    return rng.normal(apart, 1, rows), rng.normal(0, 1, 3 * rows)


@pytest.mark.parametrize(("rows", "apart"), [(20, 0.0), (50, 1.0), (400, 2.5), (300, 9.0)])
def test_it_is_as_near_to_the_exact_area_as_it_says(rows: int, apart: float) -> None:
    positive, negative = drawn(rows, rows, apart)
    exact = stats.mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))
    found = roc.area_of(scores(positive, negative))
    assert found is not None
    assert abs(found.area - exact) <= found.binning + 1e-12
    assert found.binning < 0.03
    assert (found.positive, found.negative) == (rows, 3 * rows)


def test_counts_of_pods_add_up_to_the_area_of_all_rows() -> None:
    positive, negative = drawn(1, 300, 1.0)
    pods = [FeedbackCounts(scores=scores(positive[place::3], negative[place::3])) for place in range(3)]
    together = pods[0] + pods[1] + pods[2]
    assert roc.area_of(together.scores) == roc.area_of(scores(positive, negative))
    assert roc.area_of((together - pods[0]).scores) == roc.area_of((pods[1] + pods[2]).scores)


def test_its_error_is_how_far_it_scatters() -> None:
    areas = [found for seed in range(300) if (found := roc.area_of(scores(*drawn(seed, 60, 1.0)))) is not None]
    assert np.std([one.area for one in areas]) == pytest.approx(np.mean([one.error for one in areas]), rel=0.12)


def test_false_alarms_are_as_rare_as_they_should_be_where_the_area_is_just_the_limit() -> None:
    apart = float(np.sqrt(2) * stats.norm.ppf(0.85))
    p = [roc.below(found, 0.85) for seed in range(600) if (found := roc.area_of(scores(*drawn(seed, 40, apart))))]
    for level in (0.05, 0.01):
        assert (np.array(p) <= level).mean() <= level + 2.5 * np.sqrt(level * (1 - level) / len(p))


def test_an_area_below_the_limit_is_found() -> None:
    found = roc.area_of(scores(*drawn(1, 200, 1.0)))
    assert found is not None
    assert roc.below(found, 0.9) < 1e-4
    assert roc.below(found, 0.7) == 1.0


@pytest.mark.parametrize("table", [{}, {"positive": {"3": 4}}, {"positive": {}, "negative": {"1": 2}}])
def test_one_class_alone_has_no_curve(table: dict[str, dict[str, int]]) -> None:
    assert roc.area_of(table) is None


def test_few_labels_of_a_class_say_nothing() -> None:
    found = roc.area_of({"positive": {"10": 9}, "negative": {"100": 900}})
    assert found is not None
    assert roc.below(found, 0.9) == 1.0
    enough = roc.area_of({"positive": {"10": 10}, "negative": {"100": 900}})
    assert enough is not None
    assert roc.below(enough, 0.9) < 1e-6
