"""How far two histograms are apart, in the measures that people know."""

import numpy as np
from scipy import special

from penstock_operator.core.drift.tally import Floats

#: Jeffreys: half a row in every bin, so that an empty one does not make a distance infinite.
PRIOR = 0.5


def shares(counts: Floats, used: Floats, prior: float = PRIOR) -> Floats:
    """Return the share of each bin, smoothed; ``used`` is 1 where there is a bin and 0 where there is none."""
    smoothed: Floats = (counts + prior) * used
    total = smoothed.sum(axis=-1, keepdims=True)
    return smoothed / np.where(total > 0, total, 1.0)


def psi(live: Floats, reference: Floats) -> Floats:
    """Return the population stability index of shares, along the last dimension; in nats, symmetric.

    >>> float(psi(np.array([0.5, 0.5]), np.array([0.5, 0.5])))
    0.0
    """
    ratio = np.log(np.where(live > 0, live, 1.0)) - np.log(np.where(reference > 0, reference, 1.0))
    result: Floats = ((live - reference) * ratio).sum(axis=-1)
    return result


def jensen_shannon(live: Floats, reference: Floats) -> Floats:
    """Return the Jensen-Shannon divergence in nats, 0 to ln 2."""
    middle = (live + reference) / 2
    result: Floats = (special.rel_entr(live, middle) + special.rel_entr(reference, middle)).sum(axis=-1) / 2
    return result


def hellinger(live: Floats, reference: Floats) -> Floats:
    """Return the Hellinger distance, 0 to 1."""
    affinity = np.sqrt(live * reference).sum(axis=-1)
    result: Floats = np.sqrt(np.maximum(0.0, 1.0 - affinity))
    return result


def kolmogorov(live: Floats, reference: Floats) -> Floats:
    """Return the largest difference of the cumulative shares: the KS distance, less what hides inside a bin."""
    gaps = np.cumsum(live - reference, axis=-1)
    result: Floats = np.abs(gaps).max(axis=-1)
    return result


def wasserstein(live: Floats, reference: Floats, steps: Floats) -> Floats:
    """Return the area between the cumulative shares; ``steps`` are the distances from each bin to the next."""
    gaps = np.abs(np.cumsum(live - reference, axis=-1))
    result: Floats = (gaps * steps).sum(axis=-1)
    return result
