"""Where runs happen, by what they took before."""

import math

import numpy as np
import pytest

from penstock_server.pace import INLINE_SECONDS_MAX, Pace, size_of


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def rows(count: int) -> int:
    return size_of({"x": np.zeros((count, 30), np.float32)})


def test_a_model_that_was_never_measured_runs_in_a_thread() -> None:
    pace = Pace()
    assert math.isnan(pace.expected_seconds(rows(1)))
    assert not pace.inline(rows(1))


@pytest.mark.parametrize(("seconds", "inline"), [(0.00002, True), (0.002, False)])
def test_a_measured_model_runs_where_it_costs_least(seconds: float, *, inline: bool) -> None:
    pace = Pace()
    pace.ran(rows(1), seconds)
    assert pace.inline(rows(1)) is inline


def test_many_rows_of_a_quick_model_run_in_a_thread_until_they_prove_quick_too() -> None:
    pace = Pace()
    pace.ran(rows(1), 0.00002)
    assert not pace.inline(rows(10_000))
    pace.ran(rows(10_000), 0.0005)
    assert pace.inline(rows(10_000))
    assert not pace.inline(rows(20_000))
    assert pace.expected_seconds(rows(1)) == 0.00002


def test_runs_that_waited_for_a_cpu_do_not_move_a_quick_model() -> None:
    pace = Pace()
    pace.ran(rows(1), 0.00002)
    for _ in range(100):
        for seconds in (0.05, 0.00002, 0.02, 0.00003):
            pace.ran(rows(1), seconds)
    assert pace.inline(rows(1))


def test_a_model_that_became_slow_moves_and_one_that_became_quick_moves_back() -> None:
    pace = Pace()
    pace.ran(rows(1), 0.00002)
    for seconds, inline in ((INLINE_SECONDS_MAX * 2, False), (0.00002, True)):
        for _ in range(100):
            pace.ran(rows(1), seconds)
        assert pace.inline(rows(1)) is inline


def test_after_a_run_that_had_to_be_ended_nothing_runs_inline_for_a_while_and_longer_each_time() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.ran(rows(1), 0.00002)
    penalties = []
    for _ in range(12):
        penalties.append(pace.ran_over())
        clock.now += penalties[-1] - 0.001
        assert not pace.inline(rows(1))
        clock.now += 0.002
        assert pace.inline(rows(1))
    assert penalties == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0, 3600.0, 3600.0, 3600.0]


def test_inputs_without_elements_count_too() -> None:
    pace = Pace()
    pace.ran(size_of({}), 0.00001)
    assert pace.inline(rows(0))
