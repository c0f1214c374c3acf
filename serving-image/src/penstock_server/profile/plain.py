"""Counts rows where there is no profile: what is missing, how large values are, and nothing about shapes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_server.profile.groups import extremes_of, pairs, text_of
from penstock_server.profile.rows import INPUT_COLUMNS_MAX, OUTPUT_COLUMNS_MAX, Block, Tensors, width
from penstock_server.protocol import Array, TensorSpec

#: The square of a larger number is infinite, and no sum would ever recover from it.
_LARGEST = 1e150


class PlainCounter:
    """Adds up moments and what is missing. One thread at a time."""

    def __init__(self, tensors: Tensors) -> None:
        self._rows = 0
        self._tensors = [
            *(_Tensor(spec, "inputs", of_inputs=True) for spec in tensors.inputs),
            *(_Tensor(spec, "outputs", of_inputs=False) for spec in tensors.outputs),
        ]  # fmt: skip

    def add(self, block: Block) -> None:
        """Count all rows of a block."""
        for tensor in self._tensors:
            rows = (block.inputs if tensor.of_inputs else block.outputs).get(tensor.name)
            if rows is not None:
                tensor.add(rows)
        self._rows += block.rows

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of everything counted so far."""
        return {"rows": self._rows, "columns": [column for tensor in self._tensors for column in tensor.to_wire()]}


class _Tensor:
    def __init__(self, spec: TensorSpec, folder: str, *, of_inputs: bool) -> None:
        self.name = spec.name
        self.of_inputs = of_inputs
        self._folder = folder
        self._columns_max = INPUT_COLUMNS_MAX if of_inputs else OUTPUT_COLUMNS_MAX
        self._size = width(spec)
        self._make(self._size if self._size is not None and self._size <= self._columns_max else 0)

    def _make(self, size: int) -> None:
        self._names = column_names(self._folder, self.name, size)
        # Present, missing, -inf, inf; sum, sum of squares; smallest, largest.
        self._whole: npt.NDArray[np.int64] = np.zeros((4, size), np.int64)
        self._sums: npt.NDArray[np.float64] = np.zeros((2, size))
        self._extremes: npt.NDArray[np.float64] = np.array([[np.inf] * size, [-np.inf] * size])

    def add(self, rows: Array) -> None:
        if self._size is None:
            self._size = rows.shape[1]
            self._make(self._size if self._size <= self._columns_max else 0)
        if rows.shape[1] != len(self._names):
            return
        if rows.dtype.kind == "O":
            missing = np.array([[text_of(value) == "" for value in row] for row in rows.tolist()], dtype=np.bool_)
            self._count(missing.reshape(rows.shape))
            return
        self._add_numbers(rows.astype(np.float64))

    def _add_numbers(self, values: npt.NDArray[np.float64]) -> None:
        absent = ~np.isfinite(values)
        self._count(np.isnan(values))
        if absent.any():
            self._whole[2] += np.isneginf(values).sum(axis=0)
            self._whole[3] += np.isposinf(values).sum(axis=0)
            self._whole[0] -= np.isinf(values).sum(axis=0)
        extremes = extremes_of(values.T)
        np.minimum(self._extremes[0], extremes[0], out=self._extremes[0])
        np.maximum(self._extremes[1], extremes[1], out=self._extremes[1])
        values = np.clip(np.where(absent, 0.0, values), -_LARGEST, _LARGEST)
        self._sums[0] += values.sum(axis=0)
        self._sums[1] += np.square(values).sum(axis=0)

    def _count(self, missing: npt.NDArray[np.bool_]) -> None:
        absent = missing.sum(axis=0)
        self._whole[0] += len(missing) - absent
        self._whole[1] += absent

    def to_wire(self) -> list[dict[str, Any]]:
        keys = ("count", "missing", "negativeInfinity", "positiveInfinity")
        columns: list[dict[str, Any]] = []
        for name, whole, sums, extremes in zip(
            self._names, self._whole.T.tolist(), self._sums.T.tolist(), pairs(self._extremes), strict=True
        ):
            column: dict[str, Any] = {"name": name, **dict(zip(keys, whole, strict=True))}
            if extremes is not None:
                column |= {"sum": sums[0], "sumOfSquares": sums[1], "min": extremes[0], "max": extremes[1]}
            columns.append(column)
        return columns


def column_names(folder: str, tensor: str, size: int, given: Sequence[str] = ()) -> list[str]:
    """Return the names of a tensor's columns: ``given`` ones, else its own with the place where it has several.

    >>> column_names("outputs", "p", 2), column_names("inputs", "age", 1)
    (['outputs/p[0]', 'outputs/p[1]'], ['inputs/age'])
    """
    names = list(given) or ([tensor] if size == 1 else [f"{tensor}[{place}]" for place in range(size)])
    return [f"{folder}/{name}" for name in names]
