"""Counts rows into the bins of a profile, many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_contract.counts import ColumnCounts, Counts, Quality
from penstock_contract.profile import (
    CLIP,
    FIXED_POINT,
    PROBABILITY_EPSILON,
    Column,
    Derived,
    Kind,
    Role,
    Transform,
    cross_columns,
)
from penstock_server.profile.rows import Block
from penstock_server.protocol import DTYPES, Array

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Places = npt.NDArray[np.intp]

#: Behind the bins of each column: what has no place among them.
_MISSING, _NEGATIVE, _POSITIVE = range(3)
_SPECIAL = 3
_QUALITY = ("missing", "negative_infinity", "positive_infinity", "below", "above", "unseen")
_FEW_ROWS = 32
#: With so many columns it pays to find the bins of all of them at once.
_SIDE_BY_SIDE = 8


class Counter:
    """Adds up what a profile's columns hold. One thread at a time; memory depends on the columns alone."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        sizes = [column.bins + _SPECIAL for column in columns]
        self._starts = [int(start) for start in np.cumsum([0, *sizes])]
        ordered = sorted(range(len(columns)), key=lambda place: columns[place].role is Role.OUTPUT)
        if ordered != list(range(len(columns))):
            raise ValueError("columns of inputs must come before those of outputs")
        self._input_slots = self._starts[sum(column.role is Role.INPUT for column in columns)]
        self._groups = _groups(self._columns, self._starts)
        self._crossed = cross_columns(columns)
        contributing = [place for place, column in enumerate(columns) if column.contributes]
        self._output_place = {place: k for k, place in enumerate(contributing)}
        input_places = [place for group in self._groups if group.role is Role.INPUT for place in group.places]
        self._cross_lines = [input_places.index(place) for place in self._crossed]
        self._scores = _score_table(self._columns, self._starts)
        count = len(columns)
        self._rows = 0
        self._test_rows = 0
        self._slots: _Ints = np.zeros(self._starts[-1], np.int64)
        self._sums: _Ints = np.zeros((2, count), np.int64)
        self._output_sums: _Ints = np.zeros((len(contributing), self._input_slots), np.int64)
        self._cross: _Ints = np.zeros((len(self._crossed),) * 2, np.int64)
        self._cross_sums: _Ints = np.zeros(len(self._crossed), np.int64)
        #: Smallest and largest finite value; the wrong way round before the first one.
        self._extremes: _Floats = np.array([[np.inf] * count, [-np.inf] * count])
        #: Over all rows: missing, -inf, inf, below, above, unseen.
        self._quality: _Ints = np.zeros((len(_QUALITY), count), np.int64)

    @property
    def nbytes(self) -> int:
        """The memory of all counters."""
        arrays = (self._slots, self._sums, self._output_sums, self._cross, self._cross_sums, self._quality)
        return sum(array.nbytes for array in arrays)

    def add(self, block: Block) -> None:
        """Count the rows of a block: all of them or, where anything about them is wrong, none."""
        test_rows = block.rows if block.test is None else len(block.test)
        seen = [(group, rows) for group in self._groups if (rows := group.rows(block)) is not None]
        places: list[_Places] = []
        sums: _Ints = np.zeros_like(self._sums)
        quality: _Ints = np.zeros_like(self._quality)
        outputs: _Floats = np.zeros((len(self._output_place), test_rows))
        extremes = np.array(self._extremes)
        for group, rows in seen:
            values = group.columns(rows if block.test is None else rows[block.test])
            places.append(group.slots(values))
            quality[:, group.places], found = group.survey(rows)
            if found is not None:
                extremes[:, group.places] = found
            if isinstance(group, _Numeric):
                fixed = group.fixed(values)
                sums[0, group.places] = fixed.sum(axis=1)
                sums[1, group.places] = np.square(fixed).sum(axis=1)
                for place in group.contributing:
                    outputs[self._output_place[place]] = fixed[group.places.index(place)]
        inputs = [one for (group, _), one in zip(seen, places, strict=True) if group.role is Role.INPUT]
        # Inputs are never absent: without them there was no request.
        of_inputs = np.concatenate(inputs) if inputs else np.zeros((0, test_rows), np.intp)
        crossed = self._scores.take(of_inputs[self._cross_lines]) if self._crossed else None
        by_bin = [self._sums_by_bin(of_inputs, values) for values in outputs]
        # Nothing above changed a counter and nothing below can fail.
        if places:
            flat = np.concatenate([one.ravel() for one in places])
            self._slots += np.bincount(flat, minlength=len(self._slots))
        self._sums += sums
        for k, line in enumerate(by_bin):
            self._output_sums[k] += line
        self._quality += quality
        if crossed is not None:
            self._cross += np.rint(crossed @ crossed.T).astype(np.int64)
            self._cross_sums += np.rint(crossed.sum(axis=1)).astype(np.int64)
        np.fmin(self._extremes[0], extremes[0], out=self._extremes[0])
        np.fmax(self._extremes[1], extremes[1], out=self._extremes[1])
        self._rows += block.rows
        self._test_rows += test_rows

    def counts(self) -> Counts:
        """Return everything counted so far."""
        upper = np.triu_indices(len(self._crossed))
        return Counts(
            rows=self._rows,
            test_rows=self._test_rows,
            columns=tuple(self._column_counts(place) for place in range(len(self._columns))),
            cross=tuple(self._cross[upper].tolist()),
            cross_sums=tuple(self._cross_sums.tolist()),
        )

    def extremes(self) -> list[tuple[float, float] | None]:
        """Return, per column, the smallest and the largest finite number so far, if there was one."""
        return pairs(self._extremes)

    def _column_counts(self, place: int) -> ColumnCounts:
        column, start = self._columns[place], self._starts[place]
        bins: list[int] = self._slots[start : start + column.bins].tolist()
        special: list[int] = self._slots[start + column.bins : start + column.bins + _SPECIAL].tolist()
        quality: list[int] = self._quality[:, place].tolist()
        by_output: list[list[int]] = []
        if column.role is Role.INPUT:
            by_output = self._output_sums[:, start : start + column.bins].tolist()
        return ColumnCounts(
            bins=tuple(bins),
            missing=special[_MISSING],
            negative_infinity=special[_NEGATIVE],
            positive_infinity=special[_POSITIVE],
            sum=int(self._sums[0, place]),
            sum_of_squares=int(self._sums[1, place]),
            output_sums=tuple(map(tuple, by_output)),
            quality=Quality(**dict(zip(_QUALITY, quality, strict=True))),
        )

    def _sums_by_bin(self, of_inputs: _Places, values: _Floats) -> _Ints:
        weights = np.tile(values, len(of_inputs))
        by_bin = np.bincount(of_inputs.ravel(), weights=weights, minlength=self._input_slots)
        # Whole numbers far below 2**53: floating point has added them exactly.
        return np.rint(by_bin).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Columns of one tensor that are counted the same way at once; ``places`` among all columns, in order."""

    role: Role
    tensor: str
    derived: Derived
    places: list[int]
    indices: list[int]
    #: Those whose sums are kept for each bin of each input.
    contributing: list[int]
    #: What values are compared as; None: as they come.
    dtype: np.dtype[Any] | None

    def rows(self, block: Block) -> Array | None:
        """Return the values as (rows, columns), or None where the block has no such tensor."""
        tensors = block.inputs if self.role is Role.INPUT else block.outputs
        rows = tensors.get(self.tensor)
        if rows is None or rows.shape[1] <= max(self.indices):
            return None
        if self.derived is Derived.ARGMAX:
            return np.asarray(rows.argmax(axis=1))[:, np.newaxis]
        if self.derived is Derived.MAX:
            return np.asarray(rows.max(axis=1))[:, np.newaxis]
        return rows if self.indices == list(range(rows.shape[1])) else rows[:, self.indices]

    def columns(self, rows: Array) -> Array:
        """Return the values as (columns, rows), in the type that they are compared as."""
        return np.ascontiguousarray(rows.T, dtype=self.dtype)

    def slots(self, values: Array) -> _Places:
        """Return where among all counters each value falls; takes and returns (columns, rows)."""
        raise NotImplementedError

    def survey(self, rows: Array) -> tuple[_Ints, _Floats | None]:
        """Return what is wrong with the values of each column, and the extremes of numbers; takes (rows, columns)."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numeric(_Group):
    edges: list[Array]
    #: The same edges as (edges, columns, 1), each column's filled up with a number that nothing exceeds.
    ladder: Array
    starts: list[int]
    bins: _Places
    low: Array
    high: Array
    centre: _Floats
    factor: _Floats
    transform: Transform

    def slots(self, values: Array) -> _Places:
        if len(self.places) < _SIDE_BY_SIDE:
            result: _Places = np.empty(values.shape, np.intp)
            for line, column, edges, start in zip(result, values, self.edges, self.starts, strict=True):
                np.add(edges.searchsorted(column), start, out=line)
        else:
            # A bin is the number of edges below a value. Comparing all columns with one edge after the other is
            # several times faster than a binary search for each value: it takes no branch.
            below = np.zeros(values.shape, np.uint8)
            for edge in self.ladder:
                below += values > edge
            result = below + np.array(self.starts, dtype=np.intp)[:, np.newaxis]
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                behind = np.broadcast_to((np.array(self.starts) + self.bins)[:, np.newaxis], values.shape)
                special = np.where(np.isnan(values), _MISSING, np.where(values > 0, _POSITIVE, _NEGATIVE))
                result = np.where(finite, result, behind + special)
        return result

    def fixed(self, values: Array) -> _Floats:
        """Return the standardised values in fixed point; 0 for what is not finite."""
        numbers = values.astype(np.float64)
        if self.transform is Transform.LOGIT:
            np.clip(numbers, PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON, out=numbers)
            numbers = np.log(numbers / (1 - numbers))
        finite = np.isfinite(numbers)
        if not finite.all():
            numbers = np.where(finite, numbers, self.centre[:, np.newaxis])
        with np.errstate(over="ignore"):  # cut off in the next line
            numbers -= self.centre[:, np.newaxis]
            numbers *= self.factor[:, np.newaxis]
        np.clip(numbers, -CLIP * FIXED_POINT, CLIP * FIXED_POINT, out=numbers)
        return np.rint(numbers, out=numbers)

    def survey(self, rows: Array) -> tuple[_Ints, _Floats | None]:
        quality: _Ints = np.zeros((len(_QUALITY), len(self.places)), np.int64)
        if not len(rows):
            return quality, None
        # Where extremes are finite, nothing is missing, and most columns need no further look.
        low, high = _folded(np.minimum, rows), _folded(np.maximum, rows)
        if rows.dtype.kind == "f" and not (np.isfinite(low).all() and np.isfinite(high).all()):
            return self._survey_all(self.columns(rows))
        for place in np.flatnonzero(low <= self.low[:, 0]):
            quality[3, place] = np.count_nonzero(rows[:, place] <= self.low[place])
        for place in np.flatnonzero(high > self.high[:, 0]):
            quality[4, place] = np.count_nonzero(rows[:, place] > self.high[place])
        return quality, np.array([low, high], dtype=np.float64)

    def _survey_all(self, values: Array) -> tuple[_Ints, _Floats]:
        quality: _Ints = np.zeros((len(_QUALITY), len(self.places)), np.int64)
        quality[0] = np.isnan(values).sum(axis=1)
        quality[1] = np.isneginf(values).sum(axis=1)
        quality[2] = np.isposinf(values).sum(axis=1)
        quality[3] = (values <= self.low).sum(axis=1) - quality[1]
        quality[4] = (values > self.high).sum(axis=1) - quality[2]
        return quality, extremes_of(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Categorical(_Group):
    lookups: list["_Lookup"]
    starts: list[int]

    def slots(self, values: Array) -> _Places:
        result: _Places = np.empty(values.shape, np.intp)
        for line, column, lookup, start in zip(result, values, self.lookups, self.starts, strict=True):
            np.add(lookup.codes(column), start, out=line)
        return result

    def survey(self, rows: Array) -> tuple[_Ints, _Floats | None]:
        quality: _Ints = np.zeros((len(_QUALITY), len(self.places)), np.int64)
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
        self.missing = column.bins + _MISSING
        self._unknown = self.unseen if self.complete else known
        self._codes: dict[Any, int] = dict.fromkeys(column.others, known)
        self._codes |= {category: code for code, category in enumerate(column.categories)}
        self._text = column.datatype == "BYTES"
        if not self._text:
            ordered = sorted(self._codes)
            self._sorted = np.array(ordered, dtype=np.float64)
            self._sorted_codes = np.array([self._codes[one] for one in ordered], dtype=np.intp)

    def codes(self, values: Array) -> _Places:
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


def _folded(operation: np.ufunc, rows: Array) -> Array:
    """Return ``operation.reduce(rows)`` for many short rows: by halves, so that numpy loops over long lines."""
    while len(rows) > _FEW_ROWS:
        half = len(rows) // 2
        odd = rows[2 * half :]
        rows = operation(rows[:half], rows[half : 2 * half])
        if len(odd):
            rows[0] = operation(rows[0], odd[0])
    return np.asarray(operation.reduce(rows))


def extremes_of(values: Array) -> _Floats:
    """Return the smallest and the largest finite value of each line, (2, lines); the wrong way round without any."""
    result: _Floats = np.array([[np.inf] * len(values), [-np.inf] * len(values)])
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


def pairs(extremes: _Floats) -> list[tuple[float, float] | None]:
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


def _groups(columns: Sequence[Column], starts: Sequence[int]) -> list[_Group]:
    together: dict[tuple[Any, ...], list[int]] = {}
    for place, column in enumerate(columns):
        key = (column.role, column.tensor, column.derived, column.kind, column.transform)
        together.setdefault(key, []).append(place)
    return [_group([columns[place] for place in places], places, starts) for places in together.values()]


def _group(columns: Sequence[Column], places: list[int], starts: Sequence[int]) -> _Group:
    first = columns[0]
    common: dict[str, Any] = {
        "role": first.role, "tensor": first.tensor, "derived": first.derived, "places": places,
        "contributing": [place for place, column in zip(places, columns, strict=True) if column.contributes],
        "indices": [column.index for column in columns], "starts": [starts[place] for place in places],
        "dtype": compared_as(first.datatype) if first.kind is Kind.NUMERIC else None,
    }  # fmt: skip
    if first.kind is Kind.CATEGORICAL:
        return _Categorical(lookups=[_Lookup(column) for column in columns], **common)
    dtype = compared_as(first.datatype)
    return _Numeric(
        ladder=_ladder(columns, dtype),
        edges=[np.array(column.edges, dtype=dtype) for column in columns],
        bins=np.array([column.bins for column in columns], dtype=np.intp),
        low=np.array([[column.edges[0]] for column in columns], dtype=dtype),
        high=np.array([[column.edges[-1]] for column in columns], dtype=dtype),
        centre=np.array([column.centre for column in columns]),
        factor=np.array([FIXED_POINT / column.scale for column in columns]),
        transform=first.transform,
        **common,
    )


def _ladder(columns: Sequence[Column], dtype: np.dtype[Any]) -> Array:
    top = np.inf if dtype.kind == "f" else np.iinfo(dtype).max
    ladder = np.full((max(len(column.edges) for column in columns), len(columns), 1), top, dtype=dtype)
    for place, column in enumerate(columns):
        ladder[: len(column.edges), place, 0] = column.edges
    return ladder


def _score_table(columns: Sequence[Column], starts: Sequence[int]) -> _Floats:
    table: _Floats = np.zeros(starts[-1])
    for column, start in zip(columns, starts, strict=False):
        if column.scores:
            table[start : start + column.bins] = column.scores
            table[start + column.bins + _NEGATIVE] = column.scores[0]
            table[start + column.bins + _POSITIVE] = column.scores[-1]
    return table
