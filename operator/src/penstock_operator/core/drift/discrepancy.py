"""Tests whether inputs go together as they did in any way at all: the maximum mean discrepancy, from sums of waves.

It finds what each input by itself and each pair's correlation miss: a ring instead of a cloud, or three inputs of which
each two are independent and all three are not.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from penstock_contract.waves import WAVE_SCALE, Sea
from penstock_operator.core.drift import tails
from penstock_operator.core.drift.tally import Floats, Tallies

#: The means of so many rows are near enough to normal ones, with their skewness taken into account.
_ROWS_MIN = 400
#: Two tests: one for a change that many waves see a little of, one for a change that few see all of.
_TESTS = 2
#: Farther out than this a skewed mean's tail is not the series' any more; no budget asks for it.
_Z_MAX_ROOT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Waters:
    """The reference's waves: their means, how they scatter, and of how many rows."""

    means: Floats
    variances: Floats
    skews: Floats
    spectrum: Floats
    rows: float


def waters_of(sea: Sea | None, reference: Tallies) -> Waters | None:
    """Return them; None of a profile without waves."""
    if sea is None or not reference.waves.shape[1]:
        return None
    rows = float(reference.waves[0, 0])
    return Waters(
        means=reference.waves[0, 1:] / rows / WAVE_SCALE,
        variances=np.array(sea.variances),
        skews=np.array(sea.skews),
        spectrum=np.array(sea.spectrum),
        rows=rows,
    )


def p_values(waters: Waters, live: Tallies) -> Floats:
    """Return (windows, 1): how likely means as far from the reference's are by chance; 1 for too few rows to say."""
    rows = live.waves[:, 0]
    difference = _difference(waters, live)
    pairs = rows / (1 + rows / waters.rows)
    together = tails.weighted_chi_squared(pairs * np.square(difference).sum(axis=1), waters.spectrum)
    alone = _alone(waters, difference, rows, pairs)
    p = np.minimum(1.0, _TESTS * np.minimum(together, alone))
    return np.where(rows >= _ROWS_MIN, p, 1.0)[:, np.newaxis]


def distance(waters: Waters, live: Tallies) -> float:
    """Return the discrepancy of one window, less what chance makes: 0 for the same distribution, 1 for another world.

    In units of the kernel: the root of the mean squared difference of waves, over that of a wave of full height.
    """
    rows = live.waves[:, 0]
    if rows[0] <= 0:
        return 0.0
    squares = float(np.square(_difference(waters, live)).sum())
    chance = float(waters.variances.sum()) * float(1 / rows[0] + 1 / waters.rows)
    return float(np.sqrt(2 * max(0.0, squares - chance) / len(waters.means)))


def _difference(waters: Waters, live: Tallies) -> Floats:
    means: Floats = live.waves[:, 1:] / np.maximum(live.waves[:, :1], 1.0) / WAVE_SCALE - waters.means
    return means


def _alone(waters: Waters, difference: Floats, rows: Floats, pairs: Floats) -> Floats:
    """Return how likely the wave that moved most is, by chance, among all that move at all.

    The first term of Cramér's series makes good that a mean of skewed numbers is skewed itself.
    """
    moves = waters.variances > 0
    if not moves.any():
        return np.ones(len(difference))
    z = difference[:, moves] * np.sqrt(pairs)[:, np.newaxis] / np.sqrt(waters.variances[moves])
    root = np.sqrt(np.maximum(rows, 1.0))[:, np.newaxis]
    reach = np.minimum(np.abs(z), _Z_MAX_ROOT * root)
    log_tail = special.log_ndtr(-np.abs(z)) + np.maximum(np.sign(z) * waters.skews[moves] * reach**3 / (6 * root), 0.0)
    p: Floats = np.exp(np.minimum(log_tail.min(axis=1) + np.log(2 * int(moves.sum())), 0.0))
    return p
