"""Tests how often values are missing, infinite, outside the reference's range or of a category it never had."""

from dataclasses import dataclass

import numpy as np

from penstock_contract.profile import Column, Kind
from penstock_operator.core.drift import tails
from penstock_operator.core.drift.tally import QUALITY, Floats, Frame, Tallies

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
        Check(place=place, what="outOfRange", lines=(_BELOW, _ABOVE)),
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
    known_rows = float(reference.rows[0])
    for number, check in enumerate(to_check):
        if check.what == "outOfRange":
            parts = [_more(live, reference, check.place, (line,), known_rows) for line in check.lines]
            result[:, number] = np.minimum(1.0, 2 * np.minimum(*parts))
            continue
        more = _more(live, reference, check.place, check.lines, known_rows)
        if check.both_ways and reference.quality[0, check.lines[0], check.place]:
            more = np.minimum(1.0, 2 * np.minimum(more, _fewer(live, reference, check, known_rows)))
        result[:, number] = more
    return result


def _more(live: Tallies, reference: Tallies, place: int, lines: tuple[int, ...], known_rows: float) -> Floats:
    hits = live.quality[:, list(lines), place].sum(axis=1)
    known = float(reference.quality[0, list(lines), place].sum())
    p = np.ones(len(hits))
    for window in np.flatnonzero(hits * known_rows > known * live.rows):
        p[window] = tails.more_often(float(hits[window]), float(live.rows[window]), known, known_rows)
    return p


def _fewer(live: Tallies, reference: Tallies, check: Check, known_rows: float) -> Floats:
    hits = live.quality[:, list(check.lines), check.place].sum(axis=1)
    known = float(reference.quality[0, list(check.lines), check.place].sum())
    p = np.ones(len(hits))
    for window in np.flatnonzero(hits * known_rows < known * live.rows):
        rows = float(live.rows[window])
        p[window] = tails.more_often(rows - float(hits[window]), rows, known_rows - known, known_rows)
    return p
