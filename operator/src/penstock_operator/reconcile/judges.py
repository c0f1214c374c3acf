"""Judges of live traffic: made once for a reference, a length of windows and kinds of signals, shared while used."""

import hashlib
from collections.abc import Iterable

from penstock_contract.counts import InvalidCounts
from penstock_contract.profile import layout_of
from penstock_operator.core.conditions import Reason
from penstock_operator.core.drift.budget import REFERENCE_PER_BLOCK, Signal
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.live import words
from penstock_operator.core.drift.live.against import Source
from penstock_operator.core.drift.live.flat import Ints
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.places import TEST_ROWS
from penstock_operator.core.drift_sight import Problem
from penstock_operator.reconcile.pod_counts import Known, Part

#: Fewer rows say nothing about a distribution.
WINDOW_ROWS_MIN = 50
#: The judge's own budget only bounds the look-back; how rare alarms must be follows from the traffic.
_RARELY = 1e9

_Key = tuple[str, bytes, int, frozenset[Signal], float | None]


class Judges:
    """All that are in use."""

    def __init__(self) -> None:
        self._judges: dict[_Key, Judge] = {}
        self._parts: dict[tuple[str, Part], Ints | Problem] = {}

    def rows(self, known: Known, part: Part | None, gathered: Ints | None) -> Ints | Problem | None:
        """Return the rows of a reference: those that were ``gathered``, or of a part those that the profile has.

        None: all rows of the profile.
        """
        if gathered is not None or part is None:
            return gathered
        if (known.digest, part) not in self._parts:
            self._parts[known.digest, part] = _rows_of(known, part)
        return self._parts[known.digest, part]

    def of(self, known: Known, limits: Limits, gathered: Ints | None = None) -> Judge | Problem:
        """Return the judge of windows against the profile's rows, or against those that were ``gathered``."""
        rows = known.rows if gathered is None else int(gathered[TEST_ROWS])
        window_rows = min(limits.window_rows, rows // REFERENCE_PER_BLOCK)
        if window_rows < WINDOW_ROWS_MIN:
            return _too_small(rows, limits.against.source)
        content = b"" if gathered is None else hashlib.sha256(gathered.tobytes()).digest()
        key = (known.digest, content, window_rows, limits.kinds, limits.ndcg_min)
        if key not in self._judges:
            # Rows of one request resemble each other: they are worth one, for data quality as well.
            reference = None if gathered is None else known.shape.tallies(gathered).weighing(rows)
            self._judges[key] = Judge(
                known.profile,
                window_rows=window_rows,
                false_alarm_every=_RARELY,
                kinds=limits.kinds,
                reference=reference,
                ndcg_min=limits.ndcg_min,
            )
        return self._judges[key]

    def keep(self, used: Iterable[Judge]) -> None:
        """Drop all others."""
        ids = {id(judge) for judge in used}
        self._judges = {key: judge for key, judge in self._judges.items() if id(judge) in ids}
        profiles = {digest for digest, *_ in self._judges}
        self._parts = {key: rows for key, rows in self._parts.items() if key[0] in profiles}


def _rows_of(known: Known, part: Part) -> Ints | Problem:
    profile = known.profile
    fix = f"make one with penstock-profile --segment-by {part.by}, or use another drift.reference"
    if profile.segments is None or profile.segments.by != part.by:
        text = f"the profile does not know its rows by {part.by}: {fix}"
        return Problem(reason=Reason.REFERENCE_MISSING, message=text)
    counts = profile.segments.of(part.value, part.values, profile.counts)
    if counts is None:
        text = f"the profile does not know rows whose {part.by} is {words.short(part.value)}: {fix}"
        return Problem(reason=Reason.REFERENCE_MISSING, message=text)
    try:
        return known.shape.decode_counts(counts.to_wire(layout_of(profile.columns)))
    except InvalidCounts as error:
        text = f"the profile's rows by {part.by} cannot be used: {error}; {fix}"
        return Problem(reason=Reason.PROFILE_MISMATCH, message=text)


def _too_small(rows: int, source: Source) -> Problem:
    needed = WINDOW_ROWS_MIN * REFERENCE_PER_BLOCK
    fix = "name a longer window" if source is Source.WINDOW else "make a profile of more rows"
    text = f"the reference has {rows} rows, and the shortest windows need {needed}: {fix}"
    return Problem(reason=Reason.REFERENCE_TOO_SMALL, message=text)
