"""Which columns of a table are which input of the model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from penstock_server.profile.plain import column_names
from penstock_server.profile.rows import INPUT_COLUMNS_MAX, width
from penstock_server.profile.table import Table, UnusableData
from penstock_server.protocol import DTYPES, Array, TensorSpec

_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A tensor with its rows as the model takes them; ``names`` of its elements, empty where they are not counted."""

    spec: TensorSpec
    array: Array
    names: tuple[str, ...]


def bind(table: Table, inputs: Sequence[TensorSpec]) -> tuple[Bound, ...]:
    """Return the arrays of all inputs; raise UnusableData, naming what does not fit.

    Arrays named like the inputs are theirs. Otherwise, a model with one input takes all columns in the order of
    the file.
    """
    if not inputs:
        raise UnusableData("the model has no inputs")
    if len(inputs) == 1 and inputs[0].name not in table.arrays:
        return (_all_columns(table, inputs[0]),)
    _check_names(table, inputs)
    return tuple(_by_name(table, spec) for spec in inputs)


def without_model(table: Table, outputs: Sequence[str]) -> tuple[tuple[Bound, ...], tuple[Bound, ...]]:
    """Return the columns that are inputs and those that are outputs, each a tensor of its own."""
    unknown = [name for name in outputs if name not in table.arrays]
    if unknown:
        raise UnusableData(f"--outputs names {_listed(unknown)}; the data have {_listed(list(table.arrays))}")
    bound = {name: _alone(name, array) for name, array in table.arrays.items()}
    return tuple(bound[name] for name in bound if name not in outputs), tuple(bound[name] for name in outputs)


def _alone(name: str, array: Array) -> Bound:
    datatypes = {dtype: datatype for datatype, dtype in DTYPES.items()}
    shape = (-1, *array.shape[1:])
    datatype = datatypes.get(array.dtype.newbyteorder("="))
    if datatype is None:
        raise UnusableData(f"column {name!r} has type {array.dtype}; only numbers, booleans and texts can be counted")
    return _bound(TensorSpec(name=name, datatype=datatype, shape=shape), array, ())


def _all_columns(table: Table, spec: TensorSpec) -> Bound:
    size = width(spec)
    flat = {name: array.reshape(table.rows, -1) for name, array in table.arrays.items()}
    names = [
        name if columns.shape[1] == 1 else f"{name}[{place}]"
        for name, columns in flat.items()
        for place in range(columns.shape[1])
    ]
    if size is None and len(flat) > 1:
        raise UnusableData(
            f"input {spec.name!r} has shape {list(spec.shape)}; give its rows as one array {spec.name!r} in an npz file"
        )
    if size is not None and len(names) != size:
        raise UnusableData(
            f"the data have {len(names)} columns and input {spec.name!r} takes {size}: {_listed(names)}; "
            "leave columns out with --ignore, name true labels with --labels"
        )
    converted = [_converted(columns, spec.datatype, name) for name, columns in flat.items()]
    if size is None:
        return _bound(spec, _converted(next(iter(table.arrays.values())), spec.datatype, names[0]), ())
    array = converted[0] if len(converted) == 1 else np.concatenate(converted, axis=1)
    return _bound(spec, array, names)


def _check_names(table: Table, inputs: Sequence[TensorSpec]) -> None:
    wanted: set[str] = set()
    for spec in inputs:
        whole = spec.name in table.arrays or width(spec) is None
        wanted |= {spec.name} if whole else set(column_names("", spec.name, width(spec) or 0, ()))
    wanted = {name.removeprefix("/") for name in wanted}
    missing = sorted(wanted - set(table.arrays))
    extra = [name for name in table.arrays if name not in wanted]
    if missing:
        raise UnusableData(
            f"the model has inputs {_listed([spec.name for spec in inputs])}; the data lack {_listed(missing)}"
            + (f" and have {_listed(extra)}" if extra else "")
        )
    if extra:
        raise UnusableData(
            f"no input of the model is named {_listed(extra)}; leave columns out with --ignore, name true labels with "
            "--labels"
        )


def _by_name(table: Table, spec: TensorSpec) -> Bound:
    array = table.arrays.get(spec.name)
    if array is None:
        parts = [table.arrays[f"{spec.name}[{place}]"] for place in range(width(spec) or 0)]
        array = np.stack([_converted(part, spec.datatype, spec.name) for part in parts], axis=1)
    return _bound(spec, _converted(array, spec.datatype, spec.name), ())


def _bound(spec: TensorSpec, array: Array, names: Sequence[str]) -> Bound:
    rows, size = len(array), width(spec)
    shaped = array
    if size is not None:
        if math.prod(array.shape[1:]) != size:
            raise UnusableData(f"input {spec.name!r} is {spec}; the data have {list(array.shape)}")
        shaped = np.ascontiguousarray(array).reshape(rows, *spec.shape[1:])
    counted = size is not None and 0 < size <= INPUT_COLUMNS_MAX
    chosen = list(names) or column_names("", spec.name, size or 0)
    return Bound(spec=spec, array=shaped, names=tuple(name.removeprefix("/") for name in chosen) if counted else ())


def _converted(array: Array, datatype: str, name: str) -> Array:
    """Return the array in the model's data type; raise UnusableData where a value would be changed by that."""
    wanted = DTYPES[datatype]
    if wanted.kind == "O":
        return array if array.dtype.kind == "O" else array.astype(str).astype(np.object_)
    if array.dtype.kind == "O":
        raise UnusableData(f"column {name!r} holds text, such as {array.reshape(-1)[0]!r}; the model takes {datatype}")
    if wanted.kind == "f":
        with np.errstate(over="ignore"):  # too large for the model: an infinity, and counted as one
            return array.astype(wanted)
    if array.dtype.kind == "f":
        missing = int(np.isnan(array).sum())
        if missing:
            raise UnusableData(f"column {name!r} has {missing} missing values, and {datatype} cannot hold any")
    with np.errstate(invalid="ignore"):
        converted = array.astype(wanted)
        same = np.array_equal(converted.astype(array.dtype), array)
    if not same:
        raise UnusableData(f"column {name!r} holds values that {datatype}, which the model takes, cannot hold")
    return converted


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def matrices(bound: Sequence[Bound]) -> Mapping[str, Array]:
    """Return the counted tensors as (rows, width)."""
    return {one.spec.name: one.array.reshape(len(one.array), -1) for one in bound if one.names}
