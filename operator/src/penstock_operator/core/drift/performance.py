"""How often the model is right: estimated from its probabilities without labels, and counted from delayed labels."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import special

from penstock_contract.feedback import FeedbackCounts
from penstock_contract.profile import Calibration, Column, Derived, Profile, Role
from penstock_operator.core.drift.tally import Floats

_HALF = 0.5
_BINARY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An accuracy, its standard error, and over how many rows or labels it is."""

    accuracy: float
    error: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """Confidence-based estimation (CBPE) from bins: how often answers with such a probability were right.

    ``column`` is the place of the probability among all columns; ``right`` and ``rows`` (bins,): of the reference rows
    in each bin, the share for which the answer was right, and how many there were. It holds while a probability means
    what it meant: where inputs move, and not where the truth behind them does.
    """

    column: int
    right: Floats
    rows: Floats

    def of(self, bins: Floats) -> Estimate | None:
        """Return the accuracy of rows with these counts in the bins of the probability; None without any."""
        count = float(bins.sum())
        if not count:
            return None
        share = bins / count
        accuracy = float(share @ self.right)
        live = (float(share @ np.square(self.right)) - accuracy**2) / count
        known = float((np.square(share) * self.right * (1 - self.right) / np.maximum(self.rows, 1.0)).sum())
        return Estimate(accuracy=accuracy, error=sqrt(max(live, 0.0) + known), rows=round(count))


def estimator_of(profile: Profile) -> Estimator | None:
    """Return what a profile that was made with ``--labels`` can estimate; None without, or with more than two classes.

    Of three classes or more, histograms of the probabilities do not say which was the largest; the column of the
    largest does, where the profile has it.
    """
    places = {column.name: place for place, column in enumerate(profile.columns)}
    found = [(profile.columns[places[one.column]], one) for one in profile.calibration if one.column in places]
    largest = [(column, one) for column, one in found if column.derived is Derived.MAX]
    single = [(column, one) for column, one in found if column.derived is Derived.VALUE]
    if largest:
        column, one = largest[0]
        right, rows = _hits(profile, places[column.name], one)
    elif 1 <= len(single) <= _BINARY and all(column.role is Role.OUTPUT for column, _ in single):
        column, one = single[-1]
        positive, rows = _hits(profile, places[column.name], one)
        right = _right(column, positive)
    else:
        return None
    return Estimator(column=places[column.name], right=right, rows=rows)


def _hits(profile: Profile, place: int, calibration: Calibration) -> tuple[Floats, Floats]:
    """Return the share of hits in each bin, drawn towards that of all where there are few, and the rows."""
    rows = np.array(profile.counts.columns[place].bins, dtype=np.float64)
    hits = np.array(calibration.hits, dtype=np.float64)
    overall = float(hits.sum()) / max(float(rows.sum()), 1.0)
    return (hits + overall) / (rows + 1.0), rows


def _right(column: Column, positive: Floats) -> Floats:
    """Return the share of right answers per bin, where a probability above a half says yes."""
    edges = np.array(column.edges, dtype=np.float64)
    low, high = np.concatenate([[0.0], edges]), np.concatenate([edges, [1.0]])
    # In the bin that holds the half, as much of it says no as lies below.
    says_no = np.clip((_HALF - low) / np.maximum(high - low, np.finfo(float).tiny), 0.0, 1.0)
    right: Floats = says_no * (1 - positive) + (1 - says_no) * positive
    return right


def below(estimate: Estimate, limit: float) -> float:
    """Return how likely an estimate as low is if the accuracy is the limit."""
    if estimate.error == 0:
        return 1.0 if estimate.accuracy >= limit else 0.0
    return float(special.ndtr((estimate.accuracy - limit) / estimate.error))


def labelled(counts: FeedbackCounts) -> Estimate | None:
    """Return the accuracy among labels; None without classes."""
    accuracy = counts.accuracy
    if accuracy is None:
        return None
    rows = sum(sum(row.values()) for row in counts.confusion.values())
    return Estimate(accuracy=accuracy, error=sqrt(accuracy * (1 - accuracy) / rows), rows=rows)


def fewer_right(right: int, rows: int, limit: float) -> float:
    """Return how likely at most so many are right if the accuracy is the limit: exactly, by the binomial distribution.

    >>> round(fewer_right(3, 10, 0.5), 4)
    0.1719
    """
    return float(special.bdtr(right, rows, limit))


def larger_error(counts: FeedbackCounts, limit: float) -> float:
    """Return how likely a mean absolute error as large is if it is the limit; 1 for too few labels to say."""
    mean = counts.absolute_error / max(counts.matched, 1)
    variance = counts.squared_error / max(counts.matched, 1) - mean**2
    if counts.matched < _ROWS_MIN or variance <= 0:
        return 1.0
    return float(special.ndtr(-(mean - limit) / sqrt(variance / counts.matched)))


def larger_square_error(counts: FeedbackCounts, limit: float) -> float:
    """Return how likely a root mean squared error as large is if it is the limit; 1 for too few labels to say.

    By the fourth powers of the errors, which say how widely their squares scatter; 1 where whoever counted has none.
    """
    rows = max(counts.matched, 1)
    mean = counts.squared_error / rows
    variance = counts.quartic_error / rows - mean**2
    if counts.matched < _ROWS_MIN or counts.quartic_error <= 0 or variance <= 0:
        return 1.0
    return float(special.ndtr(-(mean - limit**2) / sqrt(variance / counts.matched)))


_ROWS_MIN = 30
