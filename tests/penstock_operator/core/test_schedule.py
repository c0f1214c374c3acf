"""The steps that a strategy says."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.api.v1alpha1.traffic_split import Strategy
from penstock_operator.core.schedule import steps_of


def weights(**schedule: Any) -> list[int | None]:
    return [step.weight for step in steps_of(Strategy.parse({"schedule": {"every": "2m", **schedule}}))]


def test_written_steps_are_taken_as_they_are() -> None:
    strategy = Strategy.parse({"steps": [{"weight": 5, "hold": "2m"}, {"pause": {}}, {"weight": 100}]})
    assert steps_of(strategy) == tuple(strategy.steps)


def test_an_exponential_schedule_doubles_the_weight() -> None:
    assert weights(kind="Exponential") == [1, 2, 4, 8, 16, 32, 64, 100]


def test_a_linear_schedule_adds_as_many_points_each_time() -> None:
    assert weights(**{"kind": "Linear", "from": 20, "by": 30}) == [20, 50, 80, 100]


def test_after_the_last_weight_of_the_rule_comes_everything() -> None:
    assert weights(**{"kind": "Linear", "from": 10, "to": 30, "by": 10}) == [10, 20, 30, 100]


def test_each_step_has_the_time_and_the_requirement_of_the_rule() -> None:
    steps = steps_of(Strategy.parse({"schedule": {"kind": "Exponential", "every": "90s", "require": "Pass"}}))
    assert {(step.hold.total_seconds(), step.require, step.pause) for step in steps} == {(90.0, "Pass", None)}


@given(
    kind=st.sampled_from(["Linear", "Exponential"]),
    start=st.integers(1, 100),
    to=st.integers(1, 100),
    by=st.integers(1, 100),
)
def test_every_schedule_rises_and_ends_with_everything(kind: str, start: int, to: int, by: int) -> None:
    found = weights(kind=kind, by=by, **{"from": min(start, to), "to": max(start, to)})
    assert found[-1] == 100
    assert all(low is not None and high is not None and low < high for low, high in pairwise(found))


@pytest.mark.parametrize("schedule", [{"from": 0}, {"by": 0}, {"to": 1000}], ids=str)
def test_what_the_schema_would_refuse_ends_all_the_same(schedule: dict[str, int]) -> None:
    assert weights(kind="Linear", **schedule)[-1] == 100


def test_a_strategy_without_steps_is_one_step() -> None:
    assert [step.weight for step in steps_of(Strategy.parse({}))] == [100]
