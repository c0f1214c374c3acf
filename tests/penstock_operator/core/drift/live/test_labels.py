"""Labels of a candidate beside those of stable become one alarm of performance, and begin anew with another stable."""

from dataclasses import replace

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.drift.live import labels, versus
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.rightness import Demands, Rightness
from penstock_operator.core.drift.live.state import Watch, begin

LIMITS = Limits(kinds=frozenset(), window_rows=100, per_30_days=1.0, demands=Demands(drop_max=0.02))


def told(revision: str, right: int, wrong: int) -> Watch:
    counts = FeedbackCounts(matched=right + wrong, confusion={"1": {"1": right, "0": wrong}})
    return replace(begin(revision, 0.0), rightness=Rightness(since=0.0, total=counts))


def compared(looks: int, *, wrong: int = 6) -> Watch:
    watch = labels.compared(begin("fraud-2", 0.0), begin("fraud-1", 0.0), LIMITS)
    for look in range(1, looks + 1):
        now = told("fraud-2", (20 - wrong) * look, wrong * look)
        watch = replace(watch, rightness=now.rightness, looked_at=float(look))
        watch = labels.compared(watch, told("fraud-1", 95 * look, 5 * look), LIMITS)
    return watch


def test_a_candidate_that_is_less_often_right_has_an_alarm_that_stays_the_same_one() -> None:
    watch = compared(60)
    alarm = watch.open[versus.NAME]
    assert alarm.signal is SignalClass.PERFORMANCE
    assert alarm.message.startswith("accuracy 70% of ")
    assert alarm.since < 60
    assert alarm.window_id
    assert set(alarm.seen) == {"1"}


def test_a_candidate_that_is_as_often_right_has_none() -> None:
    watch = compared(60, wrong=1)
    assert watch.open == {}
    assert watch.versus is not None
    assert watch.versus.candidate.labels == 60 * 20


def test_against_another_stable_revision_the_evidence_begins_anew() -> None:
    watch = labels.compared(compared(5), told("fraud-3", 900, 100), LIMITS)
    assert watch.versus is not None
    assert (watch.versus.stable_revision, watch.versus.ticks) == ("fraud-3", 0)
    # What both had before is not of the same time.
    again = labels.compared(watch, told("fraud-3", 900, 100), LIMITS)
    assert again.versus == watch.versus


def test_nothing_is_compared_where_it_is_not_asked_for_or_there_is_no_stable() -> None:
    known = compared(5)
    assert labels.compared(known, None, LIMITS).versus is None
    assert labels.compared(known, told("fraud-1", 9, 1), replace(LIMITS, demands=None)).versus is None
