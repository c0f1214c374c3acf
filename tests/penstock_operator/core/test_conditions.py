"""Conditions: times that say when something changed, and nothing that is not so any more."""

import pytest

from penstock_operator.core.conditions import Conditions, Reason, find, is_true, timestamp, unix_seconds

OLD = {
    "type": "Ready",
    "status": "True",
    "reason": "Ready",
    "message": "all is well",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def test_a_condition_that_keeps_its_status_keeps_its_time() -> None:
    conditions = Conditions([OLD], generation=2, now=1_800_000_000.0)
    conditions.set("Ready", status=True, reason=Reason.PROMOTED, message="another story")

    [condition] = conditions.to_wire()
    assert condition["lastTransitionTime"] == OLD["lastTransitionTime"]
    assert (condition["reason"], condition["observedGeneration"]) == ("Promoted", 2)


@pytest.mark.parametrize(("status", "text"), [(False, "False"), (None, "Unknown")])
def test_a_condition_that_changes_its_status_has_a_new_time(*, status: bool | None, text: str) -> None:
    conditions = Conditions([OLD], generation=1, now=1_800_000_000.0)
    conditions.set("Ready", status=status, reason=Reason.PROGRESSING, message="")

    [condition] = conditions.to_wire()
    assert condition["status"] == text
    assert condition["lastTransitionTime"] == "2027-01-15T08:00:00.000Z"


def test_what_is_not_set_again_is_gone_and_the_rest_is_in_order() -> None:
    conditions = Conditions([{**OLD, "type": "Stalled"}], generation=1, now=0.0)
    for type_ in ("Ready", "Available"):
        conditions.set(type_, status=True, reason=Reason.READY, message="")

    assert [condition["type"] for condition in conditions.to_wire()] == ["Available", "Ready"]


def test_looking_for_a_condition() -> None:
    assert find([OLD], "Ready") == OLD
    assert find([OLD], "Stalled") is None
    assert is_true([OLD], "Ready")
    assert not is_true([OLD], "Stalled")
    assert not is_true([{**OLD, "status": "Unknown"}], "Ready")


@pytest.mark.parametrize("moment", [0.0, 1_700_000_000.123, 1_700_000_000.999, 4_000_000_000.5])
def test_times_survive_being_written_and_read(moment: float) -> None:
    assert unix_seconds(timestamp(moment)) == moment


def test_times_of_kubernetes_itself_are_read_too() -> None:
    assert unix_seconds("1970-01-01T00:01:00Z") == 60.0
