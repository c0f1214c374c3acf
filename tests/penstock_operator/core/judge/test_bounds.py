"""Bounds of a share hold at all times at once."""

import numpy as np
import pytest

from penstock_operator.core.judge.bounds import share_bounds


@pytest.mark.parametrize("share", [0.005, 0.1, 0.5])
def test_a_share_leaves_its_bounds_in_at_most_one_of_20_rollouts(share: float) -> None:
    left = 0
    for seed in range(100):
        errors = np.random.default_rng(seed).binomial(100, share, size=40).cumsum()
        bounds = [share_bounds(int(found), 100 * at) for at, found in enumerate(errors, 1)]
        left += any(not low <= share <= high for low, high in bounds)
    assert left / 100 <= 0.05


@pytest.mark.parametrize(("events", "n"), [(0, 1), (0, 10_000), (1, 1), (3, 7), (500, 10**9)])
def test_what_was_seen_is_within_the_bounds(events: int, n: int) -> None:
    low, high = share_bounds(events, n)
    assert 0 <= low <= events / n <= high <= 1
    assert (low == 0) == (events == 0)


def test_more_requests_leave_less_possible() -> None:
    widths = [high - low for low, high in (share_bounds(n // 100, n) for n in (100, 1_000, 10_000, 100_000))]
    assert widths == sorted(widths, reverse=True)
