"""The counts of a pod as one row of whole numbers: decoded, checked and laid out as tallies without a loop over them.

What ``penstock_contract.counts`` reads is read here some ten times as fast, which thousands of pods a minute need.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_contract.counts import SCHEMA, InvalidCounts, ProfileMismatch
from penstock_contract.feedback import FeedbackCounts
from penstock_contract.profile import CLIP, FIXED_POINT, Profile, layout_of
from penstock_operator.core.drift.tally import Frame, Tallies

Ints = npt.NDArray[np.int64]
#: Half the memory of the usual places: an operator keeps these for each of thousands of models.
Places = npt.NDArray[np.int32]

#: Beyond, floating point does not hold every whole number; 3e10 rows at the cut-off are below it in every sum.
_LARGEST = 2**53
_ROWS, _TEST_ROWS = 0, 1
_HEAD = 2
_TEST_FIELDS = ("missing", "negativeInfinity", "positiveInfinity", "sum", "sumOfSquares")
_SPECIAL = 3
_QUALITY_FIELDS = ("missing", "negativeInfinity", "positiveInfinity", "below", "above", "unseen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What one pod said when it was asked. ``numbers`` are cumulative since ``boot_id`` began."""

    boot_id: str
    seq: int
    numbers: Ints
    requests: int = 0
    dropped_rows: int = 0
    feedback: FeedbackCounts = field(default_factory=FeedbackCounts)
    first_ts: float | None = None

    @property
    def rows(self) -> int:
        """All rows that were counted."""
        return int(self.numbers[_ROWS])

    @property
    def test_rows(self) -> int:
        """Rows that tests may take for independent."""
        return int(self.numbers[_TEST_ROWS])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spot:
    """Where the numbers of one column begin, and how many there are of each sort."""

    start: int
    bins: int
    outputs: int

    @property
    def fields(self) -> int:
        return self.start + self.bins

    @property
    def sums(self) -> int:
        return self.fields + len(_TEST_FIELDS)

    @property
    def quality(self) -> int:
        return self.sums + self.bins * self.outputs

    @property
    def end(self) -> int:
        return self.quality + len(_QUALITY_FIELDS)


class Shape:
    """The order of a profile's numbers in a row: head, cross sums, cross moments, then column by column."""

    def __init__(self, profile: Profile) -> None:
        self.frame = Frame(columns=profile.columns)
        self.profile_hash = profile.hash
        layout = layout_of(profile.columns)
        self._names = list(layout.names)
        self._crossed = layout.crossed
        self._triangle = layout.crossed * (layout.crossed + 1) // 2
        self._contributing = layout.contributing
        # A missing value scores 0, and a sum of scores of 0 or 1 is larger than that of their squares.
        self._score_max = max((abs(score) for column in profile.columns for score in column.scores), default=0) + 1
        outputs = [layout.contributing if one else 0 for one in layout.inputs]
        sizes = [
            bins + len(_TEST_FIELDS) + bins * of + len(_QUALITY_FIELDS)
            for bins, of in zip(layout.bins, outputs, strict=True)
        ]
        first = _HEAD + self._crossed + self._triangle
        starts = accumulate(sizes, initial=first)
        self._spots = [
            _Spot(start=start, bins=bins, outputs=of)
            for start, bins, of in zip(starts, layout.bins, outputs, strict=False)
        ]
        self.size = self._spots[-1].end

    def zero(self) -> Ints:
        """Return the counts of no rows."""
        return np.zeros(self.size, dtype=np.int64)

    def decode(self, body: bytes) -> Read:
        """Return what a pod said; raise ProfileMismatch, or InvalidCounts with where and why."""
        try:
            message: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidCounts(f"it is not JSON: {error}") from None
        if not isinstance(message, dict) or message.get("schema") != SCHEMA:
            raise InvalidCounts(f"it is not of schema {SCHEMA!r}")
        if message.get("profileHash") != self.profile_hash:
            problem = message.get("profileError") or f"it counted against {message.get('profileHash')}"
            raise ProfileMismatch(f"{problem}; the reference is {self.profile_hash}"[:500])
        counts, counters = message.get("counts"), message.get("counters")
        if not isinstance(counts, dict) or not isinstance(counters, dict):
            raise InvalidCounts("it has no counts")
        numbers = self._numbers(counts)
        self._check(numbers)
        feedback = _feedback(message.get("feedback", {}))
        return Read(
            boot_id=str(message.get("bootId"))[:64],
            seq=_whole(message.get("seq"), "seq"),
            numbers=numbers,
            requests=_whole(counters.get("requests", 0), "requests"),
            dropped_rows=_whole(counters.get("droppedRows", 0), "droppedRows"),
            feedback=feedback,
            first_ts=_time(message.get("firstTs")),
        )

    def _numbers(self, counts: dict[str, Any]) -> Ints:
        columns = counts.get("columns")
        if not isinstance(columns, list) or [_name(one) for one in columns] != self._names:
            raise InvalidCounts("its columns are not those of the profile")
        flat: list[Any] = [counts.get("rows"), counts.get("testRows")]
        flat += _listed(counts.get("crossSums"), self._crossed, "crossSums")
        flat += _listed(counts.get("cross"), self._triangle, "cross")
        for column, spot in zip(columns, self._spots, strict=True):
            name, get = column["name"], column.get
            flat += _listed(get("bins"), spot.bins, name)
            flat += [get(field, 0) for field in _TEST_FIELDS]
            sums = get("outputSums")
            if sums is None:
                flat += [0] * (spot.bins * spot.outputs)
            elif not isinstance(sums, list) or len(sums) != spot.outputs:
                raise InvalidCounts(f"outputSums of {name!r} do not fit")
            else:
                for one in sums:
                    flat += _listed(one, spot.bins, name)
            quality = get("quality")
            if quality is None:
                flat += [0] * len(_QUALITY_FIELDS)
            elif isinstance(quality, dict):
                flat += [quality.get(field, 0) for field in _QUALITY_FIELDS]
            else:
                raise InvalidCounts(f"quality of {name!r} does not fit")
        return _whole_numbers(flat)

    def _check(self, numbers: Ints) -> None:
        """Raise InvalidCounts for numbers that no counting of rows gives."""
        rows, test_rows = int(numbers[_ROWS]), int(numbers[_TEST_ROWS])
        if numbers.max() > _LARGEST or numbers.min() < -_LARGEST:
            raise InvalidCounts("it holds a number beyond 2**53")
        if test_rows > rows or (numbers[self._never_negative] < 0).any():
            raise InvalidCounts("a count of it is below 0, or it has more test rows than rows")
        if (self._by_column(numbers[self._placed], self._placed_columns) > test_rows).any():
            raise InvalidCounts("a column of it has more values than there are test rows")
        if (numbers[self._of_quality] > rows).any():
            raise InvalidCounts("a column of it has more wrong values than there are rows")
        bound = test_rows * CLIP * FIXED_POINT
        if (np.abs(numbers[self._of_sums]) > bound).any():
            raise InvalidCounts("a sum of it is larger than its rows allow")
        crossed = slice(_HEAD, _HEAD + self._crossed + self._triangle)
        if (np.abs(numbers[crossed]) > test_rows * self._score_max**2).any():
            raise InvalidCounts("a cross moment of it is larger than its rows allow")

    def _by_column(self, numbers: Ints, columns: Places) -> Ints:
        return np.rint(np.bincount(columns, weights=numbers, minlength=len(self._spots))).astype(np.int64)

    def fell(self, difference: Ints) -> bool:
        """Return whether a counter that only rises is lower in a later answer of the same life of a pod."""
        return bool((difference[self._never_negative] < 0).any() or difference[_TEST_ROWS] > difference[_ROWS])

    def tallies(self, numbers: Ints) -> Tallies:
        """Return the numbers as the one window of tallies."""
        frame, values = self.frame, numbers.astype(np.float64)
        bins = np.zeros((1, len(frame.columns), frame.width))
        bins[0, self._bin_columns, self._bin_places] = values[self._bins]
        output_sums = np.zeros((1, self._contributing, frame.inputs, frame.width))
        output_sums[0, self._sum_outputs, self._sum_columns, self._sum_places] = values[self._output_sums]
        cross = np.zeros((1, self._crossed, self._crossed))
        first, second = self._upper
        moments = values[_HEAD + self._crossed : _HEAD + self._crossed + self._triangle]
        cross[0, first, second] = moments
        cross[0, second, first] = moments
        return Tallies(
            rows=values[_ROWS : _ROWS + 1],
            test_rows=values[_TEST_ROWS : _TEST_ROWS + 1],
            bins=bins,
            special=values[self._special][np.newaxis],
            quality=values[self._of_quality][np.newaxis],
            sums=values[self._sums][np.newaxis],
            output_sums=output_sums,
            cross=cross,
            cross_sums=values[np.newaxis, _HEAD : _HEAD + self._crossed],
        )

    @cached_property
    def _bins(self) -> Places:
        return _joined([np.arange(spot.start, spot.fields) for spot in self._spots])

    @cached_property
    def _bin_columns(self) -> Places:
        return np.repeat(np.arange(len(self._spots), dtype=np.int32), [spot.bins for spot in self._spots])

    @cached_property
    def _bin_places(self) -> Places:
        return _joined([np.arange(spot.bins) for spot in self._spots])

    @cached_property
    def _special(self) -> Places:
        """(3, columns): missing, negative and positive infinity."""
        return np.array([[spot.fields + field for spot in self._spots] for field in range(_SPECIAL)], dtype=np.int32)

    @cached_property
    def _sums(self) -> Places:
        """(2, columns): sum, and sum of squares."""
        fields = range(_SPECIAL, len(_TEST_FIELDS))
        return np.array([[spot.fields + field for spot in self._spots] for field in fields], dtype=np.int32)

    @cached_property
    def _of_quality(self) -> Places:
        """(6, columns)."""
        fields = range(len(_QUALITY_FIELDS))
        return np.array([[spot.quality + field for spot in self._spots] for field in fields], dtype=np.int32)

    @cached_property
    def _output_sums(self) -> Places:
        return _joined([np.arange(spot.sums, spot.quality) for spot in self._spots])

    @cached_property
    def _sum_outputs(self) -> Places:
        parts = [np.repeat(np.arange(spot.outputs), spot.bins) for spot in self._spots]
        return _joined(parts)

    @cached_property
    def _sum_columns(self) -> Places:
        return np.repeat(
            np.arange(len(self._spots), dtype=np.int32), [spot.bins * spot.outputs for spot in self._spots]
        )

    @cached_property
    def _sum_places(self) -> Places:
        return _joined([np.tile(np.arange(spot.bins), spot.outputs) for spot in self._spots])

    @cached_property
    def _upper(self) -> tuple[Places, Places]:
        first, second = np.triu_indices(self._crossed)
        return first.astype(np.int32), second.astype(np.int32)

    @cached_property
    def _placed(self) -> Places:
        """What has one for each value of a column: its bins, and what has none."""
        return _joined([np.arange(spot.start, spot.fields + _SPECIAL) for spot in self._spots])

    @cached_property
    def _placed_columns(self) -> Places:
        return np.repeat(np.arange(len(self._spots), dtype=np.int32), [spot.bins + _SPECIAL for spot in self._spots])

    @cached_property
    def _never_negative(self) -> Places:
        squares = self._sums[1]
        return _joined([np.array([_ROWS, _TEST_ROWS]), self._placed, squares, self._of_quality.ravel()])

    @cached_property
    def _of_sums(self) -> Places:
        return _joined([self._sums[0], self._output_sums])


def _feedback(wire: Any) -> FeedbackCounts:
    try:
        counts = FeedbackCounts.from_wire(wire)
    except (ValueError, AttributeError) as error:
        raise InvalidCounts(f"feedback: {error}") from None
    whole = [getattr(counts, name) for name in (*FeedbackCounts.OUTCOMES, "lag_milliseconds")]
    whole += [count for row in counts.confusion.values() for count in row.values()]
    sizes = (counts.absolute_error, counts.squared_error)
    if not all(isinstance(one, int) and 0 <= one <= _LARGEST for one in whole):
        raise InvalidCounts("feedback: a count of it is no whole number from 0 on")
    if not all(isfinite(one) for one in (*sizes, counts.error)) or min(sizes) < 0:
        raise InvalidCounts("feedback: a sum of errors is not finite, or below 0")
    return counts


def _joined(parts: list[Any]) -> Places:
    joined: Places = np.concatenate(parts).astype(np.int32)
    return joined


def unprofiled(body: bytes) -> str | None:
    """Return why a pod counts against no profile, empty where there is none; None where it counts against one."""
    try:
        message: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "its counts are not JSON"
    if not isinstance(message, dict) or message.get("profileHash"):
        return None
    return str(message.get("profileError") or "")[:500]


def _listed(value: Any, length: int, where: str) -> list[Any]:
    if value is None:
        return [0] * length
    if not isinstance(value, list) or len(value) != length:
        raise InvalidCounts(f"{where!r} must be a list of {length} whole numbers")
    return value


def _whole_numbers(flat: list[Any]) -> Ints:
    try:
        numbers = np.array(flat)
    except ValueError:  # a list where a number should be
        numbers = np.array([None])
    if numbers.dtype != np.int64 or numbers.ndim != 1:
        wrong = next((one for one in flat if isinstance(one, bool) or not isinstance(one, int)), "one beyond 2**53")
        raise InvalidCounts(f"counts must be whole numbers, not {str(wrong)[:40]!r}")
    return numbers


def _name(wire: Any) -> Any:
    return wire.get("name") if isinstance(wire, dict) else None


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise InvalidCounts(f"{where!r} must be a whole number from 0 on, not {str(value)[:40]!r}")
    return value


def _time(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidCounts(f"{str(value)[:40]!r} is no time in seconds")
    return float(value)
