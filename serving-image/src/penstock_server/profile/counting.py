"""Counts rows into the bins of a profile, many at a time."""

from collections.abc import Sequence

import numpy as np

from penstock_contract.counts import ColumnCounts, Counts, Quality
from penstock_contract.profile import Column, Profile, Role, cross_columns
from penstock_server.profile.groups import (
    MISSING,
    NEGATIVE,
    POSITIVE,
    QUALITY,
    SPECIAL,
    Floats,
    Group,
    Ints,
    Places,
    groups_of,
    pairs,
    quality_slots,
)
from penstock_server.profile.rows import Block
from penstock_server.profile.waves import Scatter, Waves
from penstock_server.protocol import Array


class Counter:
    """Adds up what a profile's columns hold. One thread at a time; memory depends on the columns alone."""

    def __init__(self, columns: Sequence[Column], *, waves: Waves | None = None) -> None:
        self._columns = tuple(columns)
        self._waves = waves
        #: Who wants to know how waves scatter.
        self.scatter: Scatter | None = None
        sizes = [column.bins + SPECIAL for column in columns]
        self._starts = [int(start) for start in np.cumsum([0, *sizes])]
        ordered = sorted(range(len(columns)), key=lambda place: columns[place].role is Role.OUTPUT)
        if ordered != list(range(len(columns))):
            raise ValueError("columns of inputs must come before those of outputs")
        self._input_slots = self._starts[sum(column.role is Role.INPUT for column in columns)]
        self._groups = groups_of(self._columns, self._starts)
        self._quality_slots = quality_slots(self._columns, self._starts)
        self._crossed = cross_columns(columns)
        contributing = [place for place, column in enumerate(columns) if column.contributes]
        self._output_place = {place: k for k, place in enumerate(contributing)}
        input_places = [place for group in self._groups if group.role is Role.INPUT for place in group.places]
        self._cross_lines = [input_places.index(place) for place in self._crossed]
        self._scores = _score_table(self._columns, self._starts)
        count = len(columns)
        self._rows = 0
        self._test_rows = 0
        self._slots: Ints = np.zeros(self._starts[-1], np.int64)
        self._sums: Ints = np.zeros((2, count), np.int64)
        self._output_sums: Ints = np.zeros((len(contributing), self._input_slots), np.int64)
        self._cross: Ints = np.zeros((len(self._crossed),) * 2, np.int64)
        self._cross_sums: Ints = np.zeros(len(self._crossed), np.int64)
        #: Smallest and largest finite value; the wrong way round before the first one.
        self._extremes: Floats = np.array([[np.inf] * count, [-np.inf] * count])
        #: Over all rows: missing, -inf, inf, below, above, unseen.
        self._quality: Ints = np.zeros((len(QUALITY), count), np.int64)

    @classmethod
    def of(cls, profile: Profile) -> "Counter":
        """Return one that counts all that a profile asks for."""
        waves = Waves(profile.hash, len(cross_columns(profile.columns))) if profile.sea is not None else None
        return cls(profile.columns, waves=waves)

    @property
    def nbytes(self) -> int:
        """The memory of all counters."""
        arrays = (self._slots, self._sums, self._output_sums, self._cross, self._cross_sums, self._quality)
        return sum(array.nbytes for array in arrays) + (self._waves.nbytes if self._waves else 0)

    def add(self, block: Block) -> None:
        """Count the rows of a block: all of them or, where anything about them is wrong, none."""
        test_rows = block.rows if block.test is None else len(block.test)
        places: list[Places] = []
        inputs: list[Places] = []
        sums: Ints = np.zeros_like(self._sums)
        outputs: Floats = np.zeros((len(self._output_place), test_rows))
        extremes = np.array(self._extremes)
        seen = [(group, rows) for group in self._groups if (rows := group.rows(block)) is not None]
        for group, rows in seen:
            counted = group.counted(group.columns(rows if block.test is None else rows[block.test]))
            places.append(counted.places)
            if group.role is Role.INPUT:
                inputs.append(counted.places)
            if counted.fixed is not None:
                fixed = counted.fixed
                # Whole numbers far below 2**53: floating point has added them exactly.
                sums[0, group.at] = np.add.reduce(fixed, axis=1)
                sums[1, group.at] = np.vecdot(fixed, fixed)
                for place in group.contributing:
                    outputs[self._output_place[place]] = fixed[group.places.index(place)]
            if counted.extremes is not None:
                extremes[:, group.at] = counted.extremes
        flat = np.concatenate([one.ravel() for one in places]) if places else np.zeros(0, np.intp)
        # One more than there are: the one that is always empty.
        slots = np.bincount(flat, minlength=len(self._slots) + 1)
        quality = slots[self._quality_slots] if block.test is None else self._survey(seen, extremes)
        # Inputs are never absent: without them there was no request.
        of_inputs = np.concatenate(inputs) if inputs else np.zeros((0, test_rows), np.intp)
        crossed = self._scores.take(of_inputs[self._cross_lines]) if self._crossed else None
        heights = self._waves.of(crossed) if self._waves and crossed is not None else None
        by_bin = [self._sums_by_bin(of_inputs, values) for values in outputs]
        # Nothing above changed a counter and nothing below can fail.
        self._slots += slots[:-1]
        self._sums += sums
        for k, line in enumerate(by_bin):
            self._output_sums[k] += line
        self._quality += quality
        if crossed is not None:
            self._cross += np.rint(crossed @ crossed.T).astype(np.int64)
            self._cross_sums += np.rint(crossed.sum(axis=1)).astype(np.int64)
            if self._waves and heights is not None:
                self._waves.add(heights)
            if self.scatter is not None:
                self.scatter.add(crossed)
        np.fmin(self._extremes[0], extremes[0], out=self._extremes[0])
        np.fmax(self._extremes[1], extremes[1], out=self._extremes[1])
        self._rows += block.rows
        self._test_rows += test_rows

    def _survey(self, seen: Sequence[tuple[Group, Array]], extremes: Floats) -> Ints:
        """Return what is wrong with rows of which only some serve for tests; note the extremes of all."""
        quality = np.zeros_like(self._quality)
        for group, rows in seen:
            quality[:, group.at], found = group.survey(rows)
            if found is not None:
                extremes[:, group.at] = found
        return quality

    def counts(self) -> Counts:
        """Return everything counted so far."""
        upper = np.triu_indices(len(self._crossed))
        return Counts(
            rows=self._rows,
            test_rows=self._test_rows,
            columns=tuple(self._column_counts(place) for place in range(len(self._columns))),
            cross=tuple(self._cross[upper].tolist()),
            cross_sums=tuple(self._cross_sums.tolist()),
            waves=self._waves.counts() if self._waves else (),
        )

    def extremes(self) -> list[tuple[float, float] | None]:
        """Return, per column, the smallest and the largest finite number so far, if there was one."""
        return pairs(self._extremes)

    def _column_counts(self, place: int) -> ColumnCounts:
        column, start = self._columns[place], self._starts[place]
        bins: list[int] = self._slots[start : start + column.bins].tolist()
        special: list[int] = self._slots[start + column.bins : start + column.bins + SPECIAL].tolist()
        quality: list[int] = self._quality[:, place].tolist()
        by_output: list[list[int]] = []
        if column.role is Role.INPUT:
            by_output = self._output_sums[:, start : start + column.bins].tolist()
        return ColumnCounts(
            bins=tuple(bins),
            missing=special[MISSING],
            negative_infinity=special[NEGATIVE],
            positive_infinity=special[POSITIVE],
            sum=int(self._sums[0, place]),
            sum_of_squares=int(self._sums[1, place]),
            output_sums=tuple(map(tuple, by_output)),
            quality=Quality(**dict(zip(QUALITY, quality, strict=True))),
        )

    def _sums_by_bin(self, of_inputs: Places, values: Floats) -> Ints:
        weights = np.broadcast_to(values, of_inputs.shape).ravel()
        by_bin = np.bincount(of_inputs.ravel(), weights=weights, minlength=self._input_slots)
        # Whole numbers far below 2**53: floating point has added them exactly.
        return np.rint(by_bin).astype(np.int64)


def _score_table(columns: Sequence[Column], starts: Sequence[int]) -> Floats:
    table: Floats = np.zeros(starts[-1])
    for column, start in zip(columns, starts, strict=False):
        if column.scores:
            table[start : start + column.bins] = column.scores
            table[start + column.bins + NEGATIVE] = column.scores[0]
            table[start + column.bins + POSITIVE] = column.scores[-1]
    return table
