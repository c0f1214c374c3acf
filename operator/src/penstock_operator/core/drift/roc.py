"""The area under the ROC curve from counts of scores in bins, with its errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from scipy import special

from penstock_contract.feedback import NEGATIVE, POSITIVE, SCORE_BINS
from penstock_operator.core.drift.tally import Floats

#: With fewer labels of either class nothing is said.
_EACH_MIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """The area of so many rows of each class, and its standard error (DeLong and others 1988).

    Rows of one bin count as ties, by half. The area of the scores themselves is at most ``binning`` away.
    """

    area: float
    error: float
    binning: float
    positive: int
    negative: int


def area_of(scores: Mapping[str, Mapping[str, int]]) -> Area | None:
    """Return the area; None without labels of both classes.

    >>> found = area_of({"positive": {"70": 2}, "negative": {"60": 1, "70": 1}})
    >>> (found.area, found.binning) if found else None
    (0.75, 0.25)
    """
    positive, negative = _bins(scores.get(POSITIVE, {})), _bins(scores.get(NEGATIVE, {}))
    yes, no = float(positive.sum()), float(negative.sum())
    if not yes or not no:
        return None
    # How much of the other class is below each bin, and above it.
    below = (np.cumsum(negative) - negative / 2) / no
    above = (yes - np.cumsum(positive) + positive / 2) / yes
    area = float(positive @ below) / yes
    variance = (float(positive @ np.square(below)) / yes - area**2) / yes
    variance += (float(negative @ np.square(above)) / no - area**2) / no
    return Area(
        area=area,
        error=sqrt(max(variance, 0.0)),
        binning=float(positive @ negative) / (2 * yes * no),
        positive=round(yes),
        negative=round(no),
    )


def below(found: Area, limit: float) -> float:
    """Return how likely an area as small is if the true one is ``limit``; 1 for too few labels to say.

    Of all areas that the bins allow the largest counts. The error is never taken for smaller than that of ``limit``
    itself (Hanley and McNeil 1982), and logits are compared: near 1 an area is no normal number.
    """
    at_best = min(found.area + found.binning, 1.0)
    if min(found.positive, found.negative) < _EACH_MIN or at_best >= limit:
        return 1.0
    error = max(found.error, _hanley(limit, found.positive, found.negative))
    nearest = 0.5 / (found.positive * found.negative)
    inside = min(max(at_best, nearest), 1 - nearest)
    distance = log(inside / (1 - inside)) - log(limit / (1 - limit))
    return float(special.ndtr(distance * limit * (1 - limit) / error))


def _hanley(area: float, positive: int, negative: int) -> float:
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positive - 1) * (first - area**2) + (negative - 1) * (second - area**2)
    return sqrt(variance / (positive * negative))


def _bins(row: Mapping[str, int]) -> Floats:
    bins = np.zeros(SCORE_BINS)
    for place, count in row.items():
        bins[int(place)] = count
    return bins
