"""The way back after a promotion: by a policy, by spec, by a person, and what is in its way."""

from dataclasses import replace
from typing import Any

import pytest

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.phases import Phase
from penstock_operator.core.rollout import advance
from penstock_operator.core.rollout_moves import Decision, complete
from penstock_operator.core.rollout_return import before_last_promotion, go_back
from penstock_operator.core.rollout_state import Candidate, Rollout, Watch
from penstock_operator.core.tactics import Tactics
from penstock_operator.core.world import Finding, RevisionState, Wanted, World

NOW = 1_000.0
OLD, NEW, NEXT = "fraud-aaaaaaaa", "fraud-bbbbbbbb", "fraud-cccccccc"
UP = RevisionState(ready=2, wanted=2)
HALF = RevisionState(ready=1, wanted=2)
DOWN = RevisionState(ready=0, wanted=2)
WATCHED = Tactics(steps=(Step(weight=50), Step(weight=100)), watch_seconds=60.0)
BREACH = Finding(
    policy="guard", metric="errors", verdict=Verdict.FAIL, message="3%", rolls_back=True, needs_stable=False
)


def promoted() -> Rollout:
    """Return a rollout right after a promotion, with the old revision watched over."""
    last = Candidate(revision=NEW, started_at=NOW - 100, phase=Phase.PROGRESSING, step=1, weight=100)
    begun = Rollout(stable=OLD, candidates=(last,))
    return complete(begun, "candidate", by="schedule", message="done", now=NOW - 10, watched=True).rollout


def world(**changes: Any) -> World:
    settings: dict[str, Any] = {
        "now": NOW,
        "wanted": (Wanted(name="candidate", revision=NEW),),
        "deployment_stable": NEW,
        "revisions": dict.fromkeys((OLD, NEW, NEXT), UP),
        "acknowledged": {NEW: 100},
        "warm": frozenset({OLD, NEW}),
        **changes,
    }
    return World(**settings)


def look(rollout: Rollout, **changes: Any) -> Decision:
    return advance(rollout, WATCHED, world(**changes))


def reasons(decision: Decision) -> list[str]:
    return [event.reason for event in decision.events]


def test_a_promotion_keeps_the_old_revision_warm_for_the_watch() -> None:
    rollout = promoted()

    assert rollout.watch == Watch(revision=OLD, started_at=NOW - 10)
    assert rollout.weights == {OLD: 0, NEW: 100}
    assert look(rollout).rollout == rollout
    over = look(rollout, now=NOW + 50)
    assert over.rollout.weights == {NEW: 100}
    assert reasons(over) == ["WatchEnded"]


def test_a_watch_that_spec_asks_for_no_more_is_over() -> None:
    decision = advance(promoted(), replace(WATCHED, watch_seconds=0.0), world())

    assert decision.rollout.watch is None


@pytest.mark.parametrize("old", [UP, HALF], ids=["all pods are ready", "one pod is ready"])
def test_a_breach_returns_at_once_to_whatever_answers(old: RevisionState) -> None:
    decision = look(promoted(), findings={NEW: (BREACH,)}, revisions={OLD: old, NEW: UP})

    assert (decision.rollout.phase, decision.rollout.weights) == (Phase.ROLLED_BACK, {OLD: 100})
    assert decision.rollout.rejected[0].reason == "PolicyBreached"
    assert [entry.outcome for entry in decision.rollout.history] == ["RolledBack", "Promoted"]
    assert reasons(decision) == ["RolledBack"]


def test_a_breach_while_the_old_revision_has_no_pod_returns_when_it_has_one() -> None:
    waiting = look(promoted(), findings={NEW: (BREACH,)}, revisions={OLD: DOWN, NEW: UP})
    assert waiting.rollout.phase is Phase.RETURNING
    assert waiting.rollout.weights == {OLD: 0, NEW: 100}
    assert "0 of 2" in waiting.holding

    there = look(waiting.rollout, revisions={OLD: HALF, NEW: UP})
    assert there.rollout.weights == {OLD: 100}


def test_a_failure_that_shall_only_alert_returns_nothing() -> None:
    alert = replace(BREACH, rolls_back=False)

    assert look(promoted(), findings={NEW: (alert,)}).rollout == promoted()


def test_a_spec_that_asks_for_the_old_revision_returns_without_blame_as_soon_as_it_answers() -> None:
    back = (Wanted(name="candidate", revision=OLD),)
    waiting = look(promoted(), wanted=back, revisions={OLD: DOWN, NEW: UP})
    assert waiting.rollout == promoted()
    assert waiting.holding == f"spec asks for {OLD} again; none of its pods is ready"

    there = look(waiting.rollout, wanted=back)
    assert (there.rollout.phase, there.rollout.weights) == (Phase.IDLE, {OLD: 100})
    assert there.rollout.rejected == ()
    assert there.rollout.history[0].outcome == "Withdrawn"


def test_a_new_candidate_ends_the_watch() -> None:
    decision = look(promoted(), wanted=(Wanted(name="candidate", revision=NEXT),))

    assert decision.rollout.watch is None
    assert decision.rollout.weights == {NEW: 100, NEXT: 0}


def test_an_old_revision_that_exists_no_more_is_watched_no_more() -> None:
    decision = look(promoted(), revisions={NEW: UP}, findings={NEW: (BREACH,)})

    assert decision.rollout.watch is None
    assert decision.rollout.stable == NEW


def asked(rollout: Rollout, revision: str = OLD) -> Rollout:
    return go_back(rollout, revision, by="ada", reason="RolledBack", message="no good", now=NOW)


def test_who_is_asked_back_by_a_person_comes_when_all_its_pods_are_ready_and_known() -> None:
    rollout = asked(replace(promoted(), watch=None))
    for early in ({"revisions": {OLD: HALF, NEW: UP}}, {"warm": frozenset({NEW})}):
        assert look(rollout, **early).rollout == rollout

    there = look(rollout)
    assert (there.rollout.phase, there.rollout.stable) == (Phase.ROLLED_BACK, OLD)
    assert there.rollout.is_rejected(NEW)
    assert there.rollout.history[0].by == "ada"


def test_who_is_asked_back_is_forgiven() -> None:
    rejecting = look(asked(promoted())).rollout
    assert rejecting.is_rejected(NEW)

    again = look(asked(rejecting, NEW), deployment_stable=OLD).rollout

    assert again.stable == NEW
    assert not again.is_rejected(NEW)


def test_who_is_asked_back_and_exists_no_more_is_given_up() -> None:
    decision = look(asked(promoted()), revisions={NEW: UP})

    assert (decision.rollout.phase, decision.rollout.stable) == (Phase.IDLE, NEW)
    assert reasons(decision) == ["ReturnFailed"]


def test_while_pods_of_an_old_revision_start_nobody_else_begins() -> None:
    going = asked(replace(promoted(), watch=None))
    decision = look(going, wanted=(Wanted(name="candidate", revision=NEXT),), revisions={OLD: DOWN, NEW: UP, NEXT: UP})

    assert decision.rollout == going


def test_the_revision_before_is_the_one_that_the_stable_one_replaced() -> None:
    assert before_last_promotion(promoted()) == OLD
    assert before_last_promotion(replace(promoted(), watch=None)) == OLD
    assert before_last_promotion(Rollout(stable=OLD)) is None
