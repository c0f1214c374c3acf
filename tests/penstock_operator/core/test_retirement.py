"""Retiring a model: confirmed, never while it has traffic unless that is said, and undone by a word."""

import json
from typing import Any

import pytest
from tests.penstock_operator.core.alarms import START, after, alarm, look, spec, wire

from penstock_operator.core import retirement
from penstock_operator.core.acknowledgement import answer
from penstock_operator.core.action_state import ActionState, parse_state
from penstock_operator.core.retirement import Retired, Surroundings

ACTIONS: dict[str, Any] = {
    "actions": [{"signals": ["Inputs"], "confirm": {"windows": 3, "of": 3}, "do": ["Retire", "Alert"]}]
}
RETIRES = spec(**ACTIONS)
AWAY = Surroundings(existing=frozenset({"fraud-1", "fraud-2"}))
BUSY = Surroundings(serving=frozenset({"fraud-1"}), existing=frozenset({"fraud-1"}))


def test_a_model_is_retired_after_confirmation_and_once() -> None:
    assert "retired" not in wire(after(RETIRES, look(alarm(seen="011"), around=AWAY)))
    looks = [look(alarm(seen="111"), at=place, around=AWAY) for place in range(4)]
    decision = after(RETIRES, *looks)
    (entry,) = wire(decision)["retired"]
    assert entry == {
        "modelDeployment": "fraud",
        "revision": "fraud-1",
        "window": "fraud-1-w7",
        "at": entry["at"],
        "message": "inputs/amount: PSI 0.31 over 18234 rows",
    }
    first = after(RETIRES, looks[0])
    assert [event.reason for event in first.events] == ["InputDrift"]
    assert "(Retire, Alert)" in first.events[0].message
    assert decision.events == ()


def test_a_model_with_traffic_is_not_retired_unless_that_is_said() -> None:
    held = after(RETIRES, look(alarm(seen="111"), around=BUSY))
    assert "retired" not in wire(held)
    assert "Retire waits: fraud-1 has traffic" in wire(held)["alarms"][0]["held"]
    assert "whileServing: true" in wire(held)["alarms"][0]["held"]
    said = after(spec(**ACTIONS, retire={"whileServing": True}), look(alarm(seen="111"), around=BUSY))
    assert [one["revision"] for one in wire(said)["retired"]] == ["fraud-1"]
    # And it is not held back for ever: the traffic may go.
    later = after(RETIRES, look(alarm(seen="111"), around=BUSY), look(alarm(seen="111"), at=60, around=AWAY))
    assert [one["revision"] for one in wire(later)["retired"]] == ["fraud-1"]


def test_a_dry_run_retires_nothing() -> None:
    decision = after(spec(**ACTIONS, dryRun=True), look(alarm(seen="111"), around=AWAY))
    assert "retired" not in wire(decision)
    assert [event.reason for event in decision.events] == ["DryRun"]


def test_an_acknowledged_alarm_retires_nothing() -> None:
    waiting = after(RETIRES, look(alarm(seen="111"), around=BUSY))
    seen = answer('{"verb": "ack", "id": "1", "by": "ann"}', waiting.state, now=START + 1).state
    assert "retired" not in wire(after(RETIRES, look(alarm(seen="111"), at=2, around=AWAY), state=seen))


def test_two_alarms_of_a_revision_retire_it_once() -> None:
    both = (alarm(seen="111"), alarm("inputs/hour", seen="111"))
    assert len(wire(after(RETIRES, look(*both, around=AWAY)))["retired"]) == 1


def test_a_person_restores_it_and_the_same_alarm_does_not_retire_it_again() -> None:
    retired = after(RETIRES, look(alarm(seen="111"), around=AWAY)).state
    done = answer(json.dumps({"verb": "restore", "id": "1", "by": "ann"}), retired, now=START + 1)
    assert done.state.retired == ()
    assert done.state.command["outcome"] == "restored fraud-1"
    assert "restore by ann" in done.events[0].message
    again = after(RETIRES, look(alarm(seen="1111"), at=2, around=AWAY), state=done.state)
    assert "retired" not in wire(again)


@pytest.mark.parametrize(
    ("model", "outcome"),
    [
        ("fraud", "restored fraud-1"),
        ("fraud-1", "restored fraud-1"),
        ("other", "Refused: nothing of other is retired; retired are: fraud-1"),
    ],
)
def test_one_of_several_is_restored_by_its_name(model: str, outcome: str) -> None:
    retired = after(RETIRES, look(alarm(seen="111"), around=AWAY)).state
    command = json.dumps({"verb": "restore", "id": "1", "by": "ann", "model": model})
    assert answer(command, retired, now=START + 1).state.command["outcome"] == outcome


def test_a_retirement_ends_with_its_revision() -> None:
    state = after(RETIRES, look(alarm(seen="111"), around=AWAY)).state
    gone = after(RETIRES, look(at=5, around=Surroundings(existing=frozenset({"fraud-2"}))), state=state)
    assert "retired" not in wire(gone)
    unknown = after(RETIRES, look(at=5), state=state)
    assert len(wire(unknown)["retired"]) == 1


def test_what_has_traffic_follows_from_splits_and_from_models_without_one() -> None:
    deployments = [
        {"metadata": {"name": name}, "status": {"stableRevision": f"{name}-1", "revisions": [{"name": f"{name}-1"}]}}
        for name in ("alone", "led", "idle")
    ]
    split: dict[str, Any] = {
        "metadata": {"name": "led", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"stable": {"modelDeployment": "led"}, "candidates": [{"modelDeployment": "idle"}]},
        "status": {"stableRevision": "led-1", "weights": [{"revision": "led-1", "weight": 100}]},
    }
    metadata = {**split["metadata"], "name": "z"}
    idle = {"metadata": metadata, "spec": {"stable": {"modelDeployment": "idle"}}, "status": {}}
    around = retirement.surroundings(deployments, [split, idle])
    assert around.serving == {"alone-1", "led-1"}
    assert around.existing == frozenset({"alone-1", "led-1", "idle-1"})


def test_the_words_for_a_model_say_who_retired_it_and_how_to_undo_that() -> None:
    entry = Retired(model_deployment="fraud", revision="fraud-1", window_id="w", why="inputs/amount: PSI 0.3", at=START)
    policy = {"metadata": {"name": "guard"}, "status": ActionState(retired=(entry,)).to_wire()}
    assert retirement.retirements([policy]) == {
        "fraud-1": "retired by DriftPolicy guard (inputs/amount: PSI 0.3); kubectl penstock restore guard"
    }
    assert retirement.deployments_of(policy) == {"fraud"}
    going = {**policy, "metadata": {"name": "guard", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert retirement.retirements([going]) == {}


@pytest.mark.parametrize("status", [None, {}, {"retired": "all"}, {"retired": ["x", {}, {"at": 3}]}])
def test_a_status_that_a_person_has_made_unreadable_retires_nothing(status: Any) -> None:
    policy = {"metadata": {"name": "guard"}, "status": status}
    assert retirement.deployments_of(policy) <= {""}
    assert parse_state(status or {}).retired == ()
