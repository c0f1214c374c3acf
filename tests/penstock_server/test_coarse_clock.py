"""The coarse clock tells the time of day, to a few milliseconds."""

import time

from penstock_server import coarse_clock


def test_the_coarse_clock_is_behind_the_exact_one_by_no_more_than_a_tick() -> None:
    earliest = time.time()
    told = [coarse_clock.now() for _ in range(100)]
    latest = time.time()
    assert earliest - 0.05 <= told[0] <= told[-1] <= latest


def test_the_coarse_clock_goes_on() -> None:
    first, ends = coarse_clock.now(), time.monotonic() + 5
    while coarse_clock.now() == first:
        assert time.monotonic() < ends
