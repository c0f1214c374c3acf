"""Tests how often values are missing, infinite, outside the reference's range or of a category it never had."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstock_contract.profile import Column, Kind
from penstock_operator.core.drift import tails
from penstock_operator.core.drift.tally import QUALITY, Floats, Frame, Tallies

#: The only defect that a drift of the column can be.
OUT_OF_RANGE = "outOfRange"
_MISSING, _NEGATIVE, _POSITIVE, _BELOW, _ABOVE, _UNSEEN = range(len(QUALITY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that can be wrong with the values of a column: any of ``lines`` of the quality counts, more often.

    Missing values also count when they are rarer: a column that is suddenly complete is filled in by somebody.
    """

    place: int
    what: str
    lines: tuple[int, ...]
    both_ways: bool = False


def checks(frame: Frame) -> tuple[Check, ...]:
    """Return what is checked, column by column."""
    return tuple(check for place, column in enumerate(frame.columns) for check in _of(place, column))


def _of(place: int, column: Column) -> tuple[Check, ...]:
    missing = Check(place=place, what="missing", lines=(_MISSING,), both_ways=True)
    if column.kind is Kind.CATEGORICAL:
        unseen = (Check(place=place, what="unseen", lines=(_UNSEEN,)),) if column.others_complete else ()
        return (missing, *unseen)
    return (
        missing,
        Check(place=place, what="invalid", lines=(_NEGATIVE, _POSITIVE)),
        Check(place=place, what=OUT_OF_RANGE, lines=(_BELOW, _ABOVE)),
    )


def share(check: Check, tallies: Tallies) -> float:
    """Return the share of all rows of the first window that are wrong in this way."""
    hits = tallies.quality[0, list(check.lines), check.place].sum()
    return float(hits / max(float(tallies.rows[0]), 1.0))


def p_values(to_check: tuple[Check, ...], reference: Tallies, live: Tallies) -> Floats:
    """Return (windows, checks): how likely so many are if the rate is the reference's.

    Exact, also where the reference has none: the share of windows that hold a value above the largest of m reference
    values is what m says, however long its tail.
    """
    result = np.ones((len(live), len(to_check)))
    reference_rows = float(reference.rows[0])
    # What is out of range is judged on either side by itself.
    sides = [
        (number, check.place, lines)
        for number, check in enumerate(to_check)
        for lines in (((line,) for line in check.lines) if check.what == OUT_OF_RANGE else (check.lines,))
    ]
    hits, known = (_hits(tallies, sides) for tallies in (live, reference))
    expected = known * live.rows[:, np.newaxis]
    for window, side in zip(*np.nonzero(hits * reference_rows > expected), strict=True):
        number = sides[side][0]
        p = tails.more_often(float(hits[window, side]), float(live.rows[window]), float(known[0, side]), reference_rows)
        both = to_check[number].both_ways and known[0, side]
        twice = 2 if both or to_check[number].what == OUT_OF_RANGE else 1
        result[window, number] = min(result[window, number], twice * p)
    for window, side in zip(*np.nonzero(hits * reference_rows < expected), strict=True):
        number = sides[side][0]
        if to_check[number].both_ways:
            rows, right = float(live.rows[window]), reference_rows - float(known[0, side])
            p = tails.more_often(rows - float(hits[window, side]), rows, right, reference_rows)
            result[window, number] = min(result[window, number], 2 * p)
    return np.minimum(result, 1.0)


def _hits(tallies: Tallies, sides: Sequence[tuple[int, int, tuple[int, ...]]]) -> Floats:
    """Return (windows, sides): how many rows are wrong."""
    places = [place for _, place, _ in sides]
    first = tallies.quality[:, [lines[0] for *_, lines in sides], places]
    more = np.array([len(lines) > 1 for *_, lines in sides], dtype=np.float64)
    hits: Floats = first + more * tallies.quality[:, [lines[-1] for *_, lines in sides], places]
    return hits
