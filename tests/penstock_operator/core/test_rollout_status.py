"""The rollout in a status: everything survives, and nothing strange in it stops the operator."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.core.phases import Phase
from penstock_operator.core.rollout_state import Candidate, HistoryEntry, Rejected, Rollout
from penstock_operator.core.rollout_status import parse_rollout, rollout_to_wire

WITHOUT_CANDIDATE = (Phase.IDLE, Phase.PROMOTED, Phase.ROLLED_BACK)
TIMES = st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000)
TEXTS = st.text(max_size=20)


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    phase = draw(st.sampled_from(Phase))
    candidate = st.builds(
        Candidate,
        revision=TEXTS,
        started_at=TIMES,
        step=st.integers(0, 49),
        weight=st.integers(0, 100),
        step_started_at=st.none() | TIMES,
        paused_by=st.none() | TEXTS,
    )
    rejected = st.builds(Rejected, revision=TEXTS, at=TIMES, by=TEXTS, message=TEXTS, reason=st.just("Aborted"))
    history = st.builds(
        HistoryEntry,
        revision=TEXTS,
        outcome=st.just("Promoted"),
        started_at=TIMES,
        finished_at=TIMES,
        by=TEXTS,
        message=TEXTS,
    )
    return Rollout(
        phase=phase,
        stable=draw(st.none() | TEXTS),
        candidate=None if phase in WITHOUT_CANDIDATE else draw(candidate),
        rejected=tuple(draw(st.lists(rejected, max_size=2))),
        history=tuple(draw(st.lists(history, max_size=2))),
    )


@given(rollouts())
def test_a_rollout_survives_the_api_server(rollout: Rollout) -> None:
    assert parse_rollout(json.loads(json.dumps(rollout_to_wire(rollout)))) == rollout


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

    assert rollout.candidate is None
    assert rollout.is_rejected("b")
    assert parse_rollout(json.loads(json.dumps(rollout_to_wire(rollout)))) == rollout


def test_a_candidate_in_a_phase_that_has_none_is_forgotten() -> None:
    candidate = {"name": "candidate", "revision": "b", "weight": 25}

    assert parse_rollout({"phase": "Promoted", "stableRevision": "a", "candidates": [candidate]}).weights == {"a": 100}


def test_weights_that_no_router_could_run_are_cut() -> None:
    candidate = {"name": "candidate", "revision": "b", "weight": 250, "step": -1}
    rollout = parse_rollout({"phase": "Progressing", "stableRevision": "a", "candidates": [candidate]})

    assert rollout.weights == {"a": 0, "b": 100}
    assert rollout.candidate is not None
    assert rollout.candidate.step == 0
