"""Requests as matrices: one row per row of a request, one column per element."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from penstock_server.protocol import DTYPES, Array, RequestedOutput, TensorSpec

#: Inputs with more elements per row (images, texts) are not counted: a bin per pixel says nothing.
INPUT_COLUMNS_MAX = 1024
#: Outputs with more elements per row are not counted.
OUTPUT_ELEMENTS_MAX = 65_536
#: Of outputs with more elements per row than this, only the place and the value of the largest are counted.
OUTPUT_COLUMNS_MAX = 64


class Seen(Protocol):
    """A request that was answered: what of InferRequest is counted."""

    @property
    def id(self) -> str | None:
        """The name that the client gave it."""

    @property
    def rows(self) -> int:
        """How many rows it has."""

    @property
    def inputs(self) -> Mapping[str, Array]:
        """Its tensors by name."""

    @property
    def outputs(self) -> tuple[RequestedOutput, ...]:
        """The outputs it asked for, in the order of its results."""


#: A request and its results, in the order of its outputs.
Answered = tuple[Seen, Sequence[Array]]


#: Chooses a number below its argument.
Pick = Callable[[int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """The inputs and outputs of a model that are counted."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    #: Whether the model has no others: then requests can be kept as they are.
    all_of_them: bool

    @classmethod
    def of(cls, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> "Tensors":
        """Return those of a model's tensors that are small enough; of outputs also those whose width is not known."""
        ins = _small(inputs, INPUT_COLUMNS_MAX)
        # ONNX-ML's maps of probabilities do not say how many classes there are.
        outs = tuple(spec for spec in outputs if width(spec) is None or spec in _small((spec,), OUTPUT_ELEMENTS_MAX))
        return cls(inputs=ins, outputs=outs, all_of_them=len(ins) == len(inputs) and len(outs) == len(outputs))

    @property
    def packable(self) -> bool:
        """Whether the bytes of a row say everything: texts have none of their own."""
        specs = (*self.inputs, *self.outputs)
        return self.all_of_them and bool(self.inputs) and all(DTYPES[spec.datatype].kind != "O" for spec in specs)

    @property
    def row_elements(self) -> int:
        """How many values a row has, as far as the model tells."""
        return sum(width(spec) or 1 for spec in (*self.inputs, *self.outputs))

    @property
    def row_bytes(self) -> int:
        """How much memory a row takes; texts are taken to be short."""
        return sum((width(spec) or 1) * DTYPES[spec.datatype].itemsize for spec in (*self.inputs, *self.outputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some rows: (rows, width) matrices by tensor, and which rows may serve for tests (None: all of them).

    An output that was not asked for is absent.
    """

    rows: int
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    test: npt.NDArray[np.intp] | None = None


def width(spec: TensorSpec) -> int | None:
    """Return how many elements a row of this tensor has, or None where only its values can tell."""
    rest = spec.shape[1:]
    # No shape at all is a scalar, or a tensor of which the model does not say more.
    return None if not spec.shape or any(size < 0 for size in rest) else math.prod(rest)


def _small(specs: Sequence[TensorSpec], columns_max: int) -> tuple[TensorSpec, ...]:
    return tuple(spec for spec in specs if (size := width(spec)) is not None and 0 < size <= columns_max)


def matrix(array: Array, rows: int) -> Array | None:
    """Return the array as (rows, width), or None where its first dimension does not count the rows."""
    if array.ndim == 0:
        return array.reshape(1, 1) if rows == 1 else None
    if array.shape[0] != rows:
        return None
    return array.reshape(rows, -1) if rows else array.reshape(0, math.prod(array.shape[1:]))


def blocks(answered: Sequence[Answered], tensors: Tensors, pick: Pick) -> Iterator[Block | None]:
    """Yield the rows of many requests in few blocks; None for a request whose arrays cannot be counted.

    Requests that asked for the same outputs go together. ``pick(n)`` chooses one of n rows for tests.
    """
    together: dict[tuple[str, ...], list[Answered]] = {}
    last: tuple[RequestedOutput, ...] | None = None
    group: list[Answered] = []
    for one in answered:
        wanted = one[0].outputs
        if wanted is not last:  # requests that name no output share one tuple
            last = wanted
            group = together.setdefault(tuple(output.name for output in wanted), [])
        group.append(one)
    for names, group in together.items():
        block = _block(names, group, tensors, pick)
        if block is not None or len(group) == 1:
            yield block
        else:
            # One of them is odd; which one, they show when they are taken one by one.
            yield from (_block(names, [one], tensors, pick) for one in group)


def _block(names: tuple[str, ...], group: Sequence[Answered], tensors: Tensors, pick: Pick) -> Block | None:
    rows = [request.rows for request, _ in group]
    inputs: dict[str, Array] = {}
    for spec in tensors.inputs:
        stacked = _stacked([request.inputs[spec.name] for request, _ in group], rows, spec)
        if stacked is None:
            return None
        inputs[spec.name] = stacked
    outputs: dict[str, Array] = {}
    for spec in tensors.outputs:
        if spec.name in names:
            place = names.index(spec.name)
            stacked = _stacked([results[place] for _, results in group], rows, spec)
            if stacked is not None:
                outputs[spec.name] = stacked
    return Block(rows=sum(rows), inputs=inputs, outputs=outputs, test=_test_rows(rows, pick))


def _test_rows(rows: Sequence[int], pick: Pick) -> npt.NDArray[np.intp] | None:
    if all(count == 1 for count in rows):
        return None
    chosen: list[int] = []
    start = 0
    for count in rows:
        if count:
            chosen.append(start + pick(count))
        start += count
    return np.array(chosen, dtype=np.intp)


def _stacked(arrays: Sequence[Array], rows: Sequence[int], spec: TensorSpec) -> Array | None:
    """Return the rows of many arrays as one matrix, or None where one of them has another shape or type."""
    try:
        # Each array costs a look at its length alone: numpy looks at the rest for all of them at once.
        joined = np.concatenate(arrays) if list(map(len, arrays)) == rows else None
    except (TypeError, ValueError):  # a single value, or arrays of several shapes
        joined = None
    if joined is None:
        joined = matrix(arrays[0], rows[0]) if len(arrays) == 1 else None
    wanted, size = DTYPES[spec.datatype], width(spec)
    if joined is None or (joined.dtype != wanted and wanted.kind != "O"):
        return None
    found = math.prod(joined.shape[1:])
    if found != size and (size is not None or not 0 < found <= OUTPUT_ELEMENTS_MAX):
        return None
    return joined.reshape(len(joined), found)
