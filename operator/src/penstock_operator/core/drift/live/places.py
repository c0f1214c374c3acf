"""Where in a row of whole numbers each count of a profile is: head, cross sums and moments, then column by column."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_contract.profile import Column, layout_of

#: Half the memory of the usual places: an operator keeps these for each of thousands of models.
Places = npt.NDArray[np.int32]

ROWS, TEST_ROWS = 0, 1
HEAD = 2
TEST_FIELDS = ("missing", "negativeInfinity", "positiveInfinity", "sum", "sumOfSquares")
SPECIAL = 3
QUALITY_FIELDS = ("missing", "negativeInfinity", "positiveInfinity", "below", "above", "unseen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where the numbers of one column begin, and how many there are of each sort."""

    start: int
    bins: int
    outputs: int

    @property
    def fields(self) -> int:
        """Behind the bins: what has none, and sums."""
        return self.start + self.bins

    @property
    def sums(self) -> int:
        """Sums of outputs for each bin."""
        return self.fields + len(TEST_FIELDS)

    @property
    def quality(self) -> int:
        """What is wrong with values."""
        return self.sums + self.bins * self.outputs

    @property
    def end(self) -> int:
        """Where the next column begins."""
        return self.quality + len(QUALITY_FIELDS)


class Order:
    """The places of everything, each sort together."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        layout = layout_of(columns)
        self.crossed = layout.crossed
        self.triangle = layout.crossed * (layout.crossed + 1) // 2
        self.contributing = layout.contributing
        outputs = [layout.contributing if one else 0 for one in layout.inputs]
        sizes = [
            bins + len(TEST_FIELDS) + bins * of + len(QUALITY_FIELDS)
            for bins, of in zip(layout.bins, outputs, strict=True)
        ]
        starts = accumulate(sizes, initial=self.columns_from)
        self.spots = [
            Spot(start=start, bins=bins, outputs=of)
            for start, bins, of in zip(starts, layout.bins, outputs, strict=False)
        ]

    @property
    def columns_from(self) -> int:
        """Where the first column begins."""
        return HEAD + self.crossed + self.triangle

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.spots[-1].end

    @cached_property
    def bins(self) -> Places:
        """Of each bin of each column."""
        return _joined([np.arange(spot.start, spot.fields) for spot in self.spots])

    @cached_property
    def bin_columns(self) -> Places:
        """The column of each of ``bins``."""
        return np.repeat(np.arange(len(self.spots), dtype=np.int32), [spot.bins for spot in self.spots])

    @cached_property
    def bin_places(self) -> Places:
        """Which bin of its column each of ``bins`` is."""
        return _joined([np.arange(spot.bins) for spot in self.spots])

    @cached_property
    def special(self) -> Places:
        """(3, columns): missing, negative and positive infinity."""
        return np.array([[spot.fields + field for spot in self.spots] for field in range(SPECIAL)], dtype=np.int32)

    @cached_property
    def sums(self) -> Places:
        """(2, columns): sum, and sum of squares."""
        fields = range(SPECIAL, len(TEST_FIELDS))
        return np.array([[spot.fields + field for spot in self.spots] for field in fields], dtype=np.int32)

    @cached_property
    def of_quality(self) -> Places:
        """(6, columns)."""
        fields = range(len(QUALITY_FIELDS))
        return np.array([[spot.quality + field for spot in self.spots] for field in fields], dtype=np.int32)

    @cached_property
    def output_sums(self) -> Places:
        """Of each sum of an output over a bin of an input."""
        return _joined([np.arange(spot.sums, spot.quality) for spot in self.spots])

    @cached_property
    def sum_outputs(self) -> Places:
        """The output of each of ``output_sums``."""
        parts = [np.repeat(np.arange(spot.outputs), spot.bins) for spot in self.spots]
        return _joined(parts)

    @cached_property
    def sum_columns(self) -> Places:
        """The input of each of ``output_sums``."""
        return np.repeat(np.arange(len(self.spots), dtype=np.int32), [spot.bins * spot.outputs for spot in self.spots])

    @cached_property
    def sum_places(self) -> Places:
        """The bin of each of ``output_sums``."""
        return _joined([np.tile(np.arange(spot.bins), spot.outputs) for spot in self.spots])

    @cached_property
    def upper(self) -> tuple[Places, Places]:
        """Rows and columns of the upper triangle of cross moments."""
        first, second = np.triu_indices(self.crossed)
        return first.astype(np.int32), second.astype(np.int32)

    @cached_property
    def placed(self) -> Places:
        """What has one for each value of a column: its bins, and what has none."""
        return _joined([np.arange(spot.start, spot.fields + SPECIAL) for spot in self.spots])

    @cached_property
    def placed_columns(self) -> Places:
        """The column of each of ``placed``."""
        return np.repeat(np.arange(len(self.spots), dtype=np.int32), [spot.bins + SPECIAL for spot in self.spots])

    @cached_property
    def never_negative(self) -> Places:
        """What only rises."""
        squares = self.sums[1]
        return _joined([np.array([ROWS, TEST_ROWS]), self.placed, squares, self.of_quality.ravel()])

    @cached_property
    def of_sums(self) -> Places:
        """What may be below 0, as large as its rows allow."""
        return _joined([self.sums[0], self.output_sums])


def _joined(parts: list[Any]) -> Places:
    joined: Places = np.concatenate(parts).astype(np.int32)
    return joined
