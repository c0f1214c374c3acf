"""The rollout in a status: everything survives, and nothing strange in it stops the operator."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.penstock_operator.api.schemas import Schema, schema_of

from penstock_operator.core.phases import MOVING, RESTING, Phase
from penstock_operator.core.rollout_state import Candidate, HistoryEntry, Rejected, Returning, Rollout, Watch
from penstock_operator.core.rollout_status import parse_rollout, rollout_to_wire

STATUS: Schema = schema_of("trafficsplits")["properties"]["status"]
TIMES = st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000)
TEXTS = st.text(max_size=20)
REASONS = st.sampled_from(["Aborted", "PolicyBreached", "Undecided", "RolledBack", "Lost"])


@st.composite
def some_candidates(draw: st.DrawFn, stable: str | None) -> tuple[Candidate, ...]:
    """Up to four, with different names and revisions, and together no more than all traffic."""
    names = draw(st.lists(TEXTS, min_size=1, max_size=4, unique=True))
    revisions = draw(st.lists(TEXTS.filter(lambda text: text != stable), min_size=4, max_size=4, unique=True))
    left, found = 100, []
    for name, revision in zip(names, revisions, strict=False):
        weight = draw(st.integers(0, left))
        left -= weight
        found.append(
            Candidate(
                name=name,
                revision=revision,
                started_at=draw(TIMES),
                phase=draw(st.sampled_from(sorted(MOVING))),
                step=draw(st.integers(0, 49)),
                weight=weight,
                step_started_at=draw(st.none() | TIMES),
                waiting_since=draw(st.none() | TIMES),
                paused_by=draw(st.none() | TEXTS),
            )
        )
    return tuple(found)


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    phase, stable = draw(st.sampled_from([None, *sorted(RESTING)])), draw(st.none() | TEXTS)
    other = TEXTS.filter(lambda text: text != stable)
    rejected = st.builds(Rejected, revision=TEXTS, at=TIMES, by=TEXTS, message=TEXTS, reason=REASONS)
    history = st.builds(
        HistoryEntry,
        revision=TEXTS,
        outcome=st.just("Promoted"),
        started_at=TIMES,
        finished_at=TIMES,
        by=TEXTS,
        message=TEXTS,
        stable=TEXTS,
    )
    going = st.builds(Returning, revision=other, by=TEXTS, reason=REASONS, message=TEXTS, asked_at=TIMES)
    watch = st.none() | st.builds(Watch, revision=other, started_at=TIMES)
    return Rollout(
        rest=phase or Phase.IDLE,
        stable=stable,
        candidates=draw(some_candidates(stable)) if phase is None else (),
        watch=draw(watch) if phase is Phase.PROMOTED else None,
        returning=draw(going) if phase is Phase.RETURNING else None,
        rejected=tuple(draw(st.lists(rejected, max_size=2))),
        history=tuple(draw(st.lists(history, max_size=2))),
    )


@given(rollouts())
def test_a_rollout_survives_the_api_server(rollout: Rollout) -> None:
    assert parse_rollout(json.loads(json.dumps(rollout_to_wire(rollout)))) == rollout


def pruned(schema: Schema, value: Any) -> Any:
    """Return what the API server keeps of a value."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return {name: pruned(known[name], entry) for name, entry in value.items() if name in known}
    if isinstance(value, list):
        return [pruned(schema["items"], entry) for entry in value]
    return value


@given(rollouts())
def test_the_schema_knows_every_field_that_a_rollout_needs(rollout: Rollout) -> None:
    """The API server drops what the schema does not know, and the rollout would lose it."""
    wire = rollout_to_wire(rollout)
    assert pruned(STATUS, wire) == wire


def test_an_empty_status_is_a_rollout_that_has_not_begun() -> None:
    assert parse_rollout({}) == parse_rollout({"observedGeneration": -1}) == Rollout()


def test_a_phase_of_another_version_or_without_its_candidate_is_idle() -> None:
    for status in ({"phase": "Promoting"}, {"phase": "Progressing"}, {"phase": "Paused", "candidates": []}):
        assert parse_rollout({**status, "stableRevision": "a"}) == Rollout(stable="a")


def test_what_the_schema_lets_people_leave_out_of_a_status_stops_nothing() -> None:
    """The status schema requires only names; whoever edits a status by hand must not stop the operator."""
    bare: dict[str, Any] = {
        "phase": "Progressing",
        "candidates": [{"name": "candidate"}],
        "rejected": [{"revision": "b"}],
        "history": [{}],
    }
    rollout = parse_rollout(bare)

    assert rollout.candidates == ()
    assert rollout.is_rejected("b")
    assert parse_rollout(json.loads(json.dumps(rollout_to_wire(rollout)))) == rollout


def test_a_candidate_in_a_phase_that_has_none_is_forgotten() -> None:
    candidate = {"name": "candidate", "revision": "b", "weight": 25}

    assert parse_rollout({"phase": "Promoted", "stableRevision": "a", "candidates": [candidate]}).weights == {"a": 100}


def test_weights_that_no_router_could_run_are_cut() -> None:
    candidate = {"name": "candidate", "revision": "b", "weight": 250, "step": -1}
    rollout = parse_rollout({"phase": "Progressing", "stableRevision": "a", "candidates": [candidate]})

    assert rollout.weights == {"a": 0, "b": 100}
    assert rollout.candidates[0].step == 0


def test_a_status_of_one_candidate_that_does_not_tell_its_phase_is_read_as_it_was_meant() -> None:
    """As it was written before there could be several candidates."""
    old = {
        "phase": "Paused",
        "stableRevision": "a",
        "candidates": [
            {
                "name": "candidate",
                "revision": "b",
                "weight": 25,
                "step": 1,
                "startedAt": "2026-01-01T00:00:00.000Z",
                "stepStartedAt": "2026-01-01T00:05:00.000Z",
                "pausedBy": "ada",
            }
        ],
    }
    [candidate] = parse_rollout(old).candidates

    assert (candidate.name, candidate.revision, candidate.phase) == ("candidate", "b", Phase.PAUSED)
    assert (candidate.weight, candidate.step, candidate.paused_by) == (25, 1, "ada")
    assert parse_rollout(old).phase is Phase.PAUSED


def test_candidates_that_together_ask_for_too_much_get_what_is_left() -> None:
    entries = [{"name": name, "revision": name, "weight": 60} for name in "xyz"]
    rollout = parse_rollout({"phase": "Progressing", "stableRevision": "a", "candidates": entries})

    assert rollout.weights == {"a": 0, "x": 60, "y": 40, "z": 0}


def test_of_candidates_with_the_same_name_or_revision_only_the_first_is_one() -> None:
    entries = [
        {"name": "x", "revision": "b"},
        {"name": "x", "revision": "c"},
        {"name": "y", "revision": "b"},
        {"name": "z", "revision": "a"},
    ]
    rollout = parse_rollout({"phase": "Progressing", "stableRevision": "a", "candidates": entries})

    assert [(candidate.name, candidate.revision) for candidate in rollout.candidates] == [("x", "b")]


def test_a_return_without_its_revision_is_none() -> None:
    for status in ({}, {"returning": {"by": "ada"}}, {"returning": {"revision": "a"}}):
        assert parse_rollout({"phase": "Returning", "stableRevision": "a", **status}) == Rollout(stable="a")
