"""Weights that ready pods can carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.core.capacity import carried_percent, pods_needed, within_capacity


def test_a_revision_with_all_its_pods_gets_what_is_meant() -> None:
    meant = {"old": 75, "new": 25}
    given = within_capacity(meant, running={"old": 100}, ready={"old": 4, "new": 4}, full=4, stable="old")
    assert given == meant


def test_one_pod_less_of_four_changes_nothing() -> None:
    meant = {"old": 0, "new": 100}
    given = within_capacity(meant, running={"old": 50, "new": 50}, ready={"old": 4, "new": 3}, full=4, stable="old")
    assert given == meant


def test_on_the_way_up_stable_keeps_what_the_candidate_cannot_carry() -> None:
    given = within_capacity(
        {"old": 0, "new": 100}, running={"old": 50, "new": 50}, ready={"old": 4, "new": 2}, full=4, stable="old"
    )
    assert given == {"old": 50, "new": 50}


def test_on_the_way_back_stable_gets_no_more_than_it_can_carry_and_the_candidate_no_more_than_it_has() -> None:
    given = within_capacity(
        {"old": 100, "new": 0}, running={"old": 25, "new": 75}, ready={"old": 1, "new": 4}, full=4, stable="old"
    )
    assert given == {"old": 25, "new": 75}


def test_a_candidate_without_ready_pods_gives_everything_back_at_once() -> None:
    given = within_capacity(
        {"old": 100, "new": 0}, running={"old": 25, "new": 75}, ready={"old": 1, "new": 0}, full=4, stable="old"
    )
    assert given == {"old": 100, "new": 0}


def test_a_stable_revision_that_lost_all_its_pods_gets_nothing_while_another_one_answers() -> None:
    given = within_capacity(
        {"old": 95, "new": 5}, running={"old": 95, "new": 5}, ready={"old": 0, "new": 2}, full=4, stable="old"
    )
    assert given == {"old": 0, "new": 100}


def test_with_no_ready_pod_anywhere_the_traffic_stays_with_stable() -> None:
    given = within_capacity({"old": 90, "new": 10}, running={"old": 90, "new": 10}, ready={}, full=4, stable="old")
    assert given == {"old": 100, "new": 0}


def test_several_challengers_are_bounded_each_by_its_own_pods() -> None:
    given = within_capacity(
        {"old": 20, "a": 40, "b": 40},
        running={"old": 100},
        ready={"old": 10, "a": 2, "b": 10},
        full=10,
        stable="old",
    )
    assert given == {"old": 40, "a": 20, "b": 40}


REVISIONS = ["old", "a", "b"]


@given(
    cuts=st.lists(st.integers(0, 100), min_size=2, max_size=2),
    before=st.lists(st.integers(0, 100), min_size=2, max_size=2),
    ready=st.lists(st.integers(0, 12), min_size=3, max_size=3),
    full=st.integers(1, 10),
)
def test_weights_always_sum_to_100_and_never_exceed_what_is_carried_where_somebody_can(
    cuts: list[int], before: list[int], ready: list[int], full: int
) -> None:
    meant = shares(cuts)
    running = shares(before)
    pods = dict(zip(REVISIONS, ready, strict=True))
    result = within_capacity(meant, running=running, ready=pods, full=full, stable="old")
    assert sum(result.values()) == 100
    assert min(result.values()) >= 0
    if all(count >= full for count in ready):
        assert result == meant
    carried = {name: carried_percent(ready=pods[name], full=full) for name in REVISIONS}
    if ready[0] > 0:
        for name in ("a", "b"):
            assert result.get(name, 0) <= min(carried[name], max(meant[name], running[name]))
    if result["old"] > carried["old"]:
        others = ("a", "b")
        held = all(result[name] == min(carried[name], max(meant[name], running[name])) for name in others)
        assert held, "stable is overloaded only where nobody else may take it"


def shares(cuts: list[int]) -> dict[str, int]:
    low, high = sorted(cuts)
    return {"a": low, "b": high - low, "old": 100 - high}


@pytest.mark.parametrize(("weight", "expected"), [(0, 0), (1, 1), (34, 2), (67, 3), (100, 3)])
def test_the_pods_that_a_weight_needs_are_rounded_up(weight: int, expected: int) -> None:
    assert pods_needed(weight_percent=weight, full=3) == expected


@given(weight=st.integers(0, 100), full=st.integers(1, 200))
def test_the_pods_that_a_weight_needs_carry_it(weight: int, full: int) -> None:
    assert carried_percent(ready=pods_needed(weight_percent=weight, full=full), full=full) >= weight
