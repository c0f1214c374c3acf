"""Tail probabilities against exact ones, far out."""

import numpy as np
import pytest
from scipy import stats

from penstock_operator.core.drift import tails
from penstock_operator.core.drift.budget import Signal, budget, holm


@pytest.mark.parametrize(
    ("hits", "rows", "known", "known_rows"), [(3, 50, 10, 5000), (1, 100, 0, 900), (40, 500, 900, 50_000)]
)
def test_more_often_is_fishers_exact_test(hits: int, rows: int, known: int, known_rows: int) -> None:
    table = [[hits, rows - hits], [known, known_rows - known]]
    assert tails.more_often(hits, rows, known, known_rows) == pytest.approx(
        stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-6
    )


def difference(shares: list[float], scores: list[float], distance: float, rows: int) -> float:
    means = tails.Means(
        shares=np.array([shares]),
        scores=np.array([scores]),
        difference=np.array([distance]),
        rows=np.array([float(rows)]),
        # So large that the other sample is as good as known.
        reference_rows=np.array([1e9]),
    )
    return float(tails.means_differ(means)[0])


@pytest.mark.parametrize("share", [0.5, 0.1, 0.03])
@pytest.mark.parametrize("sds", [4.0, 5.0, 6.0])
def test_a_skewed_mean_has_its_exact_tail(share: float, sds: float) -> None:
    rows = 400
    hits = int(np.ceil(rows * share + sds * np.sqrt(rows * share * (1 - share))))
    exact = 2 * stats.binom.sf(hits - 1, rows, share)
    found = difference([1 - share, share], [0.0, 1.0], hits / rows - share, rows)
    assert found == pytest.approx(exact, rel=0.2)


def test_a_difference_beyond_all_scores_is_impossible_and_no_error() -> None:
    assert difference([0.5, 0.5], [-1.0, 1.0], 5.0, 50) < 1e-12


@pytest.mark.filterwarnings("error")
def test_a_mean_of_one_score_never_differs() -> None:
    assert difference([1.0, 0.0], [0.0, 1.0], 0.0, 50) == 1


def test_the_budget_is_spent_once_over_all_lengths_and_kinds() -> None:
    one = budget(false_alarm_every=1000, window_rows=50, reference_rows=50_000, kinds=list(Signal))
    spent = sum(one.level(kind, level) / one.step(level) for kind in Signal for level in range(one.levels))
    assert spent == pytest.approx(1 / 1000)
    assert one.levels == 7
    assert 50 * 2 ** (one.levels - 1) * 10 <= 50_000


@pytest.mark.parametrize(("rows", "levels"), [(10, 1), (500, 1), (1999, 1), (2000, 2), (100_000, 7)])
def test_a_look_back_stays_below_a_tenth_of_the_reference(rows: int, levels: int) -> None:
    assert budget(false_alarm_every=1000, window_rows=100, reference_rows=rows, kinds=[Signal.INPUTS]).levels == levels


def test_holm_names_no_more_than_bonferroni_allows_for_the_first_and_more_after_it() -> None:
    assert holm(np.array([[0.01, 0.02, 0.9], [0.5, 0.5, 0.5]])).tolist() == [[0.03, 0.04, 0.9], [1.0, 1.0, 1.0]]
    assert holm(np.zeros((3, 0))).shape == (3, 0)
