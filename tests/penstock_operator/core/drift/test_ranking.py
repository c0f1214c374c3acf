"""nDCG of contributions: a new order is an alarm, an order that chance allows is none."""

import numpy as np
import numpy.typing as npt
import pytest
from tests.fakes.counting_pods import profile_of

from penstock_contract.profile import Profile
from penstock_operator.core.drift import ranking
from penstock_operator.core.drift.budget import USUAL, Signal
from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.tally import Tallies

WINDOW = 500
WEIGHTS = (2.0, 1.0, 0.5, 0.2, 0.0, 0.0)
KINDS = frozenset({Signal.RANKING})


def rows(
    rng: np.random.Generator, size: int, weights: tuple[float, ...] = WEIGHTS
) -> dict[str, npt.NDArray[np.float64]]:
    matrix = rng.normal(size=(size, len(weights)))
    answers = 1 / (1 + np.exp(-matrix @ np.array(weights) - rng.normal(size=size)))
    return {**{f"f{place}": matrix[:, place] for place in range(len(weights))}, "score": answers}


def tallies(judge: Judge, values: dict[str, npt.NDArray[np.float64]], window_rows: int = WINDOW) -> Tallies:
    named = {column.name: values[column.name.partition("/")[2]] for column in judge.frame.columns}
    return count(judge.frame, named, window_rows)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return profile_of(rows(np.random.default_rng(1), 40_000))


def judge_of(profile: Profile, ndcg_min: float | None) -> Judge:
    return Judge(profile, window_rows=WINDOW, false_alarm_every=10_000, kinds=KINDS, ndcg_min=ndcg_min)


def test_inputs_that_matter_in_another_order_are_an_alarm_that_names_who_matters_less(profile: Profile) -> None:
    judge = judge_of(profile, 0.9)
    values = rows(np.random.default_rng(2), 16 * WINDOW, WEIGHTS[::-1])
    judged, _ = judge.judge(tallies(judge, values), judge.start())
    (alarm,) = {alarm.name: alarm for window in judged.alarms for alarm in window}.values()
    assert (alarm.name, alarm.kind, alarm.less) == ("contribution/nDCG", Signal.RANKING, "f0")
    assert alarm.ndcg is not None
    assert alarm.ndcg < 0.7
    assert alarm.p <= alarm.limit


def test_an_order_as_before_is_no_alarm_however_often_it_is_looked_at(profile: Profile) -> None:
    judge = Judge(profile, window_rows=WINDOW, false_alarm_every=5, kinds=KINDS, ndcg_min=0.99)
    judged, _ = judge.judge(tallies(judge, rows(np.random.default_rng(3), 128 * WINDOW)), judge.start())
    # Beside 0.99 chance alone is often below: it is the evidence that is missing.
    assert not any(judged.alarms)


def test_inputs_that_all_explain_half_as_much_are_in_the_same_order(profile: Profile) -> None:
    judge = judge_of(profile, 0.95)
    weaker = tuple(weight / 2 for weight in WEIGHTS)
    judged, _ = judge.judge(tallies(judge, rows(np.random.default_rng(4), 32 * WINDOW, weaker)), judge.start())
    assert not any(judged.alarms)


def test_it_is_judged_only_against_a_limit(profile: Profile) -> None:
    assert judge_of(profile, None).budget.kinds == frozenset()
    assert Signal.RANKING not in USUAL


def test_one_input_has_no_order() -> None:
    alone = profile_of(rows(np.random.default_rng(5), 5000, (1.0,)))
    assert judge_of(alone, 0.9).budget.kinds == frozenset()


def test_a_window_that_says_nothing_about_an_order_says_nothing(profile: Profile) -> None:
    judge = judge_of(profile, 0.9)
    order = ranking.order_of(judge.frame, judge.reference)
    few = tallies(judge, rows(np.random.default_rng(6), 20, WEIGHTS[::-1]), 20)
    assert ranking.p_values(judge.frame, order, few, ndcg_min=0.9).tolist() == [[1.0]]
    constant = rows(np.random.default_rng(7), WINDOW)
    constant["score"] = np.full(WINDOW, 0.5)
    still = tallies(judge, constant)
    assert ranking.p_values(judge.frame, order, still, ndcg_min=0.9).tolist() == [[1.0]]
    assert ranking.seen(judge.frame, order, still) is None
