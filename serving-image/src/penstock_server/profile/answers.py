"""Runs the model over held-out rows, in batches."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from penstock_server.cpu import usable_cores
from penstock_server.profile.binding import Bound
from penstock_server.profile.plain import column_names
from penstock_server.profile.rows import OUTPUT_ELEMENTS_MAX
from penstock_server.profile.table import UnusableData
from penstock_server.protocol import Array, TensorSpec
from penstock_server.session import Cancellation, InputRefused, LoadFailed, RunFailed, Session

_BATCH_ROWS = 1024
#: Batches of wide rows are smaller: activations are many times larger than their inputs.
_BATCH_ELEMENTS = 1 << 22


def load(path: Path) -> Session:
    """Return the model; raise UnusableData where it cannot be loaded."""
    try:
        return Session.load(path, threads=usable_cores())
    except LoadFailed as error:
        raise UnusableData(f"{path} cannot be loaded: {error}") from None


def answers(
    session: Session, inputs: Sequence[Bound], ran: Callable[[int], None] = lambda _rows: None
) -> tuple[Bound, ...]:
    """Return what the model answers to all rows; raise UnusableData. ``ran`` is told of rows as they are done.

    A model that takes batches of one size only leaves out the rows that fill no batch.
    """
    rows = len(inputs[0].array)
    batch = _batch_rows([one.spec for one in inputs], inputs, rows)
    names = [spec.name for spec in session.outputs]
    parts: list[list[Array]] = []
    cancellation = Cancellation()
    for start in range(0, rows, batch):
        size = min(batch, rows - start)
        feed = {one.spec.name: one.array[start : start + size] for one in inputs}
        try:
            results = session.run(names, feed, cancellation)
        except (InputRefused, RunFailed) as error:
            raise UnusableData(f"the model failed on rows {start} to {start + size - 1}: {error}") from None
        parts.append(results)
        ran(size)
    return tuple(
        one
        for place, spec in enumerate(session.outputs)
        if (one := _joined(spec, [part[place] for part in parts], rows)) is not None
    )


def _batch_rows(specs: Sequence[TensorSpec], inputs: Sequence[Bound], rows: int) -> int:
    fixed = {spec.shape[0] for spec in specs if spec.shape and spec.shape[0] > 0}
    if any(not spec.shape for spec in specs):
        raise UnusableData("an input of the model is a single value: its rows cannot be told apart")
    if len(fixed) > 1:
        raise UnusableData(f"the inputs of the model have different numbers of rows, {sorted(fixed)}")
    if fixed:
        (size,) = fixed
        if rows % size:
            raise UnusableData(f"the model takes {size} rows at a time, and {rows} rows are no multiple of that")
        return size
    elements = sum(math.prod(one.array.shape[1:]) for one in inputs)
    return max(1, min(_BATCH_ROWS, _BATCH_ELEMENTS // max(elements, 1)))


def _joined(spec: TensorSpec, parts: Sequence[Array], rows: int) -> Bound | None:
    """Return an output of all rows, or None where it cannot be counted: one that has no rows, or is too wide."""
    shapes = {part.shape[1:] for part in parts}
    if any(part.ndim == 0 for part in parts) or len(shapes) > 1 or sum(map(len, parts)) != rows:
        return None
    array = np.concatenate(parts)
    size = math.prod(array.shape[1:])
    if not 0 < size <= OUTPUT_ELEMENTS_MAX:
        return None
    names = tuple(name.removeprefix("/") for name in column_names("", spec.name, size))
    return Bound(spec=spec, array=array, names=names)


def not_counted(session: Session, outputs: Sequence[Bound], inputs: Sequence[Bound]) -> Mapping[str, str]:
    """Return the tensors that the profile will not cover, and why."""
    reasons = {f"input {one.spec.name!r}": "more elements per row than are counted" for one in inputs if not one.names}
    kept = {one.spec.name for one in outputs}
    return reasons | {
        f"output {spec.name!r}": "no row for each row of the inputs, or too many elements"
        for spec in session.outputs
        if spec.name not in kept
    }
