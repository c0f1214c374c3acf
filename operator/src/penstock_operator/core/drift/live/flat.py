"""The counts of a pod as one row of whole numbers: decoded, checked and laid out as tallies without a loop over them.

What ``penstock_contract.counts`` reads is read here some ten times as fast, which thousands of pods a minute need.
"""

import json
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_contract.counts import SCHEMA, InvalidCounts, ProfileMismatch
from penstock_contract.feedback import FeedbackCounts
from penstock_contract.profile import CLIP, FIXED_POINT, Profile
from penstock_contract.segments import of_wire
from penstock_contract.waves import WAVE_SCALE
from penstock_operator.core.drift.live.places import HEAD, QUALITY_FIELDS, ROWS, TEST_FIELDS, TEST_ROWS, Order, Places
from penstock_operator.core.drift.tally import Frame, Tallies

Ints = npt.NDArray[np.int64]

#: Beyond, floating point does not hold every whole number; 3e10 rows at the cut-off are below it in every sum.
_LARGEST = 2**53


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
        return int(self.numbers[ROWS])

    @property
    def test_rows(self) -> int:
        """Rows that tests may take for independent."""
        return int(self.numbers[TEST_ROWS])


class Shape:
    """What pods that count against a profile send, read into a row of whole numbers."""

    def __init__(self, profile: Profile) -> None:
        self.frame = Frame.of(profile)
        self.profile_hash = profile.hash
        self._names = [column.name for column in profile.columns]
        # A missing value scores 0, and a sum of scores of 0 or 1 is larger than that of their squares.
        self._score_max = max((abs(score) for column in profile.columns for score in column.scores), default=0) + 1
        self._order = Order(profile.columns)
        self.size = self._order.size + self.frame.waves

    def zero(self) -> Ints:
        """Return the counts of no rows."""
        return np.zeros(self.size, dtype=np.int64)

    def decode(self, body: bytes) -> Read:
        """Return what a pod said; raise ProfileMismatch, or InvalidCounts with where and why."""
        return self._read(self._message(body))

    def _message(self, body: bytes) -> dict[str, Any]:
        try:
            message: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidCounts(f"it is not JSON: {error}") from None
        if not isinstance(message, dict) or message.get("schema") != SCHEMA:
            raise InvalidCounts(f"it is not of schema {SCHEMA!r}")
        if message.get("profileHash") != self.profile_hash:
            problem = message.get("profileError") or f"it counted against {message.get('profileHash')}"
            raise ProfileMismatch(f"{problem}; the reference is {self.profile_hash}"[:500])
        return message

    def decode_segments(self, body: bytes, by: str) -> dict[str, Read]:
        """Return what a pod said of each segment by an input; raises as ``decode`` does.

        ``life``: counting of segments may end and begin anew while the pod goes on.
        """
        message = self._message(body)
        told = of_wire(message, by)
        if told is None:
            raise InvalidCounts("it counts no segments: it runs an older serving image")
        if error := told.get("error"):
            raise InvalidCounts(f"it counts no segments: {error}"[:500])
        counts = told.get("counts")
        if not isinstance(counts, dict) or not all(isinstance(one, dict) for one in counts.values()):
            raise InvalidCounts("its segments have no counts")
        boot = f"{str(message.get('bootId'))[:64]}/{_whole(told.get('life'), 'life')}"
        head = {"bootId": boot, "seq": message.get("seq"), "firstTs": told.get("firstTs"), "counters": {}}
        return {value: self._read({**head, "counts": one}) for value, one in counts.items()}

    def decode_counts(self, wire: dict[str, Any]) -> Ints:
        """Return counts as a profile has them; raise InvalidCounts."""
        numbers = self._numbers(wire)
        self.check(numbers)
        return numbers

    def _read(self, message: dict[str, Any]) -> Read:
        counts, counters = message.get("counts"), message.get("counters")
        if not isinstance(counts, dict) or not isinstance(counters, dict):
            raise InvalidCounts("it has no counts")
        numbers = self._numbers(counts)
        self.check(numbers)
        feedback = _feedback(message.get("feedback", {}))
        return Read(
            boot_id=str(message.get("bootId"))[:96],
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
        flat += _listed(counts.get("crossSums"), self._order.crossed, "crossSums")
        flat += _listed(counts.get("cross"), self._order.triangle, "cross")
        for column, spot in zip(columns, self._order.spots, strict=True):
            name, get = column["name"], column.get
            flat += _listed(get("bins"), spot.bins, name)
            flat += [get(field, 0) for field in TEST_FIELDS]
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
                flat += [0] * len(QUALITY_FIELDS)
            elif isinstance(quality, dict):
                flat += [quality.get(field, 0) for field in QUALITY_FIELDS]
            else:
                raise InvalidCounts(f"quality of {name!r} does not fit")
        if self.frame.waves:
            flat += _listed(counts.get("waves"), self.frame.waves, "waves")
        return _whole_numbers(flat)

    def check(self, numbers: Ints) -> None:
        """Raise InvalidCounts for numbers that no counting of rows gives."""
        rows, test_rows = int(numbers[ROWS]), int(numbers[TEST_ROWS])
        if numbers.max() > _LARGEST or numbers.min() < -_LARGEST:
            raise InvalidCounts("it holds a number beyond 2**53")
        if test_rows > rows or (numbers[self._order.never_negative] < 0).any():
            raise InvalidCounts("a count of it is below 0, or it has more test rows than rows")
        if (self._by_column(numbers[self._order.placed], self._order.placed_columns) > test_rows).any():
            raise InvalidCounts("a column of it has more values than there are test rows")
        if (numbers[self._order.of_quality] > rows).any():
            raise InvalidCounts("a column of it has more wrong values than there are rows")
        bound = test_rows * CLIP * FIXED_POINT
        if (np.abs(numbers[self._order.of_sums]) > bound).any():
            raise InvalidCounts("a sum of it is larger than its rows allow")
        crossed = slice(HEAD, HEAD + self._order.crossed + self._order.triangle)
        if (np.abs(numbers[crossed]) > test_rows * self._score_max**2).any():
            raise InvalidCounts("a cross moment of it is larger than its rows allow")
        waves = numbers[self._order.size :]
        if len(waves) and not (0 <= waves[0] <= test_rows and np.abs(waves[1:]).max() <= waves[0] * WAVE_SCALE):
            raise InvalidCounts("a wave of it is larger than its rows allow")

    def _by_column(self, numbers: Ints, columns: Places) -> Ints:
        return np.rint(np.bincount(columns, weights=numbers, minlength=len(self._order.spots))).astype(np.int64)

    def fell(self, difference: Ints) -> bool:
        """Return whether a counter that only rises is lower in a later answer of the same life of a pod."""
        if self.frame.waves and difference[self._order.size] < 0:
            return True
        return bool((difference[self._order.never_negative] < 0).any() or difference[TEST_ROWS] > difference[ROWS])

    def tallies(self, numbers: Ints) -> Tallies:
        """Return the numbers as the one window of tallies."""
        frame, order, values = self.frame, self._order, numbers.astype(np.float64)
        bins = np.zeros((1, len(frame.columns), frame.width))
        bins[0, order.bin_columns, order.bin_places] = values[order.bins]
        output_sums = np.zeros((1, order.contributing, frame.inputs, frame.width))
        output_sums[0, order.sum_outputs, order.sum_columns, order.sum_places] = values[order.output_sums]
        cross = np.zeros((1, order.crossed, order.crossed))
        first, second = order.upper
        moments = values[HEAD + order.crossed : HEAD + order.crossed + order.triangle]
        cross[0, first, second] = moments
        cross[0, second, first] = moments
        return Tallies(
            rows=values[ROWS : ROWS + 1],
            test_rows=values[TEST_ROWS : TEST_ROWS + 1],
            bins=bins,
            special=values[order.special][np.newaxis],
            quality=values[order.of_quality][np.newaxis],
            sums=values[order.sums][np.newaxis],
            output_sums=output_sums,
            cross=cross,
            waves=values[np.newaxis, self._order.size :],
            cross_sums=values[np.newaxis, HEAD : HEAD + order.crossed],
        )


def _feedback(wire: Any) -> FeedbackCounts:
    try:
        counts = FeedbackCounts.from_wire(wire)
    except (ValueError, AttributeError) as error:
        raise InvalidCounts(f"feedback: {error}") from None
    whole = [getattr(counts, name) for name in (*FeedbackCounts.OUTCOMES, "lag_milliseconds")]
    whole += [count for table in (counts.confusion, counts.scores) for row in table.values() for count in row.values()]
    sizes = (counts.absolute_error, counts.squared_error, counts.quartic_error)
    if not all(isinstance(one, int) and 0 <= one <= _LARGEST for one in whole):
        raise InvalidCounts("feedback: a count of it is no whole number from 0 on")
    if not all(isfinite(one) for one in (*sizes, counts.error)) or min(sizes) < 0:
        raise InvalidCounts("feedback: a sum of errors is not finite, or below 0")
    return counts


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
