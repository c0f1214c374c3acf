"""Tests whether one column has moved against what the others say of it: sharper than looking at it alone."""

from dataclasses import dataclass

import numpy as np

from penstock_operator.core.drift import tails
from penstock_operator.core.drift.tally import Floats, Frame, Places, Tallies

#: A column that the others foretell better than this would be judged by a small and odd remainder.
_INFLATION_MAX = 4.0
#: Remainders are no normal numbers; the means of so many rows are, as far out as a budget looks.
_ROWS_MIN = 1000
_ROWS_PER_KURTOSIS = 100.0
#: Where many columns have moved together, one that has not is what looks odd. The one that is named must itself have
#: moved, by so many errors and in the same direction.
_ALONE_MIN = 2.5
_RIDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitener:
    """``places`` of the columns that are compared, among the crossed ones and among all; what turns means into z.

    ``transform`` (columns, columns) takes differences of mean scores to the remainders that the other columns do not
    foretell, each divided by its error for one row.
    """

    crossed: Places
    places: Places
    means: Floats
    deviations: Floats
    transform: Floats
    rows: float
    rows_needed: float

    @property
    def usable(self) -> bool:
        """Whether there is another column to foretell one."""
        return len(self.places) > 1


def whitener_of(frame: Frame, reference: Tallies, kurtosis: Floats) -> Whitener:
    """Return it for the columns that vary; with fewer than two there is nothing to foretell."""
    rows = max(float(reference.test_rows[0]), 1.0)
    usable = np.flatnonzero(np.isfinite(kurtosis) & (kurtosis * _ROWS_PER_KURTOSIS < rows))
    means = reference.cross_sums[0, usable] / rows
    covariance = reference.cross[0][np.ix_(usable, usable)] / rows - np.outer(means, means)
    return Whitener(
        crossed=usable,
        places=np.array(frame.crossed, dtype=np.intp)[usable],
        means=means,
        deviations=np.sqrt(np.diag(covariance)),
        transform=_transform(covariance),
        rows=rows,
        rows_needed=max(_ROWS_MIN, _ROWS_PER_KURTOSIS * float(kurtosis[usable].max(initial=0.0))),
    )


def _transform(covariance: Floats) -> Floats:
    """Return the precision matrix scaled to z of variance 1, with as much ridge as keeps every remainder sizeable."""
    if len(covariance) < 2:  # noqa: PLR2004
        return np.zeros_like(covariance)
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    precision = next(
        one
        for ridge in _RIDGES
        if np.diag(one := np.linalg.pinv(correlation + ridge * np.eye(len(scale)))).max() <= _INFLATION_MAX
    )
    errors = np.sqrt(np.maximum(np.diag(precision @ correlation @ precision), np.finfo(float).tiny))
    scaled: Floats = precision / errors[:, np.newaxis] / scale[np.newaxis, :]
    return scaled


def _scatter(whitener: Whitener, tallies: Tallies, means: Floats, rows: Floats) -> Floats:
    """Return (windows, columns): the variance of the remainders among live rows, 1 in the reference.

    Where columns no longer go together, remainders are larger, and a column that has not moved must not be said to.
    """
    squares = tallies.cross[:, whitener.crossed[:, np.newaxis], whitener.crossed] / rows[:, np.newaxis, np.newaxis]
    covariance = squares - means[:, :, np.newaxis] * means[:, np.newaxis, :]
    scatter: Floats = ((whitener.transform @ covariance) * whitener.transform).sum(axis=-1)
    return scatter


def p_values(whitener: Whitener, tallies: Tallies, columns: int) -> Floats:
    """Return (windows, columns): for the column that moved most, how likely that is; 1 for all others.

    Only one is named: where a column has moved, those that go with it have moved against what it says of them. A column
    that has not moved by itself is not named at all.
    """
    result = np.ones((len(tallies), columns))
    if not whitener.usable:
        return result
    rows = np.maximum(tallies.test_rows, 1.0)
    means = tallies.cross_sums[:, whitener.crossed] / rows[:, np.newaxis]
    errors = 1 / np.sqrt(rows / (1 + rows / whitener.rows))[:, np.newaxis]
    z = (means - whitener.means) @ whitener.transform.T / errors
    z /= np.sqrt(np.maximum(1.0, _scatter(whitener, tallies, means, rows)))
    alone = (means - whitener.means) / whitener.deviations / errors
    z = np.where(alone * np.sign(z) >= _ALONE_MIN, z, 0.0)
    most = np.abs(z).argmax(axis=1)
    windows = np.arange(len(tallies))
    p = tails.two_sided(z[windows, most])
    result[windows, whitener.places[most]] = np.where(tallies.test_rows >= whitener.rows_needed, p, 1.0)
    return result
