"""Tests whether inputs matter in the same order as they did: nDCG of the feature contribution index.

The ranking by how much of the outputs each input explains now is worth what the inputs explained in the reference,
those that come first the most; 1 is the reference's own ranking (Järvelin and Kekäläinen 2002).
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from penstock_operator.core.drift import contribution
from penstock_operator.core.drift.tally import Floats, Frame, Tallies

#: Fewer inputs have no order.
INPUTS_MIN = 2
_ROWS_MIN = 50
_STEPS = 30
_Z_MAX = 40.0
#: The rows may allow a world like the reference's in which all inputs explain so many times as much.
_SCALES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 1.4, 2.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """``gains`` (inputs,): the share of the outputs that each input explained in the reference."""

    gains: Floats

    @property
    def usable(self) -> bool:
        """Whether there is an order that could change."""
        return len(self.gains) >= INPUTS_MIN and bool(self.gains.max(initial=0.0) > 0)


def order_of(frame: Frame, reference: Tallies) -> Order:
    """Return the reference's order."""
    if not frame.contributing or not frame.inputs:
        return Order(gains=np.zeros(0))
    return Order(gains=np.nan_to_num(_mean(_explained(frame, reference)))[0])


def ndcg(gains: Floats, live: Floats) -> float:
    """Return what the ranking by ``live`` is worth; of inputs that share a place the better one comes first.

    >>> round(ndcg(np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.2, 0.1])), 3)
    1.0
    >>> round(ndcg(np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])), 3)
    0.702
    """
    ideal = float(np.sort(gains)[::-1] @ _discounts(len(gains)))
    return float(gains[np.lexsort((-gains, -live))] @ _discounts(len(gains))) / ideal if ideal > 0 else 1.0


def p_values(frame: Frame, order: Order, live: Tallies, *, ndcg_min: float) -> Floats:
    """Return (windows, 1): how likely such a ranking is by chance if the true one is worth ``ndcg_min``.

    For each window, the widest errors of all contributions at which no ranking that they allow is worth as much.
    """
    result = np.ones((len(live), 1))
    if not order.usable:
        return result
    explained = _explained(frame, live)
    for window, shares in enumerate(explained):
        rows = float(live.bins[window, : frame.inputs].sum(axis=-1).min())
        known = np.isfinite(shares).all(axis=1)
        if rows < _ROWS_MIN or not known.any() or ndcg(order.gains, _mean(shares[known])) >= ndcg_min:
            continue
        z = _widest(order, shares[known], rows, ndcg_min)
        result[window, 0] = min(1.0, 2 * shares[known].size * float(special.ndtr(-z)))
    return result


def seen(frame: Frame, order: Order, live: Tallies) -> tuple[float, int] | None:
    """Return the nDCG of one window, and the input that counts for less than before by most; None where none is."""
    live_shares = _mean(_explained(frame, live))[0] if order.usable else np.zeros(0)
    if not len(live_shares) or not np.isfinite(live_shares).all():
        return None
    gains, discounts = order.gains, _discounts(len(order.gains))
    now, before = np.empty(len(gains)), np.empty(len(gains))
    now[np.lexsort((-gains, -live_shares))] = discounts
    before[np.argsort(-gains, kind="stable")] = discounts
    return ndcg(gains, live_shares), int(np.argmax(gains * (before - now)))


def _widest(order: Order, shares: Floats, rows: float, ndcg_min: float) -> float:
    """Return the largest number of errors within which every ranking is worth less; 0 if there is none."""
    low, high = 0.0, _Z_MAX
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _best(order, shares, rows, middle) < ndcg_min:
            low = middle
        else:
            high = middle
    return low


def _best(order: Order, shares: Floats, rows: float, z: float) -> float:
    """Return what the ranking is worth that is most like the reference's, each input being ``z`` errors off at most.

    Errors are those of Fisher's transform of a correlation, as wide as contributions are taken to scatter at most.
    """
    middle = np.arctanh(np.sqrt(np.clip(shares, 0.0, 1 - 1e-12)))
    error = z * np.sqrt(contribution.VARIANCE_MAX / max(rows - 3, 1.0))
    least = np.square(np.tanh(np.maximum(middle - error, 0.0))).mean(axis=0)
    most = np.square(np.tanh(middle + error)).mean(axis=0)
    return max(ndcg(order.gains, np.clip(order.gains * scale, least, most)) for scale in _SCALES)


def _explained(frame: Frame, tallies: Tallies) -> Floats:
    """Return (windows, outputs, inputs), none below 0."""
    return np.maximum(contribution.index_of(frame, tallies), 0.0)


def _mean(shares: Floats) -> Floats:
    """Return the mean over outputs, of those that vary; NaN where none does."""
    known = np.isfinite(shares)
    count = known.sum(axis=-2)
    mean: Floats = np.where(known, shares, 0.0).sum(axis=-2) / np.where(count > 0, count, np.nan)
    return mean


def _discounts(length: int) -> Floats:
    discounts: Floats = 1 / np.log2(np.arange(2, length + 2))
    return discounts
