"""Weights that ready pods can carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.core.capacity import Pods, carried_percent, pods_needed, within_capacity
from penstock_operator.core.world import RevisionState


def four(ready: dict[str, int]) -> Pods:
    """Return pods of which four carry everything."""
    return Pods(ready=ready, full=4)


def test_a_revision_with_all_its_pods_gets_what_is_meant() -> None:
    meant = {"old": 75, "new": 25}
    given = within_capacity(meant, running={"old": 100}, pods=four({"old": 4, "new": 4}), stable="old")
    assert given == meant


def test_one_pod_less_of_four_changes_nothing() -> None:
    meant = {"old": 0, "new": 100}
    given = within_capacity(meant, running={"old": 50, "new": 50}, pods=four({"old": 4, "new": 3}), stable="old")
    assert given == meant


def test_on_the_way_up_stable_keeps_what_the_candidate_cannot_carry() -> None:
    given = within_capacity(
        {"old": 0, "new": 100}, running={"old": 50, "new": 50}, pods=four({"old": 4, "new": 2}), stable="old"
    )
    assert given == {"old": 50, "new": 50}


def test_on_the_way_back_the_candidate_keeps_for_a_while_what_stable_cannot_carry() -> None:
    pods = four({"old": 1, "new": 4})
    seen, running = [], {"old": 25, "new": 75}
    for waited in (0, 0, 10, 20, 20, 29):
        running = within_capacity({"old": 100}, running=running, pods=pods, stable="old", waited_seconds=waited)
        seen.append(running["old"])
    assert seen == [25, 25, 50, 75, 100, 100], "who has three quarters gets the rest"


def test_the_last_few_percent_come_back_at_once_even_to_a_stable_revision_with_too_few_pods() -> None:
    given = within_capacity(
        {"old": 100, "new": 0}, running={"old": 95, "new": 5}, pods=four({"old": 1, "new": 4}), stable="old"
    )
    assert given == {"old": 100, "new": 0}


def test_a_candidate_without_ready_pods_gives_everything_back_at_once() -> None:
    given = within_capacity(
        {"old": 100, "new": 0}, running={"old": 25, "new": 75}, pods=four({"old": 1, "new": 0}), stable="old"
    )
    assert given == {"old": 100, "new": 0}


def test_a_stable_revision_without_ready_pods_gets_no_more_than_it_has() -> None:
    given = within_capacity(
        {"old": 100, "new": 0}, running={"old": 50, "new": 50}, pods=four({"old": 0, "new": 4}), stable="old"
    )
    assert given == {"old": 50, "new": 50}


def test_with_no_ready_pod_anywhere_the_traffic_stays_with_stable() -> None:
    given = within_capacity({"old": 90, "new": 10}, running={"old": 90, "new": 10}, pods=four({}), stable="old")
    assert given == {"old": 100, "new": 0}


def test_several_challengers_are_bounded_each_by_its_own_pods() -> None:
    given = within_capacity(
        {"old": 20, "a": 40, "b": 40},
        running={"old": 100},
        pods=Pods(ready={"old": 10, "a": 2, "b": 10}, full=10),
        stable="old",
    )
    assert given == {"old": 40, "a": 20, "b": 40}


REVISIONS = ["old", "a", "b"]


CUTS = st.lists(st.integers(0, 100), min_size=2, max_size=2)
READY = st.fixed_dictionaries({name: st.integers(0, 12) for name in REVISIONS})


@given(cuts=CUTS, before=CUTS, ready=READY, full=st.integers(1, 10))
def test_weights_always_sum_to_100_and_candidates_never_get_more_than_is_carried(
    cuts: list[int], before: list[int], ready: dict[str, int], full: int
) -> None:
    meant, running, pods = shares(cuts), shares(before), Pods(ready=ready, full=full)
    result = within_capacity(meant, running=running, pods=pods, stable="old")
    assert sum(result.values()) == 100
    assert min(result.values()) >= 0
    for name in ("a", "b"):
        assert result.get(name, 0) <= min(pods.carry(name), max(meant[name], running[name]))
    if all(count >= full for count in ready.values()):
        assert result == meant


@given(before=CUTS, ready=READY, full=st.integers(1, 10))
def test_the_way_back_ends_after_half_a_minute_wherever_stable_has_a_ready_pod(
    before: list[int], ready: dict[str, int], full: int
) -> None:
    pods = Pods(ready=ready | {"old": max(1, ready["old"])}, full=full)
    given = within_capacity({"old": 100}, running=shares(before), pods=pods, stable="old", waited_seconds=30)
    assert {name: weight for name, weight in given.items() if weight} == {"old": 100}


def test_what_all_requests_need_is_what_stable_wants_or_less_where_nobody_has_so_many() -> None:
    def full(old: tuple[int, int], new: tuple[int, int]) -> int:
        states = {
            name: RevisionState(ready=ready, wanted=wanted)
            for name, (ready, wanted) in {"old": old, "new": new}.items()
        }
        return Pods.seen(states, "old", {}).full

    assert full((4, 4), (4, 4)) == 4
    assert full((2, 2), (10, 10)) == 2, "a candidate with more pods than stable makes stable no smaller"
    assert full((1, 4), (4, 4)) == 4, "stable lost some"
    assert full((2, 10), (2, 10)) == 2, "somebody asked for more pods just now"


def shares(cuts: list[int]) -> dict[str, int]:
    low, high = sorted(cuts)
    return {"a": low, "b": high - low, "old": 100 - high}


@pytest.mark.parametrize(("weight", "expected"), [(0, 0), (1, 1), (34, 2), (67, 3), (100, 3)])
def test_the_pods_that_a_weight_needs_are_rounded_up(weight: int, expected: int) -> None:
    assert pods_needed(weight_percent=weight, full=3) == expected


@given(weight=st.integers(0, 100), full=st.integers(1, 200))
def test_the_pods_that_a_weight_needs_carry_it(weight: int, full: int) -> None:
    assert carried_percent(ready=pods_needed(weight_percent=weight, full=full), full=full) >= weight
