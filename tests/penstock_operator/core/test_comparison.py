"""Answers of stable and shadow to the same requests: what is compared, what waits, what agrees."""

import math
import statistics
from functools import reduce
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_contract.outputs import Output, Sample
from penstock_operator.core.comparison import Comparison, Moments, Tolerance, Waiting, compare, join

NOW = 1_800_000_000.0
ONE = Tolerance.parse("1%")


def sample(pair: str = "p", *outputs: Output, seconds: float = 0.010) -> Sample:
    return Sample(seq=1, pair=pair, seconds=seconds, outputs=outputs or (scores(1.0),))


def scores(*values: float | None, name: str = "y") -> Output:
    return Output(name=name, scores=values)


def label(*values: str, name: str = "label") -> Output:
    return Output(name=name, labels=values)


def compared(one: tuple[Output, ...], two: tuple[Output, ...], tolerance: Tolerance = ONE) -> Comparison:
    return compare(sample("p", *one), sample("p", *two), tolerance)


@pytest.mark.parametrize(
    ("one", "two", "disagree", "distance"),
    [
        pytest.param((scores(100.0),), (scores(100.9),), 0, 0.9, id="a number within a hundredth"),
        pytest.param((scores(100.0),), (scores(103.0),), 1, 3.0, id="a number beyond it"),
        pytest.param((scores(0.0),), (scores(1e-7),), 0, 1e-7, id="rounding at zero"),
        pytest.param((scores(0.0),), (scores(0.0009),), 1, 0.0009, id="more than rounding at zero"),
        pytest.param((scores(0.4, 0.6),), (scores(0.3, 0.7),), 0, 0.1, id="scores with the same winner"),
        pytest.param((scores(0.4, 0.6),), (scores(0.7, 0.3),), 1, 0.3, id="scores with another winner"),
        pytest.param((scores(0.5, 0.50001),), (scores(0.50001, 0.5),), 0, 0.00001, id="a tie that rounding decides"),
        pytest.param((label("1"), scores(0.4, 0.6)), (label("1"), scores(0.6, 0.4)), 0, 0.2, id="labels decide"),
        pytest.param((label("1"), scores(0.4, 0.6)), (label("0"), scores(0.4, 0.6)), 1, 0.0, id="another label"),
        pytest.param((scores(None),), (scores(None),), 0, None, id="both not a number"),
        pytest.param((scores(None),), (scores(1.0),), 1, None, id="one not a number"),
        pytest.param((scores(None, 1.0),), (scores(1.0, None),), 1, None, id="other places not numbers"),
        pytest.param(
            (scores(1.0), scores(5.0, name="z")), (scores(1.0), scores(6.0, name="z")), 1, 1.0, id="any output"
        ),
        pytest.param((scores(1e308),), (scores(-1e308),), 1, 1e100, id="numbers without measure"),
    ],
)
def test_a_pair_of_answers_agrees_or_not(
    one: tuple[Output, ...], two: tuple[Output, ...], disagree: int, distance: float | None
) -> None:
    found = compared(one, two)
    assert (found.n, found.disagreements, found.incomparable) == (1, disagree, 0)
    assert found.score.n == (distance is not None)
    assert found.score.total == pytest.approx(distance or 0.0)
    # It does not matter which of the two serves.
    assert compared(two, one).disagreements == disagree


@pytest.mark.parametrize(
    ("tolerance", "apart", "disagree"),
    [("5%", 4.9, 0), ("5%", 5.5, 1), ("0.5", 0.5, 0), ("0.5", 0.6, 1), ("0", 0.0, 0), ("0%", 0.001, 1)],
)
def test_single_numbers_may_be_apart_by_what_the_spec_says(tolerance: str, apart: float, disagree: int) -> None:
    found = compared((scores(100.0),), (scores(100.0 + apart),), Tolerance.parse(tolerance))
    assert found.disagreements == disagree


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param(scores(1.0), scores(1.0, name="z"), id="other names"),
        pytest.param(scores(1.0), scores(1.0, 2.0), id="other widths"),
        pytest.param(scores(1.0, name="label"), label("1"), id="other kinds"),
        pytest.param(scores(), scores(), id="nothing"),
    ],
)
def test_answers_with_nothing_in_common_are_neither_agreement_nor_disagreement(one: Output, two: Output) -> None:
    found = compared((one,), (two,))
    assert (found.n, found.disagreements, found.incomparable) == (0, 0, 1)
    assert found.shadowed is None


def test_how_much_longer_the_shadow_took_is_told_of_pairs() -> None:
    slow = [sample(f"p{index}", seconds=0.010 + 0.005 * index) for index in range(3)]
    quick = [sample(f"p{index}", seconds=0.010) for index in range(3)]
    _, found = join(Waiting(), quick, slow, now=NOW, tolerance=ONE)
    assert found.latency.mean == pytest.approx(0.005)
    assert found.shadowed is not None
    assert found.shadowed.latency_difference == pytest.approx(0.005)


def test_an_answer_waits_for_its_counterpart_and_is_compared_once() -> None:
    waiting, first = join(Waiting(), [sample("p"), sample("q")], [], now=NOW, tolerance=ONE)
    waiting, second = join(waiting, [], [sample("p")], now=NOW + 10, tolerance=ONE)
    waiting, third = join(waiting, [], [sample("p")], now=NOW + 20, tolerance=ONE)
    assert [first.n, second.n, third.n] == [0, 1, 0]
    assert list(waiting.stable) == ["q"]


def test_an_answer_whose_counterpart_does_not_come_is_given_up() -> None:
    waiting, _ = join(Waiting(), [sample("p")], [], now=NOW, tolerance=ONE)
    waiting, late = join(waiting, [], [sample("p")], now=NOW + 91, tolerance=ONE)
    assert late.n == 0
    assert waiting.stable == {}


def test_of_two_answers_with_one_pair_the_first_counts() -> None:
    _, found = join(
        Waiting(),
        [sample("p", scores(1.0)), sample("p", scores(9.0))],
        [sample("p", scores(1.0))],
        now=NOW,
        tolerance=ONE,
    )
    assert (found.n, found.disagreements) == (1, 0)


def test_answers_that_wait_are_bounded_and_the_oldest_give_way() -> None:
    many = [sample(f"p{index}") for index in range(10_000)]
    waiting, _ = join(Waiting(), many, [], now=NOW, tolerance=ONE)
    assert len(waiting.stable) == 2048
    _, found = join(waiting, [], [many[0], many[-1]], now=NOW, tolerance=ONE)
    assert found.n == 1


def test_however_many_answers_come_at_once_those_of_both_sides_are_compared() -> None:
    many = [sample(f"p{index}") for index in range(10_000)]
    _, found = join(Waiting(), many, many, now=NOW, tolerance=ONE)
    assert found.n == 10_000


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_moments_add_up_to_mean_and_variance(values: list[float]) -> None:
    moments = reduce(add, map(Moments.of, values))
    assert math.isclose(moments.mean, statistics.fmean(values), rel_tol=1e-9, abs_tol=1e-6)
    assert math.isclose(moments.variance, statistics.variance(values), rel_tol=1e-6, abs_tol=1.0)


_SAMPLES = st.lists(st.integers(0, 30).map(lambda number: sample(f"p{number}")), max_size=20)


@given(st.lists(st.tuples(_SAMPLES, _SAMPLES), max_size=6))
def test_every_pair_that_both_sides_told_is_compared_whatever_the_order(
    rounds: list[tuple[list[Sample], list[Sample]]],
) -> None:
    waiting, total = Waiting(), Comparison()
    for stable, shadow in rounds:
        waiting, found = join(waiting, stable, shadow, now=NOW, tolerance=ONE)
        total += found
    sides = [{one.pair for part in rounds for one in part[side]} for side in (0, 1)]
    # A pair that is told again after it was compared waits anew, so it may count twice, but never less than once.
    assert total.n >= len(sides[0] & sides[1])
    assert not set(waiting.stable) & set(waiting.shadow)
