"""Learns from past windows how widely a statistic scatters, where theory knows only how widely it can."""

from dataclasses import dataclass

import numpy as np

from penstock_operator.core.drift import tails
from penstock_operator.core.drift.tally import Floats, Places

#: From fewer steps a variance is too uncertain to be better than its bound.
_STEPS_MIN = 30.0
#: Steps overlap, so that their mean square is as uncertain as that of so many independent ones per step.
_FREEDOM_PER_STEP = 2 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How many steps of z there were before each of successive windows, and the sum of their squares."""

    count: Floats
    squares: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Steps of z from window to window, one entry per statistic, over all windows seen so far.

    z would have variance 1 if values were normal; it has more where columns depend on each other in other ways than
    normal ones do. Steps, unlike deviations from a mean, are as small after a drift as before it (von Neumann 1941): a
    drift that lasts does not excuse itself. A window too small for a statistic has NaN, and no step to or from it.
    """

    count: Floats
    squares: Floats
    #: z of the last window.
    last: Floats

    @classmethod
    def none(cls, statistics: int) -> "Spread":
        """Return that of no windows."""
        return cls(count=np.zeros(statistics), squares=np.zeros(statistics), last=np.full(statistics, np.nan))

    def along(self, z: Floats) -> Steps:
        """Return what is known before each of successive windows, and in the last entry after them."""
        steps = np.square(np.diff(np.concatenate([self.last[np.newaxis], z]), axis=0))
        known = np.isfinite(steps)
        return Steps(
            count=self.count + _running(known.astype(np.float64)),
            squares=self.squares + _running(np.where(known, steps, 0.0)),
        )

    def after(self, z: Floats) -> "Spread":
        """Return the spread with these windows added."""
        steps = self.along(z)
        return Spread(count=steps.count[-1], squares=steps.squares[-1], last=z[-1])


def _running(numbers: Floats) -> Floats:
    return np.concatenate([np.zeros((1, numbers.shape[1])), np.cumsum(numbers, axis=0)])


def p_values(z: Floats, steps: Steps, first: Places, *, variance_max: float) -> Floats:
    """Return (blocks, statistics): two-sided, by the variance that the windows before have shown; 1 where z is NaN.

    ``steps``: what ``along`` returned for the windows of this call; ``first``: the place among them of the first window
    that is new in each block. The variance is never taken below 1, and is ``variance_max`` where few steps were seen.
    """
    count = steps.count[first]
    variance = np.maximum(1.0, steps.squares[first] / np.maximum(count, 1.0) / 2)
    learned = tails.student(z / np.sqrt(variance), np.maximum(count * _FREEDOM_PER_STEP, 1.0))
    bounded = tails.two_sided(z / np.sqrt(variance_max))
    return np.where(np.isnan(z), 1.0, np.where(count >= _STEPS_MIN, learned, bounded))
