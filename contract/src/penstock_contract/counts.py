"""What serving pods count of live rows, and how counts of pods and times are added and taken apart."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add, sub
from typing import Any

from penstock_contract.feedback import FeedbackCounts
from penstock_contract.waves import WAVES

SCHEMA = "penstock.counts/v1"


class InvalidCounts(ValueError):  # noqa: N818 - it names a state of the message, like the other errors here
    """The message holds no counts of this layout; the message says where and why."""


class ProfileMismatch(ValueError):  # noqa: N818 - the word that conditions show
    """Two counts were made against different profiles: adding them would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The shape of counts: names and bins of the columns, which are inputs, and how many have sums and cross moments.

    ``contributing``: outputs whose sums are kept for each bin of each input. ``crossed``: columns with cross moments.
    """

    names: tuple[str, ...]
    bins: tuple[int, ...]
    inputs: tuple[bool, ...]
    contributing: int
    crossed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What was wrong with the values of one column, over all rows."""

    missing: int = 0
    negative_infinity: int = 0
    positive_infinity: int = 0
    below: int = 0
    above: int = 0
    unseen: int = 0

    def __add__(self, other: "Quality") -> "Quality":
        return Quality(**{key: getattr(self, key) + getattr(other, key) for key in _QUALITY})

    def __sub__(self, other: "Quality") -> "Quality":
        return Quality(**{key: getattr(self, key) - getattr(other, key) for key in _QUALITY})


#: Field name to name on the wire.
_QUALITY = {
    "missing": "missing",
    "negative_infinity": "negativeInfinity",
    "positive_infinity": "positiveInfinity",
    "below": "below",
    "above": "above",
    "unseen": "unseen",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnCounts:
    """The counts of one column over test rows (``bins`` and what follows), and ``quality`` over all rows.

    ``sum`` and ``sum_of_squares`` are of fixed-point standardised values (``profile.FIXED_POINT``), finite ones only;
    ``output_sums[k][b]`` is the same sum of output k over the rows whose value here is in bin b.
    """

    bins: tuple[int, ...]
    missing: int = 0
    negative_infinity: int = 0
    positive_infinity: int = 0
    sum: int = 0
    sum_of_squares: int = 0
    output_sums: tuple[tuple[int, ...], ...] = ()
    quality: Quality = Quality()

    def __add__(self, other: "ColumnCounts") -> "ColumnCounts":
        return _column_wise(add, self, other)

    def __sub__(self, other: "ColumnCounts") -> "ColumnCounts":
        return _column_wise(sub, self, other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of rows; all of it adds up over pods and over time.

    ``rows``: all that were counted. ``test_rows``: at most one row of a request, chosen at random: rows of one
    request resemble each other, and a test that took them for independent would cry wolf. Bins, sums and cross
    moments are of test rows. ``cross``: sums of products of scores, upper triangle by rows, diagonal included;
    ``cross_sums``: sums of the scores; a missing value scores 0. ``waves``: how many rows' waves were added up, and the
    sum of each (``penstock_contract.waves``); none where a profile has none, or whoever counted does not know them.
    """

    rows: int
    test_rows: int
    columns: tuple[ColumnCounts, ...]
    cross: tuple[int, ...] = ()
    cross_sums: tuple[int, ...] = ()
    waves: tuple[int, ...] = ()

    def __add__(self, other: "Counts") -> "Counts":
        return _wise(add, self, other)

    def __sub__(self, other: "Counts") -> "Counts":
        return _wise(sub, self, other)

    def to_wire(self, layout: Layout) -> dict[str, Any]:
        """Return the JSON object of these counts; a number that is 0 and a list of zeros are left out."""
        wire: dict[str, Any] = {"rows": self.rows, "testRows": self.test_rows}
        if any(self.cross) or any(self.cross_sums):
            wire |= {"crossSums": list(self.cross_sums), "cross": list(self.cross)}
        if any(self.waves):
            wire["waves"] = list(self.waves)
        wire["columns"] = [
            _column_to_wire(name, counts) for name, counts in zip(layout.names, self.columns, strict=True)
        ]
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], layout: Layout) -> "Counts":
        """Return the counts in a JSON object; raise InvalidCounts where they do not have this layout."""
        columns = wire.get("columns")
        if not isinstance(columns, list) or [_name(one) for one in columns] != list(layout.names):
            raise InvalidCounts("its columns are not those of the profile")
        triangle = layout.crossed * (layout.crossed + 1) // 2
        return cls(
            rows=_whole(wire.get("rows"), "rows"),
            test_rows=_whole(wire.get("testRows"), "testRows"),
            columns=tuple(
                _column_from_wire(one, bins, layout.contributing if is_input else 0)
                for one, bins, is_input in zip(columns, layout.bins, layout.inputs, strict=True)
            ),
            cross=_wholes(wire.get("cross"), triangle, "cross"),
            cross_sums=_wholes(wire.get("crossSums"), layout.crossed, "crossSums"),
            waves=_wholes(wire["waves"], 1 + WAVES, "waves") if "waves" in wire else (),
        )

    @classmethod
    def zero(cls, layout: Layout) -> "Counts":
        """Return the counts of no rows."""
        return cls(
            rows=0,
            test_rows=0,
            columns=tuple(
                ColumnCounts(bins=(0,) * bins, output_sums=((0,) * bins,) * (layout.contributing if is_input else 0))
                for bins, is_input in zip(layout.bins, layout.inputs, strict=True)
            ),
            cross=(0,) * (layout.crossed * (layout.crossed + 1) // 2),
            cross_sums=(0,) * layout.crossed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one pod had counted against a profile when it was asked.

    ``boot_id``: one life of the pod; its counters begin at 0. ``seq`` rises with each snapshot. Times are seconds
    since the epoch, None before the first row. ``requests`` are those that a model answered; ``errors`` the others,
    by reason; ``dropped_rows`` were answered but not counted, because counting came too late for them.
    """

    boot_id: str
    seq: int
    model_version: str
    profile_hash: str
    counts: Counts
    requests: int = 0
    dropped_rows: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    feedback: FeedbackCounts = field(default_factory=FeedbackCounts)
    first_ts: float | None = None
    last_ts: float | None = None


def parse(text: str | bytes, layout: Layout, profile_hash: str) -> Snapshot:
    """Return the snapshot of a pod; raise ProfileMismatch, or InvalidCounts for anything that is none.

    ``layout`` and ``profile_hash`` are those of the profile that the reader holds.
    """
    try:
        message: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidCounts(f"it is not JSON: {error}") from None
    if not isinstance(message, dict) or message.get("schema") != SCHEMA:
        raise InvalidCounts(f"it is not of schema {SCHEMA!r}")
    if message.get("profileHash") != profile_hash:
        problem = message.get("profileError") or f"it counted against {message.get('profileHash')}"
        raise ProfileMismatch(f"{problem}; the profile here is {profile_hash}")
    counts, counters = message.get("counts"), message.get("counters")
    if not isinstance(counts, dict) or not isinstance(counters, dict):
        raise InvalidCounts("it has no counts")
    errors = counters.get("errors", {})
    if not isinstance(errors, dict):
        raise InvalidCounts("'errors' must be an object of counts")
    return Snapshot(
        boot_id=str(message.get("bootId")),
        seq=_whole(message.get("seq"), "seq"),
        model_version=str(message.get("modelVersion", "")),
        profile_hash=profile_hash,
        counts=Counts.from_wire(counts, layout),
        requests=_whole(counters.get("requests", 0), "requests"),
        dropped_rows=_whole(counters.get("droppedRows", 0), "droppedRows"),
        errors={str(reason): _whole(count, "errors") for reason, count in errors.items()},
        feedback=_feedback(message.get("feedback", {})),
        first_ts=_time(message.get("firstTs")),
        last_ts=_time(message.get("lastTs")),
    )


def since(earlier: Snapshot | None, now: Snapshot) -> Counts | None:
    """Return what was counted between two snapshots of a pod; None where ``now`` tells nothing new.

    A pod that has started anew began at 0. A snapshot that was already seen, or was overtaken by a later one,
    tells nothing. Raises ProfileMismatch.
    """
    if earlier is None or earlier.boot_id != now.boot_id:
        return now.counts
    if earlier.profile_hash != now.profile_hash:
        raise ProfileMismatch(f"{now.profile_hash} follows {earlier.profile_hash} in one life of a pod")
    return None if now.seq <= earlier.seq else now.counts - earlier.counts


def total(counts: Iterable[Counts], layout: Layout) -> Counts:
    """Return the sum; of no counts, zero."""
    result = Counts.zero(layout)
    for one in counts:
        result += one
    return result


def _time(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidCounts(f"{value!r} is no time in seconds")
    return value


def _feedback(wire: Any) -> FeedbackCounts:
    try:
        return FeedbackCounts.from_wire(wire)
    except (ValueError, AttributeError) as error:
        raise InvalidCounts(f"feedback: {error}") from None


def _wise(operation: Any, one: Counts, other: Counts) -> Counts:
    return Counts(
        rows=operation(one.rows, other.rows),
        test_rows=operation(one.test_rows, other.test_rows),
        columns=tuple(operation(a, b) for a, b in zip(one.columns, other.columns, strict=True)),
        cross=_each(operation, one.cross, other.cross),
        cross_sums=_each(operation, one.cross_sums, other.cross_sums),
        waves=_where_there(operation, one.waves, other.waves),
    )


def _column_wise(operation: Any, one: ColumnCounts, other: ColumnCounts) -> ColumnCounts:
    return ColumnCounts(
        bins=_each(operation, one.bins, other.bins),
        missing=operation(one.missing, other.missing),
        negative_infinity=operation(one.negative_infinity, other.negative_infinity),
        positive_infinity=operation(one.positive_infinity, other.positive_infinity),
        sum=operation(one.sum, other.sum),
        sum_of_squares=operation(one.sum_of_squares, other.sum_of_squares),
        output_sums=tuple(
            _each(operation, a, b) for a, b in zip(one.output_sums, other.output_sums, strict=True)
        ),
        quality=operation(one.quality, other.quality),
    )  # fmt: skip


def _where_there(operation: Any, one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Take those who counted nothing for those who counted 0."""
    length = max(len(one), len(other))
    return _each(operation, one or (0,) * length, other or (0,) * length)


def _each(operation: Any, one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    if len(one) != len(other):
        raise ProfileMismatch(f"{len(one)} counters cannot be added to {len(other)}")
    return tuple(map(operation, one, other))


_TEST_FIELDS = {
    "missing": "missing",
    "negative_infinity": "negativeInfinity",
    "positive_infinity": "positiveInfinity",
    "sum": "sum",
    "sum_of_squares": "sumOfSquares",
}


def _column_to_wire(name: str, counts: ColumnCounts) -> dict[str, Any]:
    wire: dict[str, Any] = {"name": name}
    if any(counts.bins):
        wire["bins"] = list(counts.bins)
    wire |= {key: getattr(counts, attribute) for attribute, key in _TEST_FIELDS.items() if getattr(counts, attribute)}
    if any(map(any, counts.output_sums)):
        wire["outputSums"] = [list(one) for one in counts.output_sums]
    quality = {key: getattr(counts.quality, attribute) for attribute, key in _QUALITY.items()}
    if any(quality.values()):
        wire["quality"] = {key: value for key, value in quality.items() if value}
    return wire


def _column_from_wire(wire: Mapping[str, Any], bins: int, contributing: int) -> ColumnCounts:
    name = wire["name"]
    sums = wire.get("outputSums", [None] * contributing)
    quality = wire.get("quality", {})
    if not isinstance(sums, list) or len(sums) != contributing or not isinstance(quality, dict):
        raise InvalidCounts(f"outputSums or quality of {name!r} do not fit")
    return ColumnCounts(
        bins=_wholes(wire.get("bins"), bins, name),
        output_sums=tuple(_wholes(one, bins, name) for one in sums),
        quality=Quality(**{attribute: _whole(quality.get(key, 0), key) for attribute, key in _QUALITY.items()}),
        **{attribute: _whole(wire.get(key, 0), key) for attribute, key in _TEST_FIELDS.items()},
    )


def _name(wire: Any) -> Any:
    return wire.get("name") if isinstance(wire, dict) else None


def _wholes(value: Any, length: int, where: str) -> tuple[int, ...]:
    if value is None:
        return (0,) * length
    if not isinstance(value, list) or len(value) != length:
        raise InvalidCounts(f"{where!r} must be a list of {length} whole numbers")
    return tuple(_whole(one, where) for one in value)


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidCounts(f"{where!r} must hold whole numbers, not {value!r}")
    return value
