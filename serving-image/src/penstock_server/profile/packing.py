"""Requests of one row as bytes: what they take to keep, and to count many of them at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock_server.profile.rows import OUTPUT_ELEMENTS_MAX, Block, Tensors, width
from penstock_server.protocol import DTYPES, Array, TensorSpec

#: A request of one row: the bytes of its inputs and of all outputs, in the order of the model.
Packed = bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What the bytes of a row hold. All rows have the same ``size``; others cannot be packed."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    record: np.dtype[Any]

    @classmethod
    def of(cls, tensors: Tensors, inputs: Mapping[str, Array], outputs: Sequence[Array]) -> "Packing | None":
        """Return what rows like this one hold, None where it is not what the model says of itself."""
        fields: list[tuple[str, np.dtype[Any], tuple[int, ...]]] = []
        rows = [*((spec, inputs[spec.name]) for spec in tensors.inputs), *zip(tensors.outputs, outputs, strict=True)]
        for place, (spec, array) in enumerate(rows):
            if not _fits(spec, array):
                return None
            fields.append((f"f{place}", array.dtype, (array.size,)))
        return cls(
            inputs=tuple(spec.name for spec in tensors.inputs),
            outputs=tuple(spec.name for spec in tensors.outputs),
            record=np.dtype(fields),
        )

    @property
    def size(self) -> int:
        """How many bytes a row has."""
        return self.record.itemsize

    def block(self, packed: Sequence[Packed]) -> Block:
        """Return the rows as matrices."""
        rows = np.frombuffer(b"".join(packed), dtype=self.record)
        matrices = [rows[f"f{place}"] for place in range(len(self.inputs) + len(self.outputs))]
        return Block(
            rows=len(packed),
            inputs=dict(zip(self.inputs, matrices, strict=False)),
            outputs=dict(zip(self.outputs, matrices[len(self.inputs) :], strict=True)),
        )


def _fits(spec: TensorSpec, array: Array) -> bool:
    known = width(spec)
    return (
        array.dtype == DTYPES[spec.datatype] and 0 < array.size <= OUTPUT_ELEMENTS_MAX and known in {None, array.size}
    )
