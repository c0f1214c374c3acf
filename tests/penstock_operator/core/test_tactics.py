"""What each strategy asks of a rollout."""

from typing import Any

import pytest

from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.core.tactics import Tactics, Undecided, tactics_of

XGB = {"name": "xgb", "modelDeployment": "fraud-xgb", "weight": 20}


def tactics(strategy: dict[str, Any], **more: Any) -> Tactics:
    return tactics_of(TrafficSplitSpec.parse({"stable": {"modelDeployment": "fraud"}, "strategy": strategy, **more}))


def weights(found: Tactics, name: str = "candidate") -> list[int | None]:
    return [step.weight for step in found.steps_for(name)]


@pytest.mark.parametrize("type_", ["Canary", "BlueGreen"])
def test_steps_are_those_of_spec(type_: str) -> None:
    found = tactics({"type": type_, "steps": [{"weight": 0}, {"pause": {}}, {"weight": 100}]})

    assert weights(found) == [0, None, 100]
    assert not found.open_ended


def test_each_candidate_of_a_test_has_its_weight_until_a_person_ends_it() -> None:
    found = tactics({"type": "ABTest"}, candidates=[XGB])

    assert weights(found, "xgb") == [20]
    assert found.open_ended


def test_with_a_winner_a_test_ends_by_evidence_after_its_hold() -> None:
    found = tactics({"type": "ABTest", "winner": {"hold": "1h"}}, candidates=[XGB])
    [step] = found.steps_for("xgb")

    assert (step.weight, step.hold.total_seconds(), step.require) == (20, 3600.0, "Pass")
    assert not found.open_ended


def test_a_shadow_stays_at_no_weight() -> None:
    found = tactics({"type": "Shadow"}, shadow={"percent": 20})

    assert weights(found) == [0]
    assert found.open_ended


def test_who_has_no_weight_is_reached_by_copies_or_by_a_match() -> None:
    steps = {"steps": [{"weight": 100}]}
    match = [{"header": "x-beta", "present": True, "to": "candidate"}]

    assert tactics(steps).reaches("candidate", 1)
    assert not tactics(steps).reaches("candidate", 0)
    assert tactics(steps, match=match).reaches("candidate", 0)
    assert not tactics(steps, match=match).reaches("other", 0)
    assert tactics(steps, shadow={}).reaches("candidate", 0)


def test_what_is_left_out_is_off() -> None:
    bare = tactics({"steps": [{"weight": 100}]})
    assert (bare.undecided, bare.progress_deadline_seconds, bare.watch_seconds) == (None, None, 0.0)

    asked = {"steps": [{"weight": 100}], "maxDuration": "2h", "onUndecided": "Rollback", "progressDeadline": "10m"}
    whole = tactics(asked, afterPromotion={"watch": "30m"})
    assert whole.undecided == Undecided(after_seconds=7200.0, then="Rollback")
    assert (whole.progress_deadline_seconds, whole.watch_seconds) == (600.0, 1800.0)
