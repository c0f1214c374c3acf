"""Counts of many windows side by side, as arrays: what every test of drift reads."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_contract.counts import Counts
from penstock_contract.profile import Column, Profile, Role, cross_columns
from penstock_contract.waves import WAVES

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

#: In ``Tallies.special``: finite values have bins, these do not.
MISSING, NEGATIVE_INFINITY, POSITIVE_INFINITY = range(3)
#: In ``Tallies.quality``.
QUALITY = ("missing", "negative_infinity", "positive_infinity", "below", "above", "unseen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The shape of tallies: columns, inputs first, bins filled up to those of the widest.

    ``sea``: the hash of the profile that the waves come from, where it has any.
    """

    columns: tuple[Column, ...]
    sea: str | None = None

    @classmethod
    def of(cls, profile: Profile) -> "Frame":
        """Return the shape of a profile's tallies."""
        return cls(columns=profile.columns, sea=profile.hash if profile.sea is not None else None)

    @property
    def waves(self) -> int:
        """How many numbers the waves have: how many rows there are, and a sum for each wave."""
        return 0 if self.sea is None else 1 + WAVES

    @property
    def width(self) -> int:
        """Bins of the widest column."""
        return max(column.bins for column in self.columns)

    @property
    def inputs(self) -> int:
        """How many columns are inputs; they come first."""
        return sum(column.role is Role.INPUT for column in self.columns)

    @property
    def contributing(self) -> tuple[int, ...]:
        """Places of the outputs whose sums are kept for each bin of each input."""
        return tuple(place for place, column in enumerate(self.columns) if column.contributes)

    @property
    def crossed(self) -> tuple[int, ...]:
        """Places of the columns whose cross moments are kept."""
        return cross_columns(self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallies:
    """One window per entry of the first dimension. All are whole numbers below 2**53, so floating point is exact.

    ``bins`` (windows, columns, width), ``special`` (windows, 3, columns), ``quality`` (windows, 6, columns),
    ``sums`` (windows, 2, columns), ``output_sums`` (windows, outputs, inputs, width),
    ``cross`` (windows, crossed, crossed), ``cross_sums`` (windows, crossed), ``waves`` (windows, rows and waves or
    none), ``rows`` and ``test_rows`` (windows,).
    """

    rows: Floats
    test_rows: Floats
    bins: Floats
    special: Floats
    quality: Floats
    sums: Floats
    output_sums: Floats
    cross: Floats
    cross_sums: Floats
    waves: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> "Tallies":
        return Tallies(**{one.name: getattr(self, one.name)[part] for one in fields(self)})

    def followed_by(self, later: "Tallies") -> "Tallies":
        """Return these windows and then others."""
        return Tallies(
            **{one.name: np.concatenate([getattr(self, one.name), getattr(later, one.name)]) for one in fields(self)},
        )

    def copy(self) -> "Tallies":
        """Return the same in memory of its own: a part of a larger array would keep all of it."""
        return Tallies(**{one.name: getattr(self, one.name).copy() for one in fields(self)})

    def weighing(self, rows: float) -> "Tallies":
        """Return windows of more rows as if they had so many: the same shares, but less evidence.

        Rows for tests and rows for data quality are each brought down by themselves.
        """
        tests = np.minimum(1.0, rows / np.maximum(self.test_rows, 1.0))
        everything = np.minimum(1.0, rows / np.maximum(self.rows, 1.0))

        def weighed(name: str) -> Floats:
            values: Floats = getattr(self, name)
            if name in {"rows", "test_rows"}:  # exactly, or a window would not be of the judge's length
                return np.minimum(values, rows)
            share = everything if name == "quality" else tests
            return values * share.reshape(-1, *([1] * (values.ndim - 1)))

        return Tallies(**{one.name: weighed(one.name) for one in fields(self)})

    def sliding(self, parts: int) -> "Tallies":
        """Return the sums of ``parts`` successive windows, one for each window that ends such a run."""
        count = max(0, len(self) - parts + 1)
        return Tallies(
            **{one.name: sum(getattr(self, one.name)[at : at + count] for at in range(parts)) for one in fields(self)},
        )

    def coarser(self) -> "Tallies":
        """Return windows twice as long: each the sum of two neighbours. An odd one at the end is left out."""
        half = len(self) // 2
        return Tallies(
            **{one.name: _pairs(getattr(self, one.name), half) for one in fields(self)},
        )

    @classmethod
    def of(cls, counts: Sequence[Counts], frame: Frame) -> "Tallies":
        """Return the counts of windows as arrays."""
        parts = [_of_one(one, frame) for one in counts]
        return cls(**{name: np.stack([part[name] for part in parts]) for name in parts[0]})


def _pairs(array: Floats, half: int) -> Floats:
    paired: Floats = array[: 2 * half].reshape(half, 2, *array.shape[1:]).sum(axis=1)
    return paired


def _of_one(counts: Counts, frame: Frame) -> dict[str, Any]:
    width, inputs, crossed = frame.width, frame.inputs, len(frame.crossed)
    bins = np.zeros((len(frame.columns), width))
    output_sums = np.zeros((len(frame.contributing), inputs, width))
    for place, column in enumerate(counts.columns):
        bins[place, : len(column.bins)] = column.bins
        for k, line in enumerate(column.output_sums):
            output_sums[k, place, : len(line)] = line
    cross = np.zeros((crossed, crossed))
    cross[np.triu_indices(crossed)] = counts.cross
    return {
        "rows": np.float64(counts.rows),
        "test_rows": np.float64(counts.test_rows),
        "bins": bins,
        "special": _lines(counts, "missing", "negative_infinity", "positive_infinity"),
        "quality": np.array(
            [[getattr(one.quality, name) for one in counts.columns] for name in QUALITY], dtype=np.float64
        ),
        "sums": _lines(counts, "sum", "sum_of_squares"),
        "output_sums": output_sums,
        "cross": np.triu(cross) + np.triu(cross, 1).T,
        "cross_sums": np.array(counts.cross_sums, dtype=np.float64),
        "waves": np.array(counts.waves or (0,) * frame.waves, dtype=np.float64)[: frame.waves],
    }


def _lines(counts: Counts, *names: str) -> Floats:
    return np.array([[getattr(one, name) for one in counts.columns] for name in names], dtype=np.float64)
