"""Where runs happen, by what they took before."""

import math

import numpy as np
import pytest

from penstock_server.pace import INLINE_SECONDS_MAX, Pace, Where
from penstock_server.protocol import Array


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def rows(count: int) -> dict[str, Array]:
    return {"x": np.zeros((count, 30), np.float32)}


def test_a_model_that_was_never_measured_runs_in_a_thread() -> None:
    pace = Pace()
    assert math.isnan(pace.expected_seconds(rows(1)))
    assert pace.where(rows(1)) is Where.THREAD


@pytest.mark.parametrize(("seconds", "where"), [(0.00002, Where.INLINE), (0.002, Where.THREAD)])
def test_a_measured_model_runs_where_it_costs_least(seconds: float, where: Where) -> None:
    pace = Pace()
    pace.ran(rows(1), seconds)
    assert pace.where(rows(1)) is where


def test_many_rows_of_a_quick_model_run_in_a_thread_until_they_prove_quick_too() -> None:
    pace = Pace()
    pace.ran(rows(1), 0.00002)
    assert pace.where(rows(10_000)) is Where.THREAD
    pace.ran(rows(10_000), 0.0005)
    assert pace.where(rows(10_000)) is Where.INLINE
    assert pace.expected_seconds(rows(1)) == 0.00002


def test_one_slow_run_does_not_move_a_quick_model() -> None:
    pace = Pace()
    pace.ran(rows(1), 0.00002)
    pace.ran(rows(1), INLINE_SECONDS_MAX * 5)
    assert pace.where(rows(1)) is Where.INLINE


def test_after_a_run_that_had_to_be_ended_nothing_runs_inline_for_a_while_and_longer_each_time() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.ran(rows(1), 0.00002)
    penalties = []
    for _ in range(12):
        penalties.append(pace.ran_over())
        clock.now += penalties[-1] - 0.001
        assert pace.where(rows(1)) is Where.THREAD
        clock.now += 0.002
        assert pace.where(rows(1)) is Where.INLINE
    assert penalties == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0, 3600.0, 3600.0, 3600.0]


def test_inputs_without_elements_count_too() -> None:
    pace = Pace()
    pace.ran({}, 0.00001)
    assert pace.where(rows(0)) is Where.INLINE
