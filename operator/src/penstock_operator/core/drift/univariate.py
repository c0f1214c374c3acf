"""Tests each column's histogram against the reference's: any change of shape, of location, of dispersion."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from penstock_operator.core.drift import tails
from penstock_operator.core.drift.tally import Floats, Frame, Places, Tallies

#: A pooled bin expects at least so many live rows. With 5, the usual rule, false alarms at one in a million come
#: several times too often.
_EXPECTED_MIN = 8.0
_GROUPS_MAX = 32
#: Power divergence with exponent 2/3 (Cressie and Read 1984): nearest to chi-squared far out, where Pearson's
#: statistic raises three times too many alarms and the likelihood ratio two.
_EXPONENT = 2 / 3
#: How the tests share a column's p-value: most for the changes that are hardest to see.
_SHAPE, _LOCATION, _DISPERSION = 2, 4, 3
CONDITIONAL = 4
#: Normal tails serve above; below, where a mistake would cost the budget, the exact ones.
_REFINE_BELOW = 0.02
_FISHER_BELOW = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What does not change from window to window."""

    #: (columns, width) rows in each bin, and 1 where there is a bin.
    bins: Floats
    used: Floats
    #: (2, columns, width): location and dispersion, each of mean 0 and variance 1 in the reference.
    scores: Floats

    @property
    def rows(self) -> Floats:
        """Rows with a finite value, per column."""
        total: Floats = self.bins.sum(axis=-1)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Neighbouring bins put together, so that each expects enough rows; ``to`` (columns, width): a bin's group."""

    to: Places
    reference: Floats
    #: (columns, groups): 1 where there is a group.
    used: Floats

    @property
    def groups(self) -> Floats:
        """How many groups each column has."""
        count: Floats = self.used.sum(axis=-1)
        return count

    def of(self, bins: Floats) -> Floats:
        """Return (windows, columns, groups)."""
        return _pooled(bins, self.to)


def reference_of(frame: Frame, tallies: Tallies) -> Reference:
    """Return the reference of tallies with one entry."""
    bins = tallies.bins[0]
    used = np.zeros_like(bins)
    for place, column in enumerate(frame.columns):
        used[place, : column.bins] = 1
    scores = np.stack([_scores(line, int(one.sum())) for line, one in zip(bins, used, strict=True)], axis=1)
    return Reference(bins=bins, used=used, scores=scores)


def _scores(counts: Floats, bins: int) -> Floats:
    """Return the normal score of each bin's middle rank, and its square, straightened."""
    result = np.zeros((2, len(counts)))
    total = counts.sum()
    if not total:
        return result
    middle = (np.cumsum(counts) - counts / 2) / total
    nearest = 0.5 / (total + 1)
    shares = counts / total
    location = _standardised(_normal(np.clip(middle, nearest, 1 - nearest)), shares)
    square = np.square(location)
    dispersion = _standardised(square - location * float(shares @ (square * location)), shares)
    result[0, :bins], result[1, :bins] = location[:bins], dispersion[:bins]
    return result


def _normal(shares: Floats) -> Floats:
    quantiles: Floats = special.ndtri(shares)
    return quantiles


def _standardised(scores: Floats, shares: Floats) -> Floats:
    centred = scores - float(shares @ scores)
    variance = float(shares @ np.square(centred))
    # With two values the square says what the value says, and nothing is left of it.
    return centred / np.sqrt(variance) if variance > 1e-9 else np.zeros_like(scores)  # noqa: PLR2004


def pool(frame: Frame, reference: Reference, rows: float) -> Pooled:
    """Return the groups for windows of so many rows.

    A column that would have one group has two: its most frequent bin, and the rest.
    """
    # Bins behind a column's last are empty in every window: it does not matter where they go.
    to: Places = np.zeros(reference.bins.shape, dtype=np.intp)
    used = np.zeros((len(to), _GROUPS_MAX))
    for place, column in enumerate(frame.columns):
        groups = _groups(reference.bins[place, : column.bins], rows)
        to[place, : column.bins] = groups
        used[place, groups] = 1
    return Pooled(to=to, reference=_pooled(reference.bins[np.newaxis], to)[0], used=used)


def _pooled(bins: Floats, to: Places) -> Floats:
    windows, columns = bins.shape[:2]
    lines = np.arange(windows * columns).reshape(windows, columns, 1) * _GROUPS_MAX
    summed: Any = np.bincount((lines + to).ravel(), weights=bins.ravel(), minlength=windows * columns * _GROUPS_MAX)
    pooled: Floats = summed.reshape(windows, columns, _GROUPS_MAX)
    return pooled


def _groups(counts: Floats, rows: float) -> list[int]:
    total = counts.sum()
    if not total:
        return [0] * len(counts)
    expected = counts / total * rows
    enough = max(_EXPECTED_MIN, rows / _GROUPS_MAX * 0.75)
    groups: list[int] = []
    group, filled = 0, 0.0
    for one in expected.tolist():
        if filled >= enough and group < _GROUPS_MAX - 1:
            group, filled = group + 1, 0.0
        groups.append(group)
        filled += one
    if filled < enough and group:
        groups = [min(one, group - 1) for one in groups]
        group -= 1
    if group == 0:
        modal = int(np.argmax(counts))
        groups = [int(place != modal) for place in range(len(counts))]
    return groups


def weight(others: int) -> int:
    """Return the sum of the weights of all tests."""
    return _SHAPE + _LOCATION + _DISPERSION + others


def p_values(reference: Reference, pooled: Pooled, tallies: Tallies, *, others: int = 0) -> Floats:
    """Return (windows, columns): how likely a difference as large is by chance; 1 for a column without values.

    ``others``: the weight of tests that the caller adds, beside ``weight(0)`` of those here.
    """
    live, rows = tallies.bins, tallies.bins.sum(axis=-1)
    shape = _shape(pooled, pooled.of(live))
    location, dispersion = (_scored(reference, reference.scores[which], live, rows) for which in (0, 1))
    combined = np.minimum(
        1.0,
        weight(others) * np.minimum(shape / _SHAPE, np.minimum(location / _LOCATION, dispersion / _DISPERSION)),
    )
    twofold = pooled.groups == 2  # noqa: PLR2004
    if twofold.any():
        combined[:, twofold] = _exact(pooled, pooled.of(live), twofold)
    return np.where(rows > 0, combined, 1.0)


def _shape(pooled: Pooled, live: Floats) -> Floats:
    rows, reference_rows = live.sum(axis=-1, keepdims=True), pooled.reference.sum(axis=-1, keepdims=True)
    together = live + pooled.reference
    share = together / np.maximum(rows + reference_rows, 1.0)
    statistic = _divergence(live, share * rows) + _divergence(pooled.reference, share * reference_rows)
    freedom = (together > 0).sum(axis=-1) - 1.0
    return np.where(rows[..., 0] > 0, tails.chi_squared(statistic, freedom), 1.0)


def _divergence(observed: Floats, expected: Floats) -> Floats:
    ratio = np.where(expected > 0, observed / np.where(expected > 0, expected, 1.0), 1.0)
    total: Floats = (observed * (ratio**_EXPONENT - 1)).sum(axis=-1)
    return total * (2 / (_EXPONENT * (_EXPONENT + 1)))


def _scored(reference: Reference, scores: Floats, live: Floats, rows: Floats) -> Floats:
    share = live / np.maximum(rows, 1.0)[..., np.newaxis]
    difference = (share * scores).sum(axis=-1)
    reference_rows = np.maximum(reference.rows, 1.0)
    z = difference * np.sqrt(rows / (1 + rows / reference_rows))
    p = tails.two_sided(z)
    p = np.where(scores.any(axis=-1), p, 1.0)
    windows, columns = np.nonzero(p < _REFINE_BELOW)
    if len(windows):
        together = live[windows, columns] + reference.bins[columns]
        p[windows, columns] = tails.means_differ(
            tails.Means(
                shares=together / together.sum(axis=-1, keepdims=True),
                scores=scores[columns],
                difference=difference[windows, columns],
                rows=rows[windows, columns],
                reference_rows=reference_rows[columns],
            )
        )
    return p


def _exact(pooled: Pooled, live: Floats, twofold: Floats) -> Floats:
    """Return the p of columns of two groups: Fisher's exact one, both directions, where it is small."""
    places = np.flatnonzero(twofold)
    first, second = live[:, places, 0], live[:, places, 1]
    known_first, known_second = pooled.reference[places, 0], pooled.reference[places, 1]
    rows, reference_rows = first + second, known_first + known_second
    share = (second + known_second) / np.maximum(rows + reference_rows, 1)
    gap = second - rows * share
    variance = rows * share * (1 - share)
    z = np.where(variance > 0, (np.abs(gap) + 1) / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)
    p = np.minimum(1.0, tails.two_sided(z))
    for window, place in zip(*np.nonzero(p < _FISHER_BELOW), strict=True):
        rare = (second, known_second) if gap[window, place] > 0 else (first, known_first)
        tail = tails.more_often(rare[0][window, place], rows[window, place], rare[1][place], reference_rows[place])
        p[window, place] = min(1.0, 2 * tail)
    return p
