"""The rollout: its table, and each rule of moving forward and taking back."""

import itertools
from dataclasses import replace
from typing import Any, Literal

import pytest

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.phases import TRANSITIONS, Phase, Trigger
from penstock_operator.core.rollout import advance
from penstock_operator.core.rollout_moves import (
    HISTORY_LIMIT,
    REJECTED_LIMIT,
    Decision,
    complete,
    enter_step,
    pause,
    position,
    resume,
    take_back,
)
from penstock_operator.core.rollout_state import Candidate, Rejected, Rollout
from penstock_operator.core.tactics import Tactics, Undecided
from penstock_operator.core.world import Finding, RevisionState, Wanted, World

NOW = 1_000.0
NAME = "candidate"
A, B, C = "fraud-aaaaaaaa", "fraud-bbbbbbbb", "fraud-cccccccc"
READY = RevisionState(ready=2, wanted=2)
LOADING = RevisionState(ready=0, wanted=2)
UP = {A: READY, B: READY, C: READY}

LEGAL = {
    (Phase.IDLE, Trigger.NEW_CANDIDATE): Phase.WAITING,
    (Phase.IDLE, Trigger.STABLE_LOST): Phase.IDLE,
    (Phase.PROMOTED, Trigger.NEW_CANDIDATE): Phase.WAITING,
    (Phase.PROMOTED, Trigger.STABLE_LOST): Phase.IDLE,
    (Phase.ROLLED_BACK, Trigger.NEW_CANDIDATE): Phase.WAITING,
    (Phase.ROLLED_BACK, Trigger.STABLE_LOST): Phase.IDLE,
    (Phase.ROLLED_BACK, Trigger.WITHDRAWN): Phase.IDLE,
    (Phase.ROLLED_BACK, Trigger.RETRY): Phase.IDLE,
    (Phase.WAITING, Trigger.NEW_CANDIDATE): Phase.WAITING,
    (Phase.WAITING, Trigger.STABLE_LOST): Phase.IDLE,
    (Phase.WAITING, Trigger.WITHDRAWN): Phase.IDLE,
    (Phase.WAITING, Trigger.CANDIDATE_READY): Phase.PROGRESSING,
    (Phase.WAITING, Trigger.CANDIDATE_FAILED): Phase.FAILED,
    (Phase.WAITING, Trigger.TAKEN_BACK): Phase.ROLLED_BACK,
    (Phase.FAILED, Trigger.NEW_CANDIDATE): Phase.WAITING,
    (Phase.FAILED, Trigger.STABLE_LOST): Phase.IDLE,
    (Phase.FAILED, Trigger.WITHDRAWN): Phase.IDLE,
    (Phase.FAILED, Trigger.CANDIDATE_READY): Phase.PROGRESSING,
    (Phase.FAILED, Trigger.CANDIDATE_UNREADY): Phase.WAITING,
    (Phase.FAILED, Trigger.CANDIDATE_FAILED): Phase.FAILED,
    (Phase.FAILED, Trigger.TAKEN_BACK): Phase.ROLLED_BACK,
    (Phase.PROGRESSING, Trigger.NEW_CANDIDATE): Phase.WAITING,
    (Phase.PROGRESSING, Trigger.STABLE_LOST): Phase.IDLE,
    (Phase.PROGRESSING, Trigger.WITHDRAWN): Phase.IDLE,
    (Phase.PROGRESSING, Trigger.CANDIDATE_UNREADY): Phase.WAITING,
    (Phase.PROGRESSING, Trigger.PAUSE): Phase.PAUSED,
    (Phase.PROGRESSING, Trigger.COMPLETED): Phase.PROMOTED,
    (Phase.PROGRESSING, Trigger.TAKEN_BACK): Phase.ROLLED_BACK,
    (Phase.PAUSED, Trigger.NEW_CANDIDATE): Phase.WAITING,
    (Phase.PAUSED, Trigger.STABLE_LOST): Phase.IDLE,
    (Phase.PAUSED, Trigger.WITHDRAWN): Phase.IDLE,
    (Phase.PAUSED, Trigger.CANDIDATE_UNREADY): Phase.WAITING,
    (Phase.PAUSED, Trigger.RESUME): Phase.PROGRESSING,
    (Phase.PAUSED, Trigger.COMPLETED): Phase.PROMOTED,
    (Phase.PAUSED, Trigger.TAKEN_BACK): Phase.ROLLED_BACK,
    (Phase.PROMOTED, Trigger.TAKEN_BACK): Phase.ROLLED_BACK,
    (Phase.PROMOTED, Trigger.WITHDRAWN): Phase.IDLE,
    (Phase.IDLE, Trigger.RETURN): Phase.RETURNING,
    (Phase.PROMOTED, Trigger.RETURN): Phase.RETURNING,
    (Phase.ROLLED_BACK, Trigger.RETURN): Phase.RETURNING,
    (Phase.RETURNING, Trigger.RETURN): Phase.RETURNING,
    (Phase.RETURNING, Trigger.RETURNED): Phase.ROLLED_BACK,
    (Phase.RETURNING, Trigger.WITHDRAWN): Phase.IDLE,
    (Phase.RETURNING, Trigger.STABLE_LOST): Phase.IDLE,
}


@pytest.mark.parametrize(
    ("phase", "trigger"), list(itertools.product(Phase, Trigger)), ids=lambda value: str(value.value)
)
def test_each_pair_of_phase_and_trigger_is_in_the_table_or_cannot_happen(phase: Phase, trigger: Trigger) -> None:
    assert TRANSITIONS.get((phase, trigger)) == LEGAL.get((phase, trigger))


def look(rollout: Rollout, steps: tuple[Step, ...], world: World, undecided: Undecided | None = None) -> Decision:
    return advance(rollout, Tactics(steps=steps, undecided=undecided), world)


def one(rollout: Rollout) -> Candidate:
    [candidate] = rollout.candidates
    return candidate


def steps(*wire: dict[str, Any]) -> tuple[Step, ...]:
    return tuple(Step.parse(step) for step in wire)


CANARY = steps({"weight": 5, "hold": "2m"}, {"weight": 25, "hold": "5m", "require": "Pass"}, {"weight": 100})
GATED = steps({"weight": 5}, {"pause": {}}, {"weight": 100})


def rollout(phase: Phase = Phase.PROGRESSING, **candidate: Any) -> Rollout:
    settings = {"revision": B, "started_at": NOW - 60, "step": 0, "weight": 5, "step_started_at": NOW - 30, **candidate}
    return Rollout(stable=A, candidates=(Candidate(phase=phase, **settings),))


def world(**changes: Any) -> World:
    settings: dict[str, Any] = {
        "now": NOW,
        "deployment_stable": A,
        "revisions": UP,
        "acknowledged": {A: 95, B: 5},
        "warm": frozenset({A, B, C}),
        **changes,
    }
    settings["wanted"] = (Wanted(name="candidate", revision=settings.pop("latest", B)),)
    found = settings.pop("findings", None)
    return World(**settings, findings={} if found is None else {B: found})


def finding(verdict: Verdict, **changes: Any) -> Finding:
    settings: dict[str, Any] = {
        "policy": "guard",
        "metric": "errors",
        "verdict": verdict,
        "message": "3.1% of 1240 against 0.4% of 11160",
        "rolls_back": True,
        "needs_stable": True,
        **changes,
    }
    return Finding(**settings)


def reasons(decision: Decision) -> list[str]:
    return [event.reason for event in decision.events]


# --- the beginning ---


def test_without_a_ready_revision_there_is_nothing_to_do() -> None:
    decision = look(Rollout(), CANARY, world(deployment_stable=None, latest=A))

    assert decision.rollout == Rollout()
    assert decision.rollout.weights == {}
    assert decision.holding == "no revision is ready yet"


def test_the_first_stable_revision_is_that_of_the_model_deployment() -> None:
    decision = look(Rollout(), CANARY, world(latest=A))

    assert decision.rollout == Rollout(stable=A)
    assert decision.rollout.weights == {A: 100}


def test_a_new_revision_becomes_the_candidate_without_traffic() -> None:
    decision = look(Rollout(stable=A), CANARY, world(acknowledged={A: 100}, warm=frozenset({A})))

    assert decision.rollout.phase is Phase.WAITING
    assert decision.rollout.weights == {A: 100, B: 0}
    assert reasons(decision) == ["RolloutStarted"]
    assert decision.holding == f"the routers are resolving {B}"


def test_a_model_deployment_that_says_nothing_yet_takes_no_candidate_away() -> None:
    decision = look(rollout(), CANARY, world(latest=None, deployment_stable=None, revisions={}))

    assert decision.rollout.history == ()


# --- waiting ---


@pytest.mark.parametrize(
    ("state", "warm", "words"),
    [
        (LOADING, {A, B}, "0 of 2 pods"),
        (RevisionState(ready=1, wanted=2), {A, B}, "1 of 2 pods"),
        (RevisionState(ready=0, wanted=0), {A, B}, "0 of 0 pods"),
        (READY, {A}, "the routers are resolving"),
    ],
    ids=["no pod is ready", "one pod is missing", "nobody wants pods", "the routers have not found it"],
)
def test_a_candidate_waits_until_all_pods_are_ready_and_every_router_knows_them(
    state: RevisionState, warm: set[str], words: str
) -> None:
    waiting = rollout(Phase.WAITING, weight=0, step_started_at=None)
    decision = look(waiting, CANARY, world(revisions={A: READY, B: state}, warm=frozenset(warm)))

    assert decision.rollout == waiting
    assert words in decision.holding


def test_a_candidate_that_is_ready_and_warm_gets_the_first_weight() -> None:
    decision = look(rollout(Phase.WAITING, weight=0, step_started_at=None), CANARY, world())

    assert decision.rollout.phase is Phase.PROGRESSING
    assert decision.rollout.weights == {A: 95, B: 5}


def test_a_candidate_that_cannot_load_fails_once_and_gets_no_traffic() -> None:
    broken = world(revisions={A: READY, B: RevisionState(ready=0, wanted=2, failure="NotOnnx: no model")})
    first = look(rollout(Phase.WAITING, weight=0, step_started_at=None), CANARY, broken)
    second = look(first.rollout, CANARY, broken)

    assert first.rollout.phase is Phase.FAILED
    assert first.rollout.weights == {A: 100, B: 0}
    assert reasons(first) == ["CandidateFailed"]
    assert "NotOnnx: no model" in first.holding
    assert second.rollout == first.rollout
    assert second.events == ()


def test_a_failed_candidate_that_is_cured_waits_again_and_then_goes_on() -> None:
    failed = rollout(Phase.FAILED, weight=0, step_started_at=None)
    loading = look(failed, CANARY, world(revisions={A: READY, B: RevisionState(ready=1, wanted=2)}))
    cold = look(failed, CANARY, world(warm=frozenset({A})))

    assert loading.rollout.phase is Phase.WAITING
    assert cold.rollout.phase is Phase.WAITING
    assert look(cold.rollout, CANARY, world()).rollout.phase is Phase.PROGRESSING


def test_a_schedule_that_begins_with_a_pause_waits_for_a_person_at_no_traffic() -> None:
    gate_first = steps({"pause": {}}, {"weight": 100})
    decision = look(rollout(Phase.WAITING, weight=0, step_started_at=None), gate_first, world())

    assert decision.rollout.phase is Phase.PAUSED
    assert decision.rollout.weights == {A: 100, B: 0}


# --- progress ---


def test_a_step_begins_when_every_router_has_acknowledged_its_weight() -> None:
    fresh = rollout(step_started_at=None)
    before = look(fresh, CANARY, world(acknowledged={A: 100, B: 0}))
    after = look(fresh, CANARY, world())

    assert before.rollout == fresh
    assert before.holding == "waiting until every router acknowledges 5%"
    assert one(after.rollout).step_started_at == NOW
    assert after.holding == "at 5% until 1970-01-01T00:18:40.000Z"


def test_a_step_is_held_to_its_end_and_then_left() -> None:
    held = rollout(step_started_at=NOW - 119.9)
    over = rollout(step_started_at=NOW - 120)

    assert look(held, CANARY, world()).rollout == held
    moved = look(over, CANARY, world())
    assert moved.rollout.weights == {A: 75, B: 25}
    assert one(moved.rollout).step_started_at is None
    assert reasons(moved) == ["WeightRaised"]


@pytest.mark.parametrize("acknowledged", [{}, {A: 100}, {A: 94, B: 6}, {A: 95, C: 5}], ids=str)
def test_without_the_acknowledgement_of_just_this_weight_nothing_moves(acknowledged: dict[str, int]) -> None:
    over = rollout(step_started_at=NOW - 1000)
    decision = look(over, CANARY, world(acknowledged=acknowledged))

    assert decision.rollout == over
    assert "acknowledges" in decision.holding


def test_revisions_without_traffic_do_not_matter_in_an_acknowledgement() -> None:
    over = rollout(step_started_at=NOW - 1000)
    decision = look(over, CANARY, world(acknowledged={A: 95, B: 5, C: 0}))

    assert decision.rollout.weights == {A: 75, B: 25}


def test_the_last_step_makes_the_candidate_stable() -> None:
    last = rollout(step=2, weight=100)
    decision = look(last, CANARY, world(acknowledged={B: 100}))

    assert decision.rollout.phase is Phase.PROMOTED
    assert decision.rollout.stable == B
    assert decision.rollout.candidates == ()
    assert decision.rollout.weights == {B: 100}
    [entry] = decision.rollout.history
    assert (entry.revision, entry.outcome, entry.by, entry.finished_at) == (B, "Promoted", "schedule", NOW)
    assert reasons(decision) == ["Promoted"]


def test_a_pause_step_keeps_the_weight_until_a_person_goes_on() -> None:
    decision = look(rollout(), GATED, world())

    assert decision.rollout.phase is Phase.PAUSED
    assert decision.rollout.weights == {A: 95, B: 5}
    again = look(decision.rollout, GATED, world(now=NOW + 1e6))
    assert again.rollout.phase is Phase.PAUSED
    assert again.holding == "paused at a pause step; go on with `kubectl penstock promote`"


def test_the_time_of_a_paused_step_is_known_too_so_that_it_is_judged() -> None:
    paused = rollout(Phase.PAUSED, step=1, step_started_at=None)

    decided = one(look(paused, GATED, world()).rollout)

    assert decided.step_started_at == NOW


def test_a_person_may_hold_a_rollout_at_its_weight_and_let_it_go_on() -> None:
    held = pause(rollout(), NAME, by="ada")
    decision = look(held, CANARY, world(now=NOW + 1e6))

    assert decision.rollout == held
    assert decision.holding == "paused by ada; resume with `kubectl penstock resume`"
    assert resume(held, NAME) == rollout()


# --- verdicts ---


OVER = rollout(step_started_at=NOW - 1000)
STRICT = rollout(step=1, weight=25, step_started_at=NOW - 1000)


@pytest.mark.parametrize(
    ("verdict", "at_plain_step", "at_strict_step"),
    [
        (Verdict.PASS, True, True),
        (Verdict.UNDECIDED, True, False),
        (Verdict.NO_DATA, False, False),
        (Verdict.ERROR, False, False),
    ],
)
def test_which_verdicts_let_a_step_go_on(*, verdict: Verdict, at_plain_step: bool, at_strict_step: bool) -> None:
    found = {"judged": True, "findings": (finding(Verdict.PASS), finding(verdict, metric="slow"))}
    plain = look(OVER, CANARY, world(**found))
    strict = look(STRICT, CANARY, world(**found, acknowledged={A: 75, B: 25}))

    assert (plain.rollout != OVER) is at_plain_step
    assert (strict.rollout != STRICT) is at_strict_step
    if not at_strict_step:
        assert strict.holding.startswith(f"guard/slow is {verdict.value}: 3.1%")


def test_where_policies_are_asked_but_nothing_was_judged_nothing_moves() -> None:
    decision = look(OVER, CANARY, world(judged=True, findings=None))

    assert decision.rollout == OVER
    assert decision.holding == "nothing judged yet"


def test_a_breach_takes_all_traffic_back_in_the_same_decision() -> None:
    bad = finding(Verdict.FAIL)
    decision = look(STRICT, CANARY, world(judged=True, findings=(finding(Verdict.PASS, metric="slow"), bad)))

    assert decision.rollout.phase is Phase.ROLLED_BACK
    assert decision.rollout.weights == {A: 100}
    assert decision.rollout.is_rejected(B)
    assert decision.rollout.rejected[0].by == "guard/errors"
    assert decision.rollout.history[0].outcome == "RolledBack"
    [event] = decision.events
    assert event.type == "Warning"
    assert event.message == f"{B} taken back at 25% by guard/errors: {bad.message}"


def test_a_breach_takes_back_a_paused_candidate_too() -> None:
    paused = rollout(Phase.PAUSED, step=1)
    decision = look(paused, GATED, world(judged=True, findings=(finding(Verdict.FAIL),)))

    assert decision.rollout.phase is Phase.ROLLED_BACK


def test_a_breach_that_shall_only_alert_holds() -> None:
    alerts = finding(Verdict.FAIL, rolls_back=False)
    decision = look(OVER, CANARY, world(judged=True, findings=(alerts,)))

    assert decision.rollout == OVER
    assert decision.holding.startswith("guard/errors is Fail")


def test_a_breach_says_nothing_about_a_candidate_that_has_no_traffic() -> None:
    waiting = rollout(Phase.WAITING, weight=0, step_started_at=None)
    decision = look(waiting, CANARY, world(judged=True, findings=(finding(Verdict.FAIL),)))

    assert decision.rollout.phase is Phase.PROGRESSING


def test_at_full_weight_nobody_is_left_to_compare_with_and_limits_still_count() -> None:
    full = rollout(step=2, weight=100)
    lonely = finding(Verdict.NO_DATA, needs_stable=True)
    limit = finding(Verdict.NO_DATA, needs_stable=False, metric="slo")
    acknowledged = {B: 100}

    alone = look(full, CANARY, world(judged=True, findings=(lonely,), acknowledged=acknowledged))
    limited = look(full, CANARY, world(judged=True, findings=(lonely, limit), acknowledged=acknowledged))

    assert alone.rollout.phase is Phase.PROMOTED
    assert limited.rollout == full


# --- readiness lost ---


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.PAUSED])
def test_a_candidate_without_a_ready_pod_loses_its_traffic_at_once(phase: Phase) -> None:
    decision = look(rollout(phase), CANARY, world(revisions={A: READY, B: LOADING}))

    assert decision.rollout.phase is Phase.WAITING
    assert decision.rollout.weights == {A: 100, B: 0}
    assert reasons(decision) == ["CandidateUnready"]


def test_a_candidate_that_the_model_deployment_does_not_know_any_more_loses_its_traffic() -> None:
    assert look(rollout(), CANARY, world(revisions={A: READY})).rollout.weights == {A: 100, B: 0}


def test_a_candidate_that_comes_back_goes_on_at_its_step() -> None:
    lost = look(STRICT, CANARY, world(revisions={A: READY, B: LOADING})).rollout
    back = look(lost, CANARY, world())

    assert back.rollout.weights == {A: 75, B: 25}
    assert one(back.rollout).step == 1


def test_a_candidate_that_comes_back_to_a_pause_has_the_weight_of_the_step_before() -> None:
    lost = look(rollout(Phase.PAUSED, step=1), GATED, world(revisions={A: READY, B: LOADING})).rollout
    back = look(lost, GATED, world())

    assert back.rollout.phase is Phase.PAUSED
    assert back.rollout.weights == {A: 95, B: 5}


def test_a_candidate_that_a_person_paused_comes_back_paused() -> None:
    lost = look(pause(rollout(), NAME, by="ada"), CANARY, world(revisions={A: READY, B: LOADING})).rollout
    back = look(lost, CANARY, world())

    assert back.rollout.phase is Phase.PAUSED
    assert one(back.rollout).paused_by == "ada"


# --- the spec changes ---


def test_the_spec_of_stable_withdraws_the_candidate_at_once() -> None:
    decision = look(STRICT, CANARY, world(latest=A))

    assert decision.rollout.phase is Phase.IDLE
    assert decision.rollout.weights == {A: 100}
    assert decision.rollout.history[0].outcome == "Withdrawn"
    assert not decision.rollout.is_rejected(B)
    assert reasons(decision) == ["Withdrawn"]


def test_a_third_spec_drops_the_second_and_starts_against_stable() -> None:
    decision = look(STRICT, CANARY, world(latest=C, warm=frozenset({A})))

    assert decision.rollout.phase is Phase.WAITING
    assert decision.rollout.weights == {A: 100, C: 0}
    assert decision.rollout.history[0].outcome == "Superseded"
    assert reasons(decision) == ["Superseded", "RolloutStarted"]


def test_findings_about_the_second_do_not_take_back_the_third() -> None:
    decision = look(STRICT, CANARY, world(latest=C, judged=True, findings=(finding(Verdict.FAIL),)))

    assert not decision.rollout.is_rejected(C)
    assert one(decision.rollout).revision == C


def taken() -> Rollout:
    return take_back(STRICT, NAME, by="guard/errors", reason="PolicyBreached", message="bad", now=NOW).rollout


def test_a_rejected_revision_is_no_candidate_again() -> None:
    decision = look(taken(), CANARY, world())

    assert decision.rollout == taken()
    assert decision.events == ()


def test_a_rejected_spec_that_was_changed_back_leaves_nothing_to_complain_about() -> None:
    decision = look(taken(), CANARY, world(latest=A))

    assert decision.rollout.phase is Phase.IDLE
    assert decision.rollout.is_rejected(B)


def test_after_a_rollback_another_revision_may_try() -> None:
    decision = look(taken(), CANARY, world(latest=C, warm=frozenset({A})))

    assert decision.rollout.phase is Phase.WAITING
    assert decision.rollout.is_rejected(B)


def test_a_stable_revision_that_exists_no_more_makes_room_for_the_one_that_serves() -> None:
    decision = look(rollout(), CANARY, world(revisions={C: READY}, deployment_stable=C, latest=C))

    assert decision.rollout.phase is Phase.IDLE
    assert decision.rollout.weights == {C: 100}
    assert decision.rollout.history[0].outcome == "Superseded"
    assert reasons(decision) == ["StableLost"]


def test_a_stable_revision_that_is_only_not_listed_yet_stays() -> None:
    assert look(rollout(), CANARY, world(revisions={}, deployment_stable=None)).rollout.stable == A


# --- the steps change under way ---


@pytest.mark.parametrize(
    ("at", "weight", "edited", "expected"),
    [
        (1, 25, CANARY, 1),
        (2, 50, steps({"weight": 5}, {"weight": 100}), 0),
        (1, 25, steps({"weight": 5}, {"weight": 100}), 0),
        (2, 100, steps({"weight": 100}), 0),
        (0, 5, steps({"weight": 10}, {"weight": 100}), -1),
        (1, 5, GATED, 1),
        (1, 50, steps({"weight": 5}, {"weight": 40}, {"pause": {}}, {"weight": 100}), 1),
    ],
    ids=[
        "nothing changed",
        "the step is gone",
        "the last step comes earlier",
        "only the last is left",
        "even the first weight is higher",
        "a pause",
        "weights are lower",
    ],
)
def test_where_a_candidate_is_after_the_steps_were_changed(
    at: int, weight: int, edited: tuple[Step, ...], expected: int
) -> None:
    assert position(Candidate(revision=B, started_at=NOW, step=at, weight=weight), edited) == expected


def test_a_shorter_schedule_does_not_make_stable_what_never_had_all_traffic() -> None:
    halfway = rollout(step=2, weight=50, step_started_at=NOW - 1000)
    short = steps({"weight": 5}, {"weight": 100})
    decision = look(halfway, short, world(acknowledged={A: 50, B: 50}))

    assert decision.rollout.stable == A
    assert decision.rollout.weights == {A: 0, B: 100}


def test_a_schedule_of_which_only_the_end_is_left_is_gone_through_to_the_end() -> None:
    decision = look(OVER, steps({"weight": 100}), world())

    assert decision.rollout.stable == A
    assert decision.rollout.weights == {A: 0, B: 100}


def test_a_candidate_that_comes_back_to_a_shorter_schedule_starts_it_from_the_beginning() -> None:
    lost = rollout(Phase.WAITING, step=2, weight=0, step_started_at=None)

    assert look(lost, steps({"weight": 5}, {"weight": 100}), world()).rollout.weights == {A: 95, B: 5}


# --- bounds ---


def test_history_and_rejections_are_bounded_and_newest_first() -> None:
    state = Rollout(stable=A)
    for number in range(30):
        begun = replace(
            state,
            candidates=(Candidate(revision=f"fraud-{number:08d}", started_at=NOW, phase=Phase.PROGRESSING, weight=5),),
        )
        state = take_back(begun, NAME, by="ada", reason="Aborted", message="no", now=NOW + number).rollout

    assert len(state.history) == HISTORY_LIMIT
    assert len(state.rejected) == REJECTED_LIMIT
    assert state.history[0].revision == state.rejected[0].revision == "fraud-00000029"


def test_a_revision_that_is_taken_back_twice_is_listed_once() -> None:
    old = Rejected(revision=B, at=1.0, by="x", reason="Aborted", message="old")
    again = take_back(replace(STRICT, rejected=(old,)), NAME, by="ada", reason="Aborted", message="new", now=NOW)

    assert [entry.message for entry in again.rollout.rejected] == ["ada: new"]


@pytest.mark.parametrize("call", [
    lambda idle: take_back(idle, NAME, by="ada", reason="Aborted", message="", now=NOW),
    lambda idle: complete(idle, NAME, by="ada", message="", now=NOW),
    lambda idle: enter_step(idle, NAME, CANARY, 0),
    lambda idle: pause(idle, NAME, by="ada"),
    lambda idle: resume(idle, NAME),
])  # fmt: skip
def test_what_needs_a_candidate_refuses_to_act_without_one(call: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        call(Rollout(stable=A))


REQUIRING = steps({"weight": 5, "require": "Pass"}, {"weight": 100})


def held(verdict: Verdict, then: Literal["Hold", "Promote", "Rollback"], *, after: float = 50.0) -> Decision:
    """Return what becomes of a rollout of 60 s that verdicts hold, where they may do so for ``after`` seconds."""
    undecided = Undecided(after_seconds=after, then=then)
    found = (finding(verdict, rolls_back=False),)
    return look(rollout(), REQUIRING, world(judged=True, findings=found), undecided)


def test_until_its_time_is_up_an_undecided_rollout_holds_and_says_what_follows() -> None:
    decision = held(Verdict.UNDECIDED, "Rollback", after=100.0)
    assert decision.rollout == rollout()
    assert "guard/errors is Undecided" in decision.holding
    assert "; Rollback at 1970-01-01T00:17:20.000Z" in decision.holding


@pytest.mark.parametrize("verdict", [Verdict.UNDECIDED, Verdict.NO_DATA, Verdict.ERROR, Verdict.FAIL])
def test_an_undecided_rollout_is_taken_back_when_its_time_is_up(verdict: Verdict) -> None:
    decision = held(verdict, "Rollback")
    assert decision.rollout.phase is Phase.ROLLED_BACK
    assert decision.rollout.candidates == ()
    assert decision.rollout.rejected[0].reason == "Undecided"
    assert f"not decided within maxDuration: guard/errors is {verdict.value}" in decision.rollout.history[0].message


def test_an_undecided_rollout_is_promoted_when_its_time_is_up() -> None:
    decision = held(Verdict.UNDECIDED, "Promote")
    assert (decision.rollout.phase, decision.rollout.stable) == (Phase.PROMOTED, B)
    assert decision.rollout.history[0].by == "maxDuration"


@pytest.mark.parametrize("verdict", [Verdict.NO_DATA, Verdict.ERROR, Verdict.FAIL])
def test_what_lacks_data_or_fails_is_never_promoted_by_the_clock(verdict: Verdict) -> None:
    decision = held(verdict, "Promote")
    assert decision.rollout == rollout()
    assert "decide with `kubectl penstock promote --full` or `abort`" in decision.holding


def test_a_rollout_that_may_hold_on_asks_for_a_person_when_its_time_is_up() -> None:
    decision = held(Verdict.UNDECIDED, "Hold")
    assert decision.rollout == rollout()
    assert decision.holding.startswith("not decided within maxDuration: guard/errors is Undecided")


def test_a_rollout_that_nothing_holds_goes_on_after_its_time_as_before() -> None:
    decision = held(Verdict.PASS, "Rollback")
    assert one(decision.rollout).step == 1


def test_a_pause_outlasts_the_time() -> None:
    paused = pause(rollout(), NAME, by="ann")
    undecided = Undecided(after_seconds=1.0, then="Rollback")
    found = (finding(Verdict.UNDECIDED, rolls_back=False),)
    decision = look(paused, REQUIRING, world(judged=True, findings=found), undecided)
    assert decision.rollout.phase is Phase.PAUSED


# --- a weight of its own, and previews ---


OWN = Tactics(steps=steps({"weight": 0}), own={NAME: steps({"weight": 20})}, open_ended=True)


def test_a_weight_that_is_edited_under_way_is_taken_over() -> None:
    assert advance(rollout(weight=5), OWN, world()).rollout.weights == {A: 80, B: 20}
    assert advance(rollout(weight=50), OWN, world()).rollout.weights == {A: 80, B: 20}


def test_in_a_freeze_an_edited_weight_may_fall_and_not_rise() -> None:
    frozen = world(frozen="frozen until Monday")

    assert advance(rollout(weight=5), OWN, frozen).rollout.weights == {A: 95, B: 5}
    assert advance(rollout(weight=50), OWN, frozen).rollout.weights == {A: 80, B: 20}


def test_a_freeze_holds_the_first_weight_the_next_one_and_the_promotion() -> None:
    frozen = {"frozen": "frozen until Monday"}
    waiting = look(rollout(Phase.WAITING, weight=0, step_started_at=None), CANARY, world(**frozen))
    assert waiting.rollout.weights == {A: 100, B: 0}
    assert waiting.holding == f"{B} is ready; frozen until Monday"
    assert look(OVER, CANARY, world(**frozen)).rollout == OVER
    full = rollout(step=2, weight=100)
    assert look(full, CANARY, world(**frozen, acknowledged={B: 100})).rollout == full


def test_a_freeze_never_holds_a_rollback() -> None:
    frozen = world(frozen="frozen until Monday", judged=True, findings=(finding(Verdict.FAIL),))

    assert look(STRICT, CANARY, frozen).rollout.weights == {A: 100}


def test_requests_that_go_elsewhere_hold_the_step() -> None:
    decision = look(OVER, CANARY, world(mismatch="B should have 5% and has 40%"))

    assert decision.rollout == OVER
    assert decision.holding == "B should have 5% and has 40%"


PREVIEW = steps({"weight": 0, "hold": "10s"}, {"weight": 100})


def preview(**changes: Any) -> Rollout:
    return rollout(weight=0, step_started_at=NOW - 60, **changes)


def test_a_preview_goes_over_at_once_only_while_routers_find_it() -> None:
    settled = {"acknowledged": {A: 100}}
    cold = look(preview(), PREVIEW, world(**settled, warm=frozenset({A})))
    assert cold.rollout == preview()
    assert f"the routers are resolving {B}" in cold.holding

    assert look(preview(), PREVIEW, world(**settled)).rollout.weights == {A: 0, B: 100}


@pytest.mark.parametrize("found", [None, (finding(Verdict.NO_DATA),)], ids=["nothing judged", "no data"])
def test_a_preview_that_gets_no_request_is_not_asked_for_a_verdict_unless_the_step_asks(found: Any) -> None:
    seen = world(acknowledged={A: 100}, judged=True, findings=found)
    strict = steps({"weight": 0, "require": "Pass"}, {"weight": 100})

    assert look(preview(), PREVIEW, seen).rollout.weights == {A: 0, B: 100}
    assert look(preview(), strict, seen).rollout == preview()
    matched = Tactics(steps=PREVIEW, match_reaches=frozenset({NAME}))
    assert advance(preview(), matched, seen).rollout == preview(), "it gets requests, so they must be seen"


def test_a_preview_that_fails_for_those_who_see_it_is_taken_back() -> None:
    seen = world(acknowledged={A: 100}, judged=True, findings=(finding(Verdict.FAIL),))

    assert look(preview(), PREVIEW, seen).rollout.is_rejected(B)


@pytest.mark.parametrize("late", [True, False], ids=["too late", "in time"])
def test_a_candidate_has_failed_when_its_deadline_is_over(*, late: bool) -> None:
    waiting = rollout(Phase.WAITING, weight=0, step_started_at=None, waiting_since=NOW - 30)
    tactics = Tactics(steps=CANARY, progress_deadline_seconds=30.0 if late else 31.0)
    decision = advance(waiting, tactics, world(revisions={A: READY, B: LOADING}))

    assert decision.rollout.phase is (Phase.FAILED if late else Phase.WAITING)
    if late:
        assert decision.holding == f"{B} was not ready within 30s (progressDeadline): 0 of 2 pods are"


def test_what_is_ready_after_its_deadline_waits_for_the_routers_only() -> None:
    failed = rollout(Phase.FAILED, weight=0, step_started_at=None, waiting_since=NOW - 90)
    tactics = Tactics(steps=CANARY, progress_deadline_seconds=30.0)
    cold = advance(failed, tactics, world(warm=frozenset({A})))

    assert cold.rollout.phase is Phase.WAITING
    assert advance(cold.rollout, tactics, world()).rollout.weights == {A: 95, B: 5}
