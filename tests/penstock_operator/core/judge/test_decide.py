"""The five verdicts and their sentences."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.core.judge.counts import ArmCounts, LatencyHistogram, Tick
from penstock_operator.core.judge.decide import evidence_limits, judge_all, judge_tick
from penstock_operator.core.judge.judgement import Judgement, Verdict
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    Metric,
)
from penstock_operator.core.judge.state import EvidenceState

ERRORS = ErrorRateAgainstStable(name="errors")
LIMIT = ErrorRateAgainstLimit(name="errors", limit=0.02)
SLO = LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0.05)
SLOWER = LatencyAgainstStable(name="slower", quantile=0.95)
ALL: tuple[Metric, ...] = (ERRORS, LIMIT, SLO, SLOWER)

LE = (0.01, 0.025, 0.05, 0.1, 0.25)
FAST = (80, 15, 5, 0, 0, 0)
SLOW = (0, 0, 30, 40, 20, 10)


def arm(counts: tuple[int, ...] = FAST, *, errors: int = 0, times: int = 1, le: tuple[float, ...] = LE) -> ArmCounts:
    histogram = LatencyHistogram(le=le, counts=tuple(count * times for count in counts))
    return ArmCounts(requests=histogram.total, errors=errors, latency=histogram)


def after(metric: Metric, *ticks: Tick, limit: float = 20.0) -> tuple[EvidenceState, Judgement]:
    state = EvidenceState.fresh(metric)
    for tick in ticks:
        state, judgement = judge_tick(metric, state, tick, limit=limit)
    return state, judgement


def test_the_sentence_of_a_failed_error_rate_holds_both_shares_and_the_evidence() -> None:
    tick = Tick(at=1, stable=ArmCounts(requests=11160, errors=45), candidate=ArmCounts(requests=1240, errors=38))
    _, judgement = after(ERRORS, tick)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.evidence >= judgement.limit
    assert judgement.message == "3.1% of 1240 against 0.4% of 11160 (evidence 1.0e12 > 20)"
    assert judgement.candidate is not None
    assert (judgement.candidate.n, judgement.candidate.value) == (1240, 38 / 1240)


def test_the_sentence_of_a_pass_holds_the_evidence_for_the_candidate() -> None:
    tick = Tick(at=1, stable=ArmCounts(requests=9000, errors=0), candidate=ArmCounts(requests=1000, errors=0))
    _, judgement = after(ERRORS, tick)
    assert judgement.verdict is Verdict.PASS
    assert judgement.message == "0% of 1000 against 0% of 9000 (acceptance 30 > 20)"


def test_the_sentence_of_undecided_holds_both_evidences() -> None:
    tick = Tick(at=1, stable=ArmCounts(requests=540, errors=2), candidate=ArmCounts(requests=60, errors=1))
    _, judgement = after(ERRORS, tick)
    assert judgement.verdict is Verdict.UNDECIDED
    assert judgement.message.startswith("1.7% of 60 against 0.37% of 540 (evidence ")
    assert "of 20, acceptance" in judgement.message


def test_the_sentence_against_an_error_limit_names_the_limit() -> None:
    _, judgement = after(LIMIT, Tick(at=1, stable=None, candidate=ArmCounts(requests=200, errors=30)))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.message.startswith("15% of 200, limit 2% (evidence ")


def test_the_sentence_against_a_latency_limit_says_how_many_took_longer() -> None:
    _, judgement = after(SLO, Tick(at=1, stable=None, candidate=arm(SLOW)))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.message.startswith("p99 250 ms of 100, limit 50 ms: 70% took longer than 50 ms where 1% may (evid")


def test_the_sentence_against_the_stables_latency_holds_both_quantiles() -> None:
    ticks = [Tick(at=t, stable=arm(times=9), candidate=arm(SLOW)) for t in range(3)]
    _, judgement = after(SLOWER, *ticks)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.message.startswith("p95 250 ms of 300 against 25 ms of 2700 (evidence ")


def test_until_the_stables_quantile_is_known_latency_is_undecided_and_says_what_it_waits_for() -> None:
    _, judgement = after(SLOWER, Tick(at=1, stable=arm((50, 8, 2, 0, 0, 0)), candidate=arm(SLOW)))
    assert judgement.verdict is Verdict.UNDECIDED
    assert judgement.message.endswith("(learning where the stable's p95 lies: 60 of 100 requests)")
    assert judgement.evidence == 1.0


def test_the_tick_that_chose_the_edges_is_no_evidence_itself() -> None:
    state, _ = after(SLOWER, Tick(at=1, stable=arm(times=9), candidate=arm(SLOW)))
    assert state.comparisons
    assert state.ticks == 0


def test_a_latency_limit_between_edges_wrongs_no_candidate_and_says_which_edge_decides() -> None:
    metric = LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0.07)
    between = arm((0, 0, 0, 1, 0, 0), times=1000)  # all between 50 and 100 ms: within 70 ms or not, nobody knows
    _, judgement = after(metric, Tick(at=1, stable=None, candidate=between))
    assert judgement.verdict is Verdict.UNDECIDED
    assert "took longer than 100 ms" in judgement.message
    assert "a pass is judged at 50 ms" in judgement.message


def test_a_latency_limit_below_all_edges_can_fail_and_never_passes() -> None:
    metric = LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0.001)
    _, fast = after(metric, Tick(at=1, stable=None, candidate=arm((1, 0, 0, 0, 0, 0), times=1000)))
    _, slow = after(metric, Tick(at=1, stable=None, candidate=arm(SLOW)))
    assert fast.verdict is Verdict.UNDECIDED
    assert "a pass is judged at 0 ms" in fast.message
    assert slow.verdict is Verdict.FAIL


def test_a_latency_limit_above_all_edges_is_an_error_that_names_the_last_edge() -> None:
    metric = LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=3)
    _, judgement = after(metric, Tick(at=1, stable=None, candidate=arm()))
    assert judgement.verdict is Verdict.ERROR
    assert "the limit 3000 ms is above the histogram's last edge 250 ms" in judgement.message


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)
@pytest.mark.parametrize("candidate", [None, ArmCounts(requests=0, errors=0), arm((0, 0, 0, 0, 0, 0))], ids=str)
def test_without_requests_of_the_candidate_every_metric_has_no_data(
    metric: Metric, candidate: ArmCounts | None
) -> None:
    bad = Tick(at=1, stable=arm(times=9), candidate=arm(SLOW, errors=90))
    before, _ = after(metric, bad, dataclasses.replace(bad, at=2))
    state, judgement = judge_tick(metric, before, Tick(at=3, stable=arm(times=9), candidate=candidate), limit=20)
    assert judgement.verdict is Verdict.NO_DATA
    assert "candidate" in judgement.message
    assert state == before


@pytest.mark.parametrize("metric", [ERRORS, SLOWER], ids=lambda metric: type(metric).__name__)
@pytest.mark.parametrize("stable", [None, ArmCounts(requests=0, errors=0)], ids=str)
def test_without_requests_of_the_stable_comparisons_have_no_data(metric: Metric, stable: ArmCounts | None) -> None:
    state, judgement = after(metric, Tick(at=1, stable=stable, candidate=arm(SLOW, errors=90)))
    assert judgement.verdict is Verdict.NO_DATA
    assert "stable" in judgement.message
    assert state == EvidenceState.fresh(metric)


@pytest.mark.parametrize("metric", [LIMIT, SLO], ids=lambda metric: type(metric).__name__)
def test_limits_are_judged_without_a_stable(metric: Metric) -> None:
    _, judgement = after(metric, Tick(at=1, stable=None, candidate=arm(SLOW, errors=90)))
    assert judgement.verdict is Verdict.FAIL


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)
@pytest.mark.parametrize("at", [5.0, 4.0])
def test_a_tick_that_was_counted_never_counts_twice(metric: Metric, at: float) -> None:
    tick = Tick(at=5, stable=arm(times=9), candidate=arm(errors=1))
    before, _ = after(metric, tick)
    state, judgement = judge_tick(metric, before, dataclasses.replace(tick, at=at), limit=20)
    assert judgement.verdict is Verdict.NO_DATA
    assert "counted already" in judgement.message
    assert state == before


@pytest.mark.parametrize("metric", [SLO, SLOWER], ids=lambda metric: type(metric).__name__)
def test_a_missing_histogram_is_an_error_that_leaves_the_evidence_alone(metric: Metric) -> None:
    before, _ = after(metric, Tick(at=1, stable=arm(times=9), candidate=arm()))
    blind = Tick(at=2, stable=arm(times=9), candidate=ArmCounts(requests=100, errors=0))
    state, judgement = judge_tick(metric, before, blind, limit=20)
    assert judgement.verdict is Verdict.ERROR
    assert judgement.message == "there is no latency histogram of the candidate in this tick"
    assert state == before


@pytest.mark.parametrize("metric", [SLO, SLOWER], ids=lambda metric: type(metric).__name__)
def test_other_histogram_edges_than_before_are_an_error(metric: Metric) -> None:
    before, _ = after(metric, Tick(at=1, stable=arm(times=9), candidate=arm()))
    moved = arm(le=(0.01, 0.025, 0.06, 0.1, 0.25))
    state, judgement = judge_tick(metric, before, Tick(at=2, stable=moved, candidate=moved), limit=20)
    assert judgement.verdict is Verdict.ERROR
    assert "edges changed" in judgement.message
    assert state == before


def test_different_edges_of_the_two_arms_are_an_error() -> None:
    other = arm(le=(0.01, 0.025, 0.06, 0.1, 0.25))
    _, judgement = after(SLOWER, Tick(at=1, stable=arm(), candidate=other))
    assert judgement.verdict is Verdict.ERROR
    assert "different histogram edges" in judgement.message


def test_a_stable_slower_than_all_edges_is_an_error_that_says_what_to_do() -> None:
    _, judgement = after(SLOWER, Tick(at=1, stable=arm((0, 0, 0, 0, 10, 90), times=9), candidate=arm()))
    assert judgement.verdict is Verdict.ERROR
    assert "the stable's p95 lies above the histogram's last edge 250 ms; judge a lower quantile" in judgement.message


def test_a_candidate_that_turns_bad_after_a_long_pass_loses_it_on_the_first_bad_ticks() -> None:
    good = [
        Tick(at=t, stable=ArmCounts(requests=5400, errors=27), candidate=ArmCounts(requests=600, errors=3))
        for t in range(200)
    ]
    state, judgement = after(ERRORS, *good)
    assert judgement.verdict is Verdict.PASS
    verdicts = []
    for t in range(200, 204):
        bad = Tick(at=t, stable=ArmCounts(requests=5400, errors=27), candidate=ArmCounts(requests=600, errors=18))
        state, judgement = judge_tick(ERRORS, state, bad, limit=20)
        verdicts.append(judgement.verdict)
    assert Verdict.PASS not in verdicts
    assert verdicts[-1] is Verdict.FAIL


@given(e1=st.integers(0, 59), e0=st.integers(0, 540))
@settings(deadline=None, max_examples=100)
def test_one_more_error_of_the_candidate_never_helps_it(e1: int, e0: int) -> None:
    def judged(errors: int) -> Judgement:
        here = ArmCounts(requests=60, errors=errors)
        return after(ERRORS, Tick(at=1, stable=ArmCounts(requests=540, errors=e0), candidate=here))[1]

    fewer, more = judged(e1), judged(e1 + 1)
    assert more.evidence >= fewer.evidence
    assert more.acceptance <= fewer.acceptance


@given(e1=st.integers(0, 60), e0=st.integers(0, 539))
@settings(deadline=None, max_examples=100)
def test_one_more_error_of_the_stable_never_hurts_the_candidate(e1: int, e0: int) -> None:
    def judged(errors: int) -> Judgement:
        there = ArmCounts(requests=540, errors=errors)
        return after(ERRORS, Tick(at=1, stable=there, candidate=ArmCounts(requests=60, errors=e1)))[1]

    fewer, more = judged(e0), judged(e0 + 1)
    assert more.evidence <= fewer.evidence
    assert more.acceptance >= fewer.acceptance


def test_a_single_metric_at_a_twentieth_fails_at_20() -> None:
    assert evidence_limits([ERRORS], false_alarms_per_rollout=0.05) == {"errors": 20.0}


def test_the_shares_of_all_metrics_sum_to_the_budget_and_a_critical_one_gets_double() -> None:
    metrics: list[Metric] = [dataclasses.replace(ERRORS, critical=True), SLO, SLOWER]
    limits = evidence_limits(metrics, false_alarms_per_rollout=0.05)
    assert sum(1 / limit for limit in limits.values()) == pytest.approx(0.05)
    assert limits["slo"] == pytest.approx(2 * limits["errors"])


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1])
def test_a_budget_that_is_no_share_is_refused(budget: float) -> None:
    with pytest.raises(ValueError, match=r"falseAlarms\.perRollout"):
        evidence_limits([ERRORS], false_alarms_per_rollout=budget)


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="unique"):
        evidence_limits([ERRORS, LIMIT], false_alarms_per_rollout=0.05)


def test_a_limit_that_no_evidence_stands_for_is_refused() -> None:
    with pytest.raises(ValueError, match="limit must be above 1"):
        judge_tick(ERRORS, EvidenceState.fresh(ERRORS), Tick(at=1, stable=None, candidate=None), limit=1.0)


def test_all_metrics_are_judged_at_once_and_a_changed_definition_begins_afresh() -> None:
    metrics: list[Metric] = [ERRORS, SLO, SLOWER]
    first = judge_all(metrics, {}, Tick(at=1, stable=arm(times=9), candidate=arm()), false_alarms_per_rollout=0.05)
    assert set(first.judgements) == {"errors", "slo", "slower"}
    changed: list[Metric] = [dataclasses.replace(ERRORS, tolerate_ratio=2.0), SLO, SLOWER]
    second = judge_all(
        changed, first.states, Tick(at=2, stable=arm(times=9), candidate=arm()), false_alarms_per_rollout=0.05
    )
    assert second.states["errors"].ticks == 1
    assert second.states["slo"].ticks == 2
