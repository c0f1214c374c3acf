"""How many pods autoscalers must leave the revisions of a split."""

from typing import Any

import pytest

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.autoscaling import Autoscaled
from penstock_operator.core.capacity import Pods, demand, within_capacity
from penstock_operator.core.least_pods import least_pods
from penstock_operator.core.phases import Phase
from penstock_operator.core.rollout_state import Candidate, Returning, Rollout, Watch
from penstock_operator.core.tactics import Tactics
from penstock_operator.core.world import RevisionState

STEPS = Tactics(steps=(Step(weight=10), Step(weight=50), Step(weight=100)))


def state(asked: int, *, ready: int | None = None, load: int | None = None, most: int = 20) -> RevisionState:
    scaled = Autoscaled(asked=asked, most=most, load=load)
    return RevisionState(ready=asked if ready is None else ready, wanted=2, scaled=scaled)


def rollout(phase: Phase = Phase.PROGRESSING, *, step: int = 0, weight: int = 0, **more: Any) -> Rollout:
    candidate = Candidate(revision="new", started_at=0, phase=phase, step=step, weight=weight)
    return Rollout(stable="old", candidates=(candidate,), **more)


@pytest.mark.parametrize(
    ("about", "running", "least"),
    [
        pytest.param(Rollout(stable="old"), {"old": 100}, {}, id="at rest nobody has to keep any"),
        pytest.param(rollout(Phase.WAITING), {"old": 100}, {"new": 1}, id="a candidate that waits: its first step"),
        pytest.param(rollout(Phase.FAILED), {"old": 100}, {}, id="one that cannot load: none"),
        pytest.param(
            rollout(weight=10), {"old": 90, "new": 10}, {"new": 5, "old": 10}, id="the next step, and the way back"
        ),
        pytest.param(
            rollout(step=2, weight=100), {"old": 50, "new": 50}, {"new": 10, "old": 10}, id="at the last step all of it"
        ),
        pytest.param(
            Rollout(stable="old"), {"old": 60, "new": 40}, {"new": 4, "old": 10}, id="what drains keeps its share"
        ),
        pytest.param(
            Rollout(stable="new", watch=Watch(revision="old", started_at=0)),
            {"new": 100},
            {"old": 2},
            id="what is watched over: what stable has, and no more",
        ),
        pytest.param(
            Rollout(
                stable="old",
                returning=Returning(revision="new", by="ada", reason="RolledBack", message="", asked_at=0),
            ),
            {"old": 100},
            {"new": 10},
            id="what is returned to: what stable has",
        ),
        pytest.param(Rollout(), {}, {}, id="before anything serves"),
    ],
)
def test_the_fewest_pods_of_each_revision(about: Rollout, running: dict[str, int], least: dict[str, int]) -> None:
    states = {"old": state(10), "new": state(2)}
    assert least_pods(about, tactics=STEPS, states=states, running=running) == least


def test_revisions_without_an_autoscaler_are_not_named() -> None:
    states = {"old": RevisionState(ready=4, wanted=4), "new": state(2)}
    assert least_pods(rollout(weight=10), tactics=STEPS, states=states, running={"old": 90, "new": 10}) == {"new": 2}


@pytest.mark.parametrize(
    ("states", "full"),
    [
        pytest.param({"old": state(10), "new": state(2)}, 10, id="what stable asks for"),
        pytest.param({"old": state(2), "new": state(8)}, 8, id="what another with requests asks for"),
        pytest.param({"old": state(6, load=6), "new": state(7, load=7)}, 13, id="the sum of the loads"),
        pytest.param({"old": state(6, load=1), "new": state(7)}, 7, id="a load that cannot be read"),
        pytest.param({"old": state(6, load=9, most=8), "new": state(7, load=7)}, 8, id="no more than stable ever has"),
    ],
)
def test_what_all_requests_need(states: dict[str, RevisionState], full: int) -> None:
    assert demand(states, "old", {"old": 50, "new": 50}) == full


def test_pods_of_a_revision_without_requests_say_nothing_about_what_requests_need() -> None:
    assert demand({"old": state(4), "warm": state(9, load=9)}, "old", {"old": 100}) == 4


def test_a_revision_that_has_what_its_autoscaler_asks_for_keeps_its_weight_when_another_gets_a_pod() -> None:
    states, running = {"old": state(5), "new": state(2)}, {"old": 50, "new": 50}
    pods = Pods.seen(states, "old", running)
    assert pods.carry("new") == 40
    assert within_capacity({"old": 50, "new": 50}, running=running, pods=pods, stable="old") == running


def test_one_that_lacks_pods_that_were_asked_for_gives_back_what_it_cannot_carry() -> None:
    states, running = {"old": state(4), "new": state(4, ready=1)}, {"old": 0, "new": 100}
    given = within_capacity(
        {"old": 0, "new": 100}, running=running, pods=Pods.seen(states, "old", running), stable="old"
    )
    assert given == {"old": 75, "new": 25}


def test_stable_with_all_the_pods_that_it_ever_gets_takes_everything() -> None:
    states, running = {"old": state(4, most=4), "new": state(10)}, {"old": 10, "new": 90}
    given = within_capacity({"old": 100}, running=running, pods=Pods.seen(states, "old", running), stable="old")
    assert {name: weight for name, weight in given.items() if weight} == {"old": 100}
