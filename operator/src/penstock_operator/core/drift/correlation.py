"""Tests each pair of inputs: whether they go together as they did in the reference."""

from dataclasses import dataclass

import numpy as np

from penstock_operator.core.drift.tally import Floats, Frame, Places, Tallies

#: The variance of Fisher's z is at most about this, where columns depend on each other as normal ones do not.
VARIANCE_MAX = 3.0
#: More pairs would each get too little of the budget.
PAIRS_MAX = 2016
#: A product of two scores is a rare event where both are lopsided; there must be enough rows for many of them.
_ROWS_PER_KURTOSIS = 5.0
#: Closer to 1, Fisher's z tells where the edges of bins lie; falling below it, that two columns have parted.
_NEARLY_ONE = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The pairs that can be compared. ``first`` and ``second`` among crossed columns; ``z`` is Fisher's."""

    first: Places
    second: Places
    z: Floats
    rows: float
    rows_needed: Floats

    def name(self, frame: Frame, place: int) -> str:
        """Return A~B for one pair."""
        crossed = frame.crossed
        both = (crossed[int(self.first[place])], crossed[int(self.second[place])])
        return "~".join(frame.columns[one].name.partition("/")[2] for one in both)


def pairs_of(frame: Frame, reference: Tallies) -> Pairs:
    """Return the pairs of columns that vary in the reference."""
    crossed = frame.crossed
    rows = float(reference.test_rows[0])
    first, second = np.triu_indices(len(crossed), 1)
    r = _correlations(reference, first, second)[0]
    kurtosis = kurtoses(frame, reference)
    product = kurtosis[first] * kurtosis[second] if len(crossed) else np.zeros(0)
    usable = np.isfinite(r) & np.isfinite(product)
    chosen = np.flatnonzero(usable)
    if len(chosen) > PAIRS_MAX:
        chosen = np.sort(chosen[np.argsort(-np.abs(r[chosen]), kind="stable")[:PAIRS_MAX]])
    return Pairs(
        first=first[chosen], second=second[chosen], z=_fisher(r[chosen]), rows=rows,
        rows_needed=_ROWS_PER_KURTOSIS * product[chosen],
    )  # fmt: skip


def statistics(pairs: Pairs, live: Tallies) -> Floats:
    """Return (windows, pairs): the difference of Fisher's z over its error; NaN where too few rows say nothing."""
    r = _correlations(live, pairs.first, pairs.second)
    rows = live.test_rows[:, np.newaxis]
    error = np.sqrt(1 / np.maximum(rows - 3, 1) + 1 / max(pairs.rows - 3, 1))
    z = (_fisher(r) - pairs.z) / error
    return np.where(np.isfinite(z) & (rows >= pairs.rows_needed), z, np.nan)


def _fisher(r: Floats) -> Floats:
    return np.arctanh(np.clip(r, -_NEARLY_ONE, _NEARLY_ONE))


def _correlations(tallies: Tallies, first: Places, second: Places) -> Floats:
    rows = np.maximum(tallies.test_rows, 1.0)[:, np.newaxis]
    means = tallies.cross_sums / rows
    variances = np.diagonal(tallies.cross, axis1=1, axis2=2) / rows - np.square(means)
    together = tallies.cross[:, first, second] / rows - means[:, first] * means[:, second]
    scale = variances[:, first] * variances[:, second]
    return np.where(scale > 0, together / np.sqrt(np.where(scale > 0, scale, 1.0)), np.nan)


def kurtoses(frame: Frame, reference: Tallies) -> Floats:
    """Return the kurtosis of the scores of each crossed column; NaN where they do not vary."""
    return np.array([_kurtosis(frame, reference, place) for place in frame.crossed], dtype=np.float64)


def _kurtosis(frame: Frame, reference: Tallies, place: int) -> float:
    column = frame.columns[place]
    # A missing value scores 0: a column that is mostly missing is a rare event, too.
    scores = np.array([*column.scores, 0, column.scores[0], column.scores[-1]], dtype=np.float64)
    counts = np.concatenate([reference.bins[0, place, : column.bins], reference.special[0, :, place]])
    if not counts.sum():
        return np.nan
    shares = counts / counts.sum()
    centred = scores - shares @ scores
    variance = float(shares @ np.square(centred))
    return float(shares @ centred**4) / variance**2 if variance > 0 else np.nan
