"""Alarms beside metrics take a candidate back or hold it, as long as they last."""

from dataclasses import replace
from typing import Any

import pytest
from tests.penstock_operator.core.alarms import after, alarm, look, spec

from penstock_operator.core.alarms import Alarm, SignalClass
from penstock_operator.core.demands import demands
from penstock_operator.core.world import Finding

BLAMED = alarm("outputs/score", attributable=True, revision="fraud-2")


def demanded(*alarms: Alarm, do: str = "Rollback", **policy: Any) -> tuple[Finding, ...]:
    action = {"signals": [kind.value for kind in SignalClass], "when": "AttributableToRevision", "do": [do]}
    state = after(spec(actions=[action], **policy), look(*alarms)).state
    manifest = {"metadata": {"name": "guard"}, "status": state.to_wire()}
    return demands([manifest], ["guard", "other"], revision="fraud-2")


def test_a_rollback_rolls_back_and_a_pause_only_fails() -> None:
    (taken,) = demanded(BLAMED)
    assert (taken.source, taken.rolls_back, taken.message) == ("guard/outputs/score", True, BLAMED.message)
    (held,) = demanded(BLAMED, do="Pause")
    assert (held.verdict, held.rolls_back) == (taken.verdict, False)


@pytest.mark.parametrize(
    "innocent",
    [
        pytest.param(replace(BLAMED, attributable=False), id="what hits every revision"),
        pytest.param(replace(BLAMED, revision="fraud-1"), id="another revision"),
        pytest.param(replace(BLAMED, signal=SignalClass.METRICS), id="a metric, which the split judges itself"),
    ],
)
def test_nothing_is_demanded_for(innocent: Alarm) -> None:
    assert demanded(innocent) == ()


def test_a_rehearsal_demands_nothing() -> None:
    assert demanded(BLAMED, dryRun=True) == ()


def test_a_demand_ends_with_its_alarm() -> None:
    action = {"signals": ["Outputs"], "when": "AttributableToRevision", "do": ["Rollback", "Alert"]}
    state = after(spec(actions=[action]), look(BLAMED), look(at=60.0)).state
    assert state.alarms
    assert demands([{"metadata": {"name": "guard"}, "status": state.to_wire()}], ["guard"], revision="fraud-2") == ()
