"""Tail probabilities that stay right far out, where budgets of one false alarm in a month live."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from penstock_operator.core.drift.tally import Floats

_STEPS = 60
_CONVERGED = 1e-9
#: Nearer to the middle the saddlepoint formula divides by nothing, and the normal one is good.
_MIDDLE = 1.0


def two_sided(z: Floats) -> Floats:
    """Return the probability of a normal number at least as far from 0."""
    tail: Floats = 2 * special.ndtr(-np.abs(z))
    return tail


def student(t: Floats, freedom: Floats | float) -> Floats:
    """Return the probability of a Student number with so many degrees of freedom at least as far from 0."""
    tail: Floats = 2 * special.stdtr(freedom, -np.abs(t))
    return tail


def chi_squared(statistic: Floats, freedom: Floats) -> Floats:
    """Return the probability of a chi-squared number at least as large; 1 without degrees of freedom."""
    tail: Floats = np.where(freedom > 0, special.gammaincc(np.maximum(freedom, 1) / 2, np.maximum(statistic, 0) / 2), 1)
    return tail


def more_often(hits: float, rows: float, reference_hits: float, reference_rows: float) -> float:
    """Return how likely at least so many hits are if both have the same rate: Fisher's exact test, one-sided.

    Given all hits, those among ``rows`` are hypergeometric. It holds for a reference without any hit, too.

    >>> round(more_often(1, 100, 0, 900), 3)
    0.1
    """
    total, pool = hits + reference_hits, rows + reference_rows
    highest = min(total, rows)
    if hits <= max(0.0, total - reference_rows):
        return 1.0
    counts = np.arange(hits, highest + 1)
    logs = _choose(total, counts) + _choose(pool - total, rows - counts) - _choose(np.float64(pool), np.float64(rows))
    return float(min(1.0, np.exp(logs).sum()))


def _choose(total: Floats | float, taken: Floats | float) -> Floats:
    logs: Floats = special.gammaln(np.add(total, 1.0)) - special.gammaln(np.add(taken, 1.0))
    result: Floats = logs - special.gammaln(np.subtract(total, taken) + 1.0)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Differences between two means of scores, one per entry.

    ``shares`` (entries, bins): how often each score is drawn under the hypothesis; ``scores`` likewise;
    ``difference``, ``rows`` and ``reference_rows`` (entries,).
    """

    shares: Floats
    scores: Floats
    difference: Floats
    rows: Floats
    reference_rows: Floats


def means_differ(means: Means) -> Floats:
    """Return how likely differences at least as large, in their direction, are; doubled, for both directions.

    Lugannani and Rice's formula with the cumulants of both samples, so that skewed and coarse scores have the
    right tail, where the normal one is wrong by orders of magnitude. A lattice is corrected by half its step.
    """
    sign = np.sign(means.difference)
    scores = means.scores * sign[:, np.newaxis]
    distance = np.abs(means.difference) - _half_step(means)
    ratio = means.rows / means.reference_rows
    tilt, curvature, generated = _solve(means.shares, scores, distance, ratio)
    # Everything is per row; times rows it is of the sample.
    exponent = means.rows * (tilt * distance - generated)
    root = np.sqrt(2 * np.maximum(exponent, 0))
    scaled = np.maximum(tilt * np.sqrt(means.rows * np.maximum(curvature, 0)), np.finfo(float).tiny)
    far = root > _MIDDLE
    safe = np.where(far, root, 1.0)
    density = np.exp(-np.square(safe) / 2) / np.sqrt(2 * np.pi)
    with np.errstate(divide="ignore", over="ignore"):
        tail = special.ndtr(-safe) + density * (1 / scaled - 1 / safe)
    # Where the tilt has run away, the bound that it was to sharpen still holds.
    bound = np.exp(-np.maximum(exponent, 0))
    tail = np.where(far & np.isfinite(tail), np.clip(tail, 0, bound), np.minimum(bound, special.ndtr(-root)))
    both: Floats = np.minimum(1.0, 2 * np.where(distance > 0, tail, 0.5))
    return both


def _half_step(means: Means) -> Floats:
    ordered = np.sort(np.where(means.shares > 0, means.scores, np.inf), axis=1)
    with np.errstate(invalid="ignore"):
        steps = np.diff(ordered, axis=1)
    steps = np.where(np.isfinite(steps) & (steps > 0), steps, np.inf)
    smallest = steps.min(axis=1, initial=np.inf)
    return np.where(np.isfinite(smallest), smallest, 0.0) / means.rows / 2


def _solve(shares: Floats, scores: Floats, distance: Floats, ratio: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the saddlepoint, curvature and cumulant there, by bisection: slower than Newton, but it never leaves."""
    low = np.zeros(len(distance))
    span = np.ptp(scores, axis=1)
    high = 60.0 / np.where(span > 0, span, 1.0)
    for _ in range(_STEPS):
        # Each entry stops by itself, so that it does not depend on which others it is computed with.
        going = high - low > _CONVERGED * high
        if not going.any():
            break
        middle = (low + high) / 2
        _, slope, _ = _two_samples(shares, scores, middle, ratio)
        above = slope > distance
        high = np.where(going & above, middle, high)
        low = np.where(going & ~above, middle, low)
    tilt = (low + high) / 2
    generated, _, curvature = _two_samples(shares, scores, tilt, ratio)
    return tilt, curvature, generated


def _two_samples(shares: Floats, scores: Floats, tilt: Floats, ratio: Floats) -> tuple[Floats, Floats, Floats]:
    value, slope, curve = _cumulants(shares, scores, tilt)
    other_value, other_slope, other_curve = _cumulants(shares, scores, -tilt * ratio)
    return value + other_value / ratio, slope - other_slope, curve + other_curve * ratio


def _cumulants(shares: Floats, scores: Floats, tilt: Floats) -> tuple[Floats, Floats, Floats]:
    exponents = scores * tilt[:, np.newaxis]
    largest = exponents.max(axis=1, keepdims=True)
    weights = shares * np.exp(exponents - largest)
    total = weights.sum(axis=1)
    mean = (weights * scores).sum(axis=1) / total
    variance = (weights * np.square(scores - mean[:, np.newaxis])).sum(axis=1) / total
    return np.log(total) + largest[:, 0], mean, variance


def weighted_chi_squared(statistic: Floats, weights: Floats) -> Floats:
    """Return the probability that a sum of squares of normal numbers, each times its weight, is at least as large.

    By the saddlepoint formula of Lugannani and Rice (1980), as Kuonen (1999) has it: good to a few percent however far
    out. Below the mean, where nobody asks, it is 1. ``weights`` are above 0, at least one.
    """
    mean = float(weights.sum())
    p = np.ones(len(statistic))
    for place in np.flatnonzero(statistic > mean * (1 + _ABOVE_THE_MEAN)):
        p[place] = _upper_tail(float(statistic[place]), weights)
    return p


#: Nearer to the mean the formula divides by nothing.
_ABOVE_THE_MEAN = 0.01


def _upper_tail(statistic: float, weights: Floats) -> float:
    low, high = 0.0, 0.5 / float(weights.max())
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if float((weights / (1 - 2 * middle * weights)).sum()) < statistic:
            low = middle
        else:
            high = middle
    left = 1 - 2 * low * weights
    w = np.sqrt(2 * (low * statistic + 0.5 * float(np.log(left).sum())))
    v = low * np.sqrt(2 * float(np.square(weights / left).sum()))
    return float(special.ndtr(-(w + np.log(v / w) / w)))
