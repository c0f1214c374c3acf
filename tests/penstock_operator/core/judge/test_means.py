"""Means of readings: equals are left alone although readings follow each other, and worse ones are found."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from penstock_operator.core.judge.counts import Reading, Shadowed, Tick
from penstock_operator.core.judge.decide import judge_all, judge_tick
from penstock_operator.core.judge.judgement import Judgement, Verdict
from penstock_operator.core.judge.metrics import (
    DisagreementAgainstLimit,
    MeanAgainstLimit,
    MeanAgainstStable,
    Metric,
)
from penstock_operator.core.judge.series import BATCH, KEPT
from penstock_operator.core.judge.state import EvidenceRefused, EvidenceState

NEVER = 10**9
REVENUE = MeanAgainstStable(name="revenue", tolerate_ratio=0.95, accept_ratio=0.9, higher_is_better=True)
COST = MeanAgainstStable(name="cost", tolerate_ratio=1.2, accept_ratio=2.0)
SCORE = MeanAgainstLimit(name="score", limit=0.5)

Readings = Iterator[tuple[float, float]]


def correlated(rng: np.random.Generator, phi: float) -> Iterator[float]:
    """Yield values of mean 0 and deviation 1, each of which remembers ``phi`` of the one before."""
    value = float(rng.standard_normal())
    while True:
        yield value
        value = phi * value + (1 - phi * phi) ** 0.5 * float(rng.standard_normal())


def readings(seed: int, *, stable: float, candidate: float, deviation: float = 0.1, phi: float = 0.3) -> Readings:
    rng = np.random.default_rng(seed)
    ours, theirs = correlated(rng, phi), correlated(rng, phi)
    while True:
        yield stable * (1 + deviation * next(ours)), candidate * (1 + deviation * next(theirs))


def tick(metric: Metric, at: float, stable: float, candidate: float) -> Tick:
    return Tick(
        at=at, stable=None, candidate=None, readings={metric.name: Reading(at=at, stable=stable, candidate=candidate)}
    )


def judged(metric: Metric, pairs: Readings, number: int) -> Iterator[Judgement]:
    state = EvidenceState.fresh(metric)
    for at in range(number):
        state, judgement = judge_tick(metric, state, tick(metric, float(at), *next(pairs)), limit=20)
        yield judgement


def first(verdict: Verdict, judgements: Iterator[Judgement]) -> int:
    return next((at for at, judgement in enumerate(judgements, 1) if judgement.verdict is verdict), NEVER)


def delays(metric: Metric, verdict: Verdict, make: Callable[[int], Readings], *, runs: int, number: int) -> list[int]:
    return [first(verdict, judged(metric, make(seed), number)) for seed in range(runs)]


@pytest.mark.parametrize("phi", [0.0, 0.3])
def test_at_the_tolerated_ratio_few_fail_though_readings_follow_each_other(phi: float) -> None:
    found = delays(
        COST,
        Verdict.FAIL,
        lambda seed: readings(seed, stable=10, candidate=12, phi=phi),
        runs=40,
        number=60,
    )
    assert sum(delay < NEVER for delay in found) / len(found) <= 0.05


@pytest.mark.parametrize(
    ("metric", "candidate", "at_most"),
    [
        pytest.param(COST, 24, 14, id="twice the cost"),
        pytest.param(COST, 15, 24, id="half more cost"),
        pytest.param(REVENUE, 5, 14, id="half of the revenue"),
        pytest.param(REVENUE, 8, 24, id="a fifth less revenue"),
    ],
)
def test_a_worse_mean_is_found(metric: Metric, candidate: float, at_most: int) -> None:
    found = delays(
        metric, Verdict.FAIL, lambda seed: readings(seed, stable=10, candidate=candidate), runs=15, number=60
    )
    assert median(found) <= at_most


def test_a_better_mean_is_no_evidence_against_a_candidate() -> None:
    (*_, last) = judged(REVENUE, readings(1, stable=10, candidate=20), 60)
    assert last.verdict is Verdict.PASS
    assert last.evidence < 1


@pytest.mark.parametrize(("metric", "at_most"), [(COST, 12), (REVENUE, 40)], ids=["cost", "revenue"])
def test_equals_pass(metric: Metric, at_most: int) -> None:
    found = delays(metric, Verdict.PASS, lambda seed: readings(seed, stable=10, candidate=10), runs=15, number=60)
    assert median(found) <= at_most


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.9, Verdict.FAIL), (0.1, Verdict.PASS)], ids=["above fails", "below passes"]
)
def test_against_a_limit_the_candidate_alone_counts(value: float, verdict: Verdict) -> None:
    state, rng = EvidenceState.fresh(SCORE), np.random.default_rng(1)
    for at in range(20):
        reading = Reading(at=float(at), candidate=value + 0.05 * float(rng.standard_normal()))
        one = Tick(at=float(at), stable=None, candidate=None, readings={"score": reading})
        state, judgement = judge_tick(SCORE, state, one, limit=20)
    assert judgement.verdict is verdict
    assert judgement.stable is None


def test_a_change_after_a_long_good_time_is_found_soon() -> None:
    state, pairs = EvidenceState.fresh(COST), readings(4, stable=10, candidate=10)
    for at in range(600):
        state, judgement = judge_tick(COST, state, tick(COST, float(at), *next(pairs)), limit=20)
    assert judgement.verdict is Verdict.PASS
    worse = readings(5, stable=10, candidate=30)
    for delay in range(1, 40):
        state, judgement = judge_tick(COST, state, tick(COST, 600.0 + delay, *next(worse)), limit=20)
        if judgement.verdict is Verdict.FAIL:
            break
    assert delay <= 24


def test_the_same_reading_counts_once_and_what_it_came_to_stands() -> None:
    pairs = readings(3, stable=10, candidate=30)
    state = EvidenceState.fresh(COST)
    for at in range(2 * BATCH):
        one = tick(COST, float(at), *next(pairs))
        state, judgement = judge_tick(COST, state, one, limit=20)
    again, said_again = judge_tick(COST, state, replace(one, at=99.0), limit=20)
    assert (again, said_again) == (state, judgement)


@pytest.mark.parametrize(
    ("reading", "verdict", "words"),
    [
        (None, Verdict.NO_DATA, "not answered yet"),
        (Reading(at=99.0, absent="no series"), Verdict.NO_DATA, "no series"),
        (Reading(at=99.0, problem="timeout"), Verdict.ERROR, "timeout"),
        (Reading(at=99.0, stable=1.0), Verdict.ERROR, "no value for the candidate"),
        (Reading(at=99.0, candidate=1.0), Verdict.ERROR, "no value for the stable"),
        (Reading(at=99.0, stable=-1.0, candidate=1.0), Verdict.ERROR, "give the metric a limit"),
    ],
    ids=["nothing yet", "absent", "problem", "no candidate", "no stable", "negative"],
)
def test_what_cannot_be_judged_changes_no_evidence(reading: Reading | None, verdict: Verdict, words: str) -> None:
    bad = readings(3, stable=10, candidate=40)
    state = EvidenceState.fresh(COST)
    for at in range(16):
        state, before = judge_tick(COST, state, tick(COST, float(at), *next(bad)), limit=20)
    assert before.verdict is Verdict.FAIL
    empty = Tick(at=99.0, stable=None, candidate=None, readings={} if reading is None else {"cost": reading})
    after, judgement = judge_tick(COST, state, empty, limit=20)
    assert after == state
    assert judgement.verdict is verdict
    assert words in judgement.message


@pytest.mark.parametrize("number", [1, 2, 7, 2 * KEPT + 9])
def test_a_state_read_back_is_the_very_same_state(number: int) -> None:
    state, pairs = EvidenceState.fresh(COST), readings(6, stable=1 / 3, candidate=1 / 3)
    for at in range(number):
        state, _ = judge_tick(COST, state, tick(COST, float(at), *next(pairs)), limit=20)
    wire = json.dumps(state.to_json(), allow_nan=False)
    assert EvidenceState.from_json(json.loads(wire), COST) == state
    assert len(wire) < 2500


def test_evidence_about_another_question_is_refused() -> None:
    state = EvidenceState.fresh(replace(COST, asked="sum(a)"))
    with pytest.raises(EvidenceRefused):
        EvidenceState.from_json(state.to_json(), replace(COST, asked="sum(b)"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"series": {"pending": -1}},
        {"series": {"sums": [1.0]}},
        {"series": {"batches": [[1.0, 2.0]] * (KEPT + 1)}},
        {"series": {"batches": [[1.0, float("nan")]]}},
        {"series": {"batches": [[1.0]]}},
        {"against": [[1.0, 2.0]]},
        {"inFavour": []},
    ],
    ids=str,
)
def test_damaged_series_are_refused(wrong: dict[str, object]) -> None:
    state, pairs = EvidenceState.fresh(COST), readings(6, stable=1, candidate=1)
    for at in range(4):
        state, _ = judge_tick(COST, state, tick(COST, float(at), *next(pairs)), limit=20)
    with pytest.raises(EvidenceRefused, match="damaged"):
        EvidenceState.from_json({**state.to_json(), **wrong}, COST)


@pytest.mark.parametrize("ratio", [0.5, float("nan")])
def test_lower_is_better_takes_no_ratio_below_1(ratio: float) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MeanAgainstStable(name="cost", tolerate_ratio=ratio, accept_ratio=2)


@pytest.mark.parametrize("ratio", [0.0, 1.5, float("nan")])
def test_higher_is_better_takes_no_ratio_above_1(ratio: float) -> None:
    with pytest.raises(ValueError, match="at most 1"):
        MeanAgainstStable(name="sales", tolerate_ratio=ratio, accept_ratio=0.5, higher_is_better=True)


def test_the_words_have_the_means_and_how_many_readings() -> None:
    (*_, last) = judged(COST, readings(1, stable=10, candidate=30), 12)
    assert (
        last.message
        == "mean 30.6 of 12 readings against 10.05 of 12 readings (evidence 7.7 of 20, acceptance 0.33 of 20)"
    )


@pytest.mark.parametrize(("wrong", "verdict"), [(30, Verdict.FAIL), (0, Verdict.PASS)])
def test_shadowed_answers_that_differ_are_counted_against_the_limit(wrong: int, verdict: Verdict) -> None:
    metric = DisagreementAgainstLimit(name="answers", limit=0.05)
    state = EvidenceState.fresh(metric)
    for at in range(4):
        one = Tick(at=float(at), stable=None, candidate=None, shadowed=Shadowed(n=100, disagreements=wrong))
        state, judgement = judge_tick(metric, state, one, limit=20)
    assert judgement.verdict is verdict
    assert "answered otherwise, limit 5%" in judgement.message


def test_where_nothing_was_compared_there_is_no_data() -> None:
    metric = DisagreementAgainstLimit(name="answers", limit=0.05)
    for shadowed in (None, Shadowed(n=0, disagreements=0)):
        one = Tick(at=1.0, stable=None, candidate=None, shadowed=shadowed)
        _, judgement = judge_tick(metric, EvidenceState.fresh(metric), one, limit=20)
        assert judgement.verdict is Verdict.NO_DATA


def test_metrics_of_all_kinds_share_one_budget() -> None:
    found = judge_all([COST, SCORE], {}, Tick(at=1.0, stable=None, candidate=None), false_alarms_per_rollout=0.05)
    assert {name: judgement.limit for name, judgement in found.judgements.items()} == {"cost": 40.0, "score": 40.0}
