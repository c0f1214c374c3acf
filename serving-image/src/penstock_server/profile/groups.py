"""Columns of one tensor that are counted the same way: where among all counters their values fall."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock_contract.profile import (
    CLIP,
    FIXED_POINT,
    PROBABILITY_EPSILON,
    Column,
    Derived,
    Kind,
    Role,
    Transform,
)
from penstock_server.profile.rows import Block
from penstock_server.protocol import DTYPES, Array

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

#: Behind the bins of each column: what has no place among them.
MISSING, NEGATIVE, POSITIVE = range(3)
SPECIAL = 3
#: What may be wrong with a value, in the order of the counters.
QUALITY = ("missing", "negative_infinity", "positive_infinity", "below", "above", "unseen")
#: So many comparisons at a time: what they give has to stay in the processor's second cache.
_COMPARISONS_MAX = 1 << 18
_BYTE_MAX = 255


class Counted(NamedTuple):
    """What a group makes of values, all of it by (columns, …): their slots; for numbers also how large they are."""

    places: Places
    #: Standardised, in fixed point; 0 for what is not finite.
    fixed: Floats | None = None
    #: The smallest and the largest finite value of each column, (2, columns).
    extremes: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Columns of one tensor that are counted the same way at once; ``places`` among all columns, in order."""

    role: Role
    tensor: str
    derived: Derived
    places: list[int]
    #: The same as a slice where they follow each other, which numpy finds several times faster.
    at: slice | list[int]
    indices: list[int]
    #: The tensor must have at least so many columns.
    width_min: int
    #: Of the tensor's columns these are all, in order.
    whole: bool
    #: Those whose sums are kept for each bin of each input.
    contributing: list[int]
    #: What values are compared as; None: as they come.
    dtype: np.dtype[Any] | None

    def rows(self, block: Block) -> Array | None:
        """Return the values as (rows, columns), or None where the block has no such tensor."""
        tensors = block.inputs if self.role is Role.INPUT else block.outputs
        rows = tensors.get(self.tensor)
        if rows is None or rows.shape[1] < self.width_min:
            return None
        if self.derived is Derived.ARGMAX:
            return np.asarray(rows.argmax(axis=1))[:, np.newaxis]
        if self.derived is Derived.MAX:
            return np.asarray(rows.max(axis=1))[:, np.newaxis]
        return rows if self.whole and rows.shape[1] == len(self.indices) else rows[:, self.indices]

    def columns(self, rows: Array) -> Array:
        """Return the values as (columns, rows), in the type that they are compared as."""
        return np.ascontiguousarray(rows.T, dtype=self.dtype)

    def counted(self, values: Array) -> Counted:
        """Return what is to be counted of values; takes (columns, rows)."""
        raise NotImplementedError

    def survey(self, rows: Array) -> tuple[Ints, Floats | None]:
        """Return what is wrong with the values of each column, and the extremes of numbers; takes (rows, columns)."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric(Group):
    """Numbers, between edges."""

    edges: list[Array]
    #: The same edges as (edges, columns, 1), each column's filled up with a number that nothing exceeds.
    ladder: Array
    starts: Places
    bins: Places
    low: Array
    high: Array
    centre: Floats
    factor: Floats
    transform: Transform

    def counted(self, values: Array) -> Counted:
        """Return slots, standardised numbers and extremes."""
        if not values.shape[1]:
            return Counted(np.zeros(values.shape, np.intp), np.zeros(values.shape), extremes_of(values))
        low, high = np.minimum.reduce(values, axis=1), np.maximum.reduce(values, axis=1)
        # Where extremes are finite, everything is, and there is no need to look again.
        finite = values.dtype.kind != "f" or bool(np.isfinite(low).all() and np.isfinite(high).all())
        extremes = np.array((low, high), np.float64) if finite else extremes_of(values)
        return Counted(self._slots(values, finite=finite), self._fixed(values, finite=finite), extremes)

    def _slots(self, values: Array, *, finite: bool) -> Places:
        result: Places = self._below(values) + self.starts
        if finite:
            return result
        special = np.where(np.isnan(values), MISSING, np.where(values > 0, POSITIVE, NEGATIVE))
        return np.where(np.isfinite(values), result, self.starts + self.bins + special)

    def _below(self, values: Array) -> npt.NDArray[Any]:
        """Return the bins: the number of edges below each value.

        Comparing everything with every edge is several times faster than a binary search for each value: it takes no
        branch. For few values all at once, since a call of numpy takes as long as hundreds of comparisons.
        """
        edges = len(self.ladder)
        if edges > _BYTE_MAX:
            return np.array([edges.searchsorted(line) for edges, line in zip(self.edges, values, strict=True)], np.intp)
        if values.size * edges <= _COMPARISONS_MAX:
            above: Array = (values > self.ladder).view(np.uint8)
            return np.asarray(np.add.reduce(above, axis=0, dtype=np.uint8))
        below = np.zeros(values.shape, np.uint8)
        for edge in self.ladder:
            below += values > edge
        return below

    def _fixed(self, values: Array, *, finite: bool) -> Floats:
        numbers = values.astype(np.float64)
        if self.transform is Transform.LOGIT:
            np.clip(numbers, PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON, out=numbers)
            numbers = np.log(numbers / (1 - numbers))
        if not finite:
            numbers = np.where(np.isfinite(numbers), numbers, self.centre)
        with np.errstate(over="ignore"):  # cut off in the next line
            numbers -= self.centre
            numbers *= self.factor
        limit = CLIP * FIXED_POINT
        np.minimum(np.maximum(numbers, -limit, out=numbers), limit, out=numbers)
        return np.rint(numbers, out=numbers)

    def survey(self, rows: Array) -> tuple[Ints, Floats | None]:
        """Return what is wrong with numbers, and their extremes."""
        quality: Ints = np.zeros((len(QUALITY), len(self.places)), np.int64)
        if not len(rows):
            return quality, None
        values = self.columns(rows)
        quality[0] = np.isnan(values).sum(axis=1)
        quality[1] = np.isneginf(values).sum(axis=1)
        quality[2] = np.isposinf(values).sum(axis=1)
        quality[3] = (values <= self.low).sum(axis=1) - quality[1]
        quality[4] = (values > self.high).sum(axis=1) - quality[2]
        return quality, extremes_of(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Categorical(Group):
    """Words or numbers that are names."""

    lookups: list["_Lookup"]
    starts: list[int]

    def counted(self, values: Array) -> Counted:
        """Return slots."""
        places: Places = np.empty(values.shape, np.intp)
        for line, column, lookup, start in zip(places, values, self.lookups, self.starts, strict=True):
            np.add(lookup.codes(column), start, out=line)
        return Counted(places)

    def survey(self, rows: Array) -> tuple[Ints, Floats | None]:
        """Return which names are missing or were never seen before."""
        quality: Ints = np.zeros((len(QUALITY), len(self.places)), np.int64)
        for place, (column, lookup) in enumerate(zip(rows.T, self.lookups, strict=True)):
            codes = lookup.codes(column)
            quality[0, place] = np.count_nonzero(codes == lookup.missing)
            if lookup.complete:
                quality[5, place] = np.count_nonzero(codes == lookup.unseen)
        return quality, None


class _Lookup:
    """From a category to its bin."""

    def __init__(self, column: Column) -> None:
        known = len(column.categories)
        self.complete = column.others_complete
        self.unseen = known + 1
        self.missing = column.bins + MISSING
        self._unknown = self.unseen if self.complete else known
        self._codes: dict[Any, int] = dict.fromkeys(column.others, known)
        self._codes |= {category: code for code, category in enumerate(column.categories)}
        self._text = column.datatype == "BYTES"
        if not self._text:
            ordered = sorted(self._codes)
            self._sorted = np.array(ordered, dtype=np.float64)
            self._sorted_codes = np.array([self._codes[one] for one in ordered], dtype=np.intp)

    def codes(self, values: Array) -> Places:
        """Return the bins of values."""
        if self._text:
            found = [self._codes.get(word, self._unknown) if (word := text_of(value)) else self.missing
                     for value in values.tolist()]  # fmt: skip
            return np.array(found, dtype=np.intp)
        numbers = values.astype(np.float64)
        if not len(self._sorted):
            return np.full(len(values), self._unknown, dtype=np.intp)
        near = np.minimum(self._sorted.searchsorted(numbers), len(self._sorted) - 1)
        codes = np.where(self._sorted[near] == numbers, self._sorted_codes[near], self._unknown)
        return np.where(np.isnan(numbers), self.missing, codes)


def groups_of(columns: Sequence[Column], starts: Sequence[int]) -> list[Group]:
    """Return all columns in groups; ``starts``: where among all counters the bins of each begin."""
    together: dict[tuple[Any, ...], list[int]] = {}
    for place, column in enumerate(columns):
        key = (column.role, column.tensor, column.derived, column.kind, column.transform)
        together.setdefault(key, []).append(place)
    return [_group([columns[place] for place in places], places, starts) for places in together.values()]


def quality_slots(columns: Sequence[Column], starts: Sequence[int]) -> Places:
    """Return the slots that say what is wrong with values, (QUALITY, columns); one behind all others is always empty.

    What lies below the lowest edge is in the first bin and what lies above the highest in the last, so that nobody
    needs to look at values for it once they are counted.
    """
    slots: Places = np.full((len(QUALITY), len(columns)), starts[-1], np.intp)
    for place, (column, start) in enumerate(zip(columns, starts, strict=False)):
        behind = start + column.bins
        slots[0, place] = behind + MISSING
        if column.kind is Kind.NUMERIC:
            slots[1:5, place] = behind + NEGATIVE, behind + POSITIVE, start, start + len(column.edges)
        elif column.others_complete:
            slots[5, place] = start + len(column.categories) + 1
    return slots


def extremes_of(values: Array) -> Floats:
    """Return the smallest and the largest finite value of each line, (2, lines); the wrong way round without any."""
    result: Floats = np.array([[np.inf] * len(values), [-np.inf] * len(values)])
    if values.shape[1] == 0:
        return result
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.all():
            result[0] = np.where(finite, values, np.inf).min(axis=1)
            result[1] = np.where(finite, values, -np.inf).max(axis=1)
            return result
    result[0], result[1] = values.min(axis=1), values.max(axis=1)
    return result


def pairs(extremes: Floats) -> list[tuple[float, float] | None]:
    """Return the columns of ``extremes_of`` as pairs, None where there was no value."""
    return [(low, high) if low <= high else None for low, high in extremes.T.tolist()]


def compared_as(datatype: str) -> np.dtype[Any]:
    """Return what values and edges are compared as: the type of the wire, but wide enough for the edge below 0."""
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        return dtype
    return np.dtype(np.float64 if dtype == np.uint64 else np.int64)


def text_of(value: Any) -> str:
    """Return an element of a BYTES tensor as the text that categories are named by; empty means missing."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _group(columns: Sequence[Column], places: list[int], starts: Sequence[int]) -> Group:
    first = columns[0]
    indices = [column.index for column in columns]
    follow = places == list(range(places[0], places[0] + len(places)))
    common: dict[str, Any] = {
        "role": first.role, "tensor": first.tensor, "derived": first.derived, "places": places,
        "at": slice(places[0], places[-1] + 1) if follow else places,
        "contributing": [place for place, column in zip(places, columns, strict=True) if column.contributes],
        "indices": indices, "width_min": max(indices) + 1, "whole": indices == list(range(len(indices))),
        "dtype": compared_as(first.datatype) if first.kind is Kind.NUMERIC else None,
    }  # fmt: skip
    if first.kind is Kind.CATEGORICAL:
        return Categorical(
            lookups=[_Lookup(column) for column in columns], starts=[starts[place] for place in places], **common
        )
    dtype = compared_as(first.datatype)

    def upright(values: list[float] | list[int], kind: Any) -> Array:
        return np.array(values, dtype=kind)[:, np.newaxis]

    return Numeric(
        ladder=_ladder(columns, dtype),
        edges=[np.array(column.edges, dtype=dtype) for column in columns],
        starts=upright([starts[place] for place in places], np.intp),
        bins=upright([column.bins for column in columns], np.intp),
        low=upright([column.edges[0] for column in columns], dtype),
        high=upright([column.edges[-1] for column in columns], dtype),
        centre=upright([column.centre for column in columns], np.float64),
        factor=upright([FIXED_POINT / column.scale for column in columns], np.float64),
        transform=first.transform,
        **common,
    )


def _ladder(columns: Sequence[Column], dtype: np.dtype[Any]) -> Array:
    top = np.inf if dtype.kind == "f" else np.iinfo(dtype).max
    ladder = np.full((max(len(column.edges) for column in columns), len(columns), 1), top, dtype=dtype)
    for place, column in enumerate(columns):
        ladder[: len(column.edges), place, 0] = column.edges
    return ladder
