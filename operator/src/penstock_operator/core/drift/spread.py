"""Learns from past windows how widely a statistic scatters, where theory knows only how widely it can."""

from dataclasses import dataclass

import numpy as np

from penstock_operator.core.drift import tails
from penstock_operator.core.drift.tally import Floats

#: From fewer steps a variance is too uncertain to be better than its bound.
_STEPS_MIN = 30.0
#: Steps overlap, so that their mean square is as uncertain as that of so many independent ones per step.
_FREEDOM_PER_STEP = 2 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean square steps of z from window to window, one entry per statistic, from all windows seen so far.

    z would have variance 1 if values were normal; it has more where columns depend on each other in other ways than
    normal ones do. Steps, unlike deviations from a mean, are as small after a drift as before it (von Neumann 1941): a
    drift that lasts does not excuse itself.
    """

    steps: float
    squares: Floats
    #: z of the last window; NaN before the first one.
    last: Floats

    @classmethod
    def none(cls, count: int) -> "Spread":
        """Return that of no windows."""
        return cls(steps=0.0, squares=np.zeros(count), last=np.full(count, np.nan))

    def along(self, z: Floats) -> Floats:
        """Return the sum of squares before each of successive windows, and in the last entry after them."""
        before = np.concatenate([self.last[np.newaxis], z])
        squares = np.nan_to_num(np.square(np.diff(before, axis=0)))
        so_far: Floats = self.squares + np.concatenate([np.zeros((1, z.shape[1])), np.cumsum(squares, axis=0)])
        return so_far

    def steps_before(self, windows: Floats) -> Floats:
        """Return how many steps were seen before each of these windows, by place among the next ones."""
        seen: Floats = np.maximum(self.steps + windows - float(np.isnan(self.last).any()), 0.0)
        return seen

    def after(self, z: Floats) -> "Spread":
        """Return the spread with these windows added."""
        return Spread(
            steps=float(self.steps_before(np.array([float(len(z))]))[0]), squares=self.along(z)[-1], last=z[-1]
        )


def p_values(z: Floats, spread: Spread, squares: Floats, first: Floats, *, variance_max: float) -> Floats:
    """Return (blocks, statistics): two-sided, by the variance that the windows before have shown.

    ``squares``: what ``spread.along`` returned for the windows of this call; ``first``: the place among them of the
    first window that is new in each block. The variance is never taken below 1, and is ``variance_max`` where few
    windows were seen.
    """
    steps = spread.steps_before(first)[:, np.newaxis]
    variance = np.maximum(1.0, squares[first.astype(np.intp)] / np.maximum(steps, 1.0) / 2)
    learned = tails.student(z / np.sqrt(variance), np.maximum(steps * _FREEDOM_PER_STEP, 1.0))
    bounded = tails.two_sided(z / np.sqrt(variance_max))
    return np.where(steps >= _STEPS_MIN, learned, bounded)
