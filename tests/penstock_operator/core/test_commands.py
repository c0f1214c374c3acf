"""Commands of people: what each does in each phase, and what it answers where it does not fit."""

import json
from dataclasses import replace
from typing import Any

import pytest

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.commands import VERBS, Command, InvalidCommand, Outcome, carry_out, parse_command
from penstock_operator.core.phases import Phase
from penstock_operator.core.rollout_state import Candidate, Rejected, Returning, Rollout
from penstock_operator.core.tactics import Tactics
from penstock_operator.core.world import RevisionState, World

NOW = 1_000.0
A, B, C = "fraud-aaaaaaaa", "fraud-bbbbbbbb", "fraud-cccccccc"
STEPS = (
    Step.parse({"weight": 5}),
    Step.parse({"pause": {}}),
    Step.parse({"weight": 25}),
    Step.parse({"weight": 100}),
)
TACTICS = Tactics(steps=STEPS)
WORLD = World(
    now=NOW,
    wanted=(),
    deployment_stable=A,
    revisions=dict.fromkeys((A, B, C), RevisionState(ready=2, wanted=2)),
    acknowledged={},
    warm=frozenset(),
)


def rejected(revision: str = B) -> Rejected:
    return Rejected(revision=revision, at=1.0, by="guard/errors", reason="PolicyBreached", message="bad")


def state(phase: Phase, **candidate: Any) -> Rollout:
    settings: dict[str, Any] = {"revision": B, "started_at": 1.0, "step": 0, "weight": 5, **candidate}
    match phase:
        case Phase.IDLE | Phase.PROMOTED:
            return Rollout(rest=phase, stable=A)
        case Phase.RETURNING:
            going = Returning(revision=C, by="bob", reason="RolledBack", message="", asked_at=1.0)
            return Rollout(rest=phase, stable=A, returning=going)
        case Phase.ROLLED_BACK:
            return Rollout(rest=phase, stable=A, rejected=(rejected(),))
        case Phase.WAITING | Phase.FAILED:
            settings["weight"] = 0
        case Phase.PAUSED if not candidate:
            settings["step"] = 1
        case _:
            pass
    return Rollout(stable=A, candidates=(Candidate(phase=phase, **settings),))


def one(rollout: Rollout) -> Candidate:
    [candidate] = rollout.candidates
    return candidate


def command(verb: str, *, full: bool = False, revision: str | None = None) -> Command:
    return Command(id="1", verb=verb, by="ada", full=full, revision=revision)


#: What each verb does in each phase: the phase after it, or None where it is refused.
TABLE: dict[str, dict[Phase, Phase | None]] = {
    "promote": dict.fromkeys(Phase) | {Phase.PAUSED: Phase.PROGRESSING},
    "pause": dict.fromkeys(Phase) | {Phase.PROGRESSING: Phase.PAUSED},
    "resume": dict.fromkeys(Phase),  # the pause of this table is a step's, which promote opens
    "abort": dict.fromkeys(Phase)
    | dict.fromkeys([Phase.WAITING, Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED], Phase.ROLLED_BACK)
    | {Phase.RETURNING: Phase.IDLE},
    "retry": dict.fromkeys(Phase) | {Phase.ROLLED_BACK: Phase.IDLE, Phase.FAILED: Phase.WAITING},
    "rollback": dict.fromkeys(Phase)
    | dict.fromkeys([Phase.WAITING, Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED], Phase.ROLLED_BACK),
}


@pytest.mark.parametrize(("verb", "phase"), [(verb, phase) for verb in VERBS for phase in Phase])
def test_each_verb_does_what_fits_the_phase_or_says_why_not(verb: str, phase: Phase) -> None:
    before = state(phase)
    expected = TABLE[verb][phase]

    outcome = carry_out(command(verb), before, TACTICS, WORLD)

    assert outcome.answer
    if expected is None:
        assert outcome.rollout == before
        assert outcome.answer.startswith("Refused: ")
        assert len(outcome.answer) > len("Refused: no.")
    else:
        assert outcome.rollout.phase is expected
        assert not outcome.answer.startswith("Refused")


@pytest.mark.parametrize("verb", VERBS)
def test_the_answer_is_told_in_an_event_with_who_asked(verb: str) -> None:
    outcome = carry_out(command(verb), state(Phase.IDLE), TACTICS, WORLD)

    assert outcome.events[-1].reason == "CommandReceived"
    assert outcome.events[-1].message == f"{verb} by ada: {outcome.answer}"


# --- promote ---


def test_promote_opens_a_pause_step() -> None:
    outcome = carry_out(command("promote"), state(Phase.PAUSED), TACTICS, WORLD)

    assert outcome.rollout.weights == {A: 75, B: 25}
    assert outcome.answer == "going on with step 3 of 4"


def test_promote_does_not_open_what_a_person_paused() -> None:
    held = state(Phase.PAUSED, paused_by="bob")
    outcome = carry_out(command("promote"), held, TACTICS, WORLD)

    assert outcome.rollout == held
    assert outcome.answer == "Refused: paused by bob; use resume"


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.PAUSED])
def test_promote_full_goes_to_the_last_step(phase: Phase) -> None:
    outcome = carry_out(command("promote", full=True), state(phase), TACTICS, WORLD)

    assert outcome.rollout.phase is Phase.PROGRESSING
    assert outcome.rollout.weights == {A: 0, B: 100}
    assert one(outcome.rollout).step == 3


def test_promote_full_at_the_last_step_makes_stable() -> None:
    last = state(Phase.PROGRESSING, step=3, weight=100)
    outcome = carry_out(command("promote", full=True), last, TACTICS, WORLD)

    assert outcome.rollout.phase is Phase.PROMOTED
    assert outcome.rollout.stable == B
    assert outcome.rollout.history[0].by == "ada"


def test_promote_full_does_not_promote_what_has_no_traffic_yet() -> None:
    outcome = carry_out(command("promote", full=True), state(Phase.WAITING), TACTICS, WORLD)

    assert outcome.answer == "Refused: the split is Waiting; there is no rollout to promote"


def test_promote_at_a_step_that_is_in_progress_says_how_to_skip() -> None:
    outcome = carry_out(command("promote"), state(Phase.PROGRESSING), TACTICS, WORLD)

    assert "use --full" in outcome.answer


def test_promote_after_the_schedule_was_shortened_does_not_skip_to_stable() -> None:
    short = tuple(Step.parse(step) for step in ({"weight": 5}, {"weight": 100}))
    gate = state(Phase.PAUSED, step=2, weight=5)

    outcome = carry_out(command("promote"), gate, Tactics(steps=short), WORLD)

    assert outcome.rollout.stable == A
    assert outcome.rollout.weights == {A: 0, B: 100}


# --- pause and resume ---


def test_pause_and_resume_keep_the_weight_and_the_step() -> None:
    moving = state(Phase.PROGRESSING)
    held = carry_out(command("pause"), moving, TACTICS, WORLD)
    going = carry_out(command("resume"), held.rollout, TACTICS, WORLD)

    assert held.answer == "held at 5%"
    assert one(held.rollout).paused_by == "ada"
    assert going.rollout == moving


def test_resume_does_not_open_a_pause_step() -> None:
    outcome = carry_out(command("resume"), state(Phase.PAUSED), TACTICS, WORLD)

    assert outcome.answer == "Refused: this is a pause step of the strategy; use promote"


# --- abort and retry ---


def test_abort_takes_all_traffic_back_and_remembers_who_did() -> None:
    outcome = carry_out(command("abort"), state(Phase.PROGRESSING), TACTICS, WORLD)

    assert outcome.rollout.weights == {A: 100}
    assert outcome.rollout.rejected[0].reason == "Aborted"
    assert outcome.rollout.history[0].outcome == "Aborted"
    assert outcome.rollout.history[0].by == "ada"
    assert outcome.answer == f"{B} taken back"
    assert [event.reason for event in outcome.events] == ["Aborted", "CommandReceived"]


def test_retry_forgives_the_last_one_taken_back() -> None:
    both = Rollout(rest=Phase.ROLLED_BACK, stable=A, rejected=(rejected(B), rejected(C)))
    outcome = carry_out(command("retry"), both, TACTICS, WORLD)

    assert [entry.revision for entry in outcome.rollout.rejected] == [C]
    assert outcome.rollout.phase is Phase.IDLE


def test_retry_of_an_older_one_leaves_what_was_said_of_the_last() -> None:
    both = Rollout(rest=Phase.ROLLED_BACK, stable=A, rejected=(rejected(B), rejected(C)))
    outcome = carry_out(command("retry", revision=C), both, TACTICS, WORLD)

    assert [entry.revision for entry in outcome.rollout.rejected] == [B]
    assert outcome.rollout.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize(
    ("revision", "answer"),
    [
        ("fraud-dddddddd", f"Refused: fraud-dddddddd was not taken back; these were: {B}"),
        (A, f"Refused: {A} was not taken back; these were: {B}"),
    ],
)
def test_retry_of_what_was_not_taken_back_lists_what_was(revision: str, answer: str) -> None:
    outcome = carry_out(command("retry", revision=revision), state(Phase.ROLLED_BACK), TACTICS, WORLD)

    assert outcome.answer == answer


def test_retry_with_nothing_taken_back_says_so() -> None:
    outcome = carry_out(command("retry"), state(Phase.IDLE), TACTICS, WORLD)

    assert outcome.answer == "Refused: no revision was taken back; there is nothing to retry"


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("promote", "there is no rollout to promote"),
        ("pause", "only a rollout in progress can be paused"),
        ("resume", "nothing is paused"),
        ("abort", "there is no rollout to abort"),
    ],
)
def test_without_a_rollout_a_command_says_what_there_is_none_of(verb: str, words: str) -> None:
    assert carry_out(command(verb), state(Phase.IDLE), TACTICS, WORLD).answer == f"Refused: the split is Idle; {words}"


# --- several candidates ---


TEST = Tactics(steps=(Step(weight=0),), own={"xgb": (Step(weight=20),), "mlp": (Step(weight=30),)}, open_ended=True)


def both(**mlp: Any) -> Rollout:
    started: dict[str, Any] = {"started_at": 1.0, "phase": Phase.PROGRESSING}
    return Rollout(
        stable=A,
        candidates=(
            Candidate(name="xgb", revision=B, weight=20, **started),
            Candidate(name="mlp", revision=C, **{"weight": 30, **started, **mlp}),
        ),
    )


def asked(verb: str, rollout: Rollout, **more: Any) -> Outcome:
    return carry_out(Command(id="1", verb=verb, by="ada", **more), rollout, TEST, WORLD)


def test_of_several_a_person_names_the_winner_and_the_others_have_lost() -> None:
    assert asked("promote", both()).answer == "Refused: several compete; name the winner with --candidate: xgb, mlp"

    won = asked("promote", both(), candidate="mlp").rollout

    assert (won.phase, won.stable) == (Phase.PROMOTED, C)
    assert {entry.revision: entry.outcome for entry in won.history} == {B: "Lost", C: "Promoted"}
    assert won.is_rejected(B)


def test_who_does_not_answer_yet_does_not_win() -> None:
    outcome = asked("promote", both(phase=Phase.WAITING, weight=0), candidate="mlp")

    assert outcome.answer == "Refused: mlp is Waiting; there is no rollout to promote"


def test_who_has_just_lost_its_pods_is_not_promoted() -> None:
    gone = replace(WORLD, revisions={**WORLD.revisions, B: RevisionState(ready=0, wanted=2)})
    outcome = carry_out(command("promote", full=True), state(Phase.PROGRESSING), TACTICS, gone)

    assert outcome.answer == f"Refused: no pod of {B} is ready"


def test_a_name_that_nobody_has_is_answered_with_those_that_there_are() -> None:
    for verb in ("promote", "pause", "resume", "abort"):
        assert (
            asked(verb, both(), candidate="lstm").answer == "Refused: there is no candidate lstm; there are: xgb, mlp"
        )


def test_one_of_several_is_held_let_go_and_taken_back_alone() -> None:
    held = asked("pause", both(), candidate="mlp")
    assert held.answer == "held at 30%"
    assert [one.phase for one in held.rollout.candidates] == [Phase.PROGRESSING, Phase.PAUSED]
    assert asked("resume", held.rollout, candidate="xgb").answer == "Refused: xgb is Progressing; nothing is paused"
    assert asked("resume", held.rollout).rollout == both()

    gone = asked("abort", both(), candidate="mlp").rollout
    assert gone.weights == {A: 80, B: 20}
    assert gone.phase is Phase.PROGRESSING


def test_without_a_name_all_are_meant() -> None:
    assert asked("pause", both()).answer == "held at xgb 20%, mlp 30%"
    assert asked("abort", both()).answer == f"{B}, {C} taken back"
    assert asked("abort", both()).rollout.weights == {A: 100}


# --- freeze and rollback ---


FROZEN = replace(WORLD, frozen="frozen until Monday")


def test_a_freeze_holds_promotions_of_people_too_and_nothing_that_goes_back() -> None:
    moving = state(Phase.PROGRESSING)
    assert carry_out(command("promote", full=True), moving, TACTICS, FROZEN).answer == (
        "Refused: frozen until Monday; rollback and abort work"
    )
    assert carry_out(command("abort"), moving, TACTICS, FROZEN).rollout.weights == {A: 100}
    back = carry_out(command("rollback", revision=C), state(Phase.IDLE), TACTICS, FROZEN)
    assert back.answer == f"going back to {C}"


def test_rollback_ends_what_is_on_trial_first() -> None:
    to_stable = asked("rollback", both())
    assert to_stable.rollout.weights == {A: 100}
    assert to_stable.answer == f"{B}, {C} taken back"

    older = "fraud-dddddddd"
    known = replace(WORLD, revisions={**WORLD.revisions, older: RevisionState(ready=0, wanted=2)})
    further = carry_out(command("rollback", revision=older), both(), TEST, known)
    assert further.rollout.phase is Phase.RETURNING
    assert further.rollout.weights == {A: 100, older: 0}


@pytest.mark.parametrize(
    ("rollout", "revision", "answer"),
    [
        (Rollout(), None, "Refused: nothing serves yet; there is nothing to go back from"),
        (Rollout(stable=A), None, "Refused: history knows no revision before this one; name one with --to"),
        (Rollout(stable=A), A, f"Refused: {A} serves already"),
        (Rollout(stable=A), "x", f"Refused: there is no revision x any more; there are: {B}, {C}"),
    ],
    ids=["nothing serves", "nothing is known", "it serves", "it is gone"],
)
def test_a_rollback_that_leads_nowhere_says_what_to_do(rollout: Rollout, revision: str | None, answer: str) -> None:
    assert carry_out(command("rollback", revision=revision), rollout, TACTICS, WORLD).answer == answer


# --- the annotation ---


def test_a_command_is_read_from_the_annotation() -> None:
    text = '{"verb": "promote", "id": "7", "by": "ada", "full": true, "revision": "fraud-bbbbbbbb", "candidate": "xgb"}'

    assert parse_command(text) == Command(id="7", verb="promote", by="ada", full=True, revision=B, candidate="xgb")


@pytest.mark.parametrize("full", [1, "true", None, []], ids=str)
def test_only_true_means_full(full: object) -> None:
    assert parse_command(json.dumps({"verb": "promote", "id": "7", "by": "ada", "full": full})).full is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("promote", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "write {"),
        ("null", "write {"),
        ('{"verb": "promote"}', "write {"),
        ('{"verb": "promote", "id": 7, "by": "ada"}', "write {"),
        ('{"verb": "promote", "id": "", "by": "ada"}', "write {"),
        ('{"verb": "promote", "id": "7", "by": ""}', "write {"),
        ('{"verb": "explode", "id": "7", "by": "ada"}', "unknown verb 'explode'; there are promote, pause"),
    ],
    ids=[
        "empty",
        "a bare word",
        "too deep",
        "a list",
        "null",
        "no id",
        "a number as id",
        "an empty id",
        "nobody",
        "an unknown verb",
    ],
)
def test_what_is_no_command_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        parse_command(text)
    assert words in str(refused.value)


def test_long_texts_are_cut_so_that_the_status_stays_small() -> None:
    read = parse_command(json.dumps({"verb": "pause", "id": "7" * 5000, "by": "a" * 5000}))

    assert (len(read.id), len(read.by)) == (200, 200)
