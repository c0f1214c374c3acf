"""Tensors in JSON to arrays, each value checked before it is converted."""

import math
from itertools import chain
from typing import Any

import numpy as np

from penstock_server.protocol.types import DTYPES, Array, BadRequest

_JSON_TYPES: dict[type, str] = {
    bool: "a boolean",
    str: "a string",
    int: "an integer",
    float: "a fraction",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
#: From here on, a float no longer says which whole number the client meant.
_WHOLE_MAX = 2**53
_SHOWN_MAX = 200


def decode_data(data: Any, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the tensor; raise BadRequest where ``data`` does not fit or a value would change."""
    flat = _convert(_flatten(data, shape, where), datatype, where)
    try:
        return flat.reshape(shape)
    except ValueError:
        # Nothing is in it, but the other dimensions alone are more than any address can say.
        raise BadRequest(f"{where}: shape {list(shape)} is too large") from None


def kind(value: Any) -> str:
    """Return what JSON calls a value of this type, with its article."""
    return _JSON_TYPES.get(type(value), "something else")


def shown(value: Any) -> str:
    """Return a stranger's value as an error tells it: the beginning of a long text, and of a list only that it is one.

    An error is no longer than it has to be, and what is in a thousand lists cannot be written at all.
    """
    if type(value) is str:
        return repr(value) if len(value) <= _SHOWN_MAX else f"{value[:_SHOWN_MAX]!r}… ({len(value)} characters)"
    return kind(value) if isinstance(value, list | dict) else repr(value)


def _flatten(data: Any, shape: tuple[int, ...], where: str) -> list[Any]:
    """Return the elements in row-major order from a flat array, or from one nested as ``shape`` says."""
    if not isinstance(data, list):
        if shape:
            raise BadRequest(f"{where}: 'data' must be an array, not {kind(data)}")
        data = [data]
    if shape and len(shape) > 1 and data and isinstance(data[0], list):
        data = _unnest(data, shape, where)
    count = math.prod(shape)
    if len(data) != count:
        raise BadRequest(f"{where}: 'data' has {len(data)} elements; shape {list(shape)} needs {count}")
    return data  # type: ignore[no-any-return]  # a JSON array


def _unnest(data: list[Any], shape: tuple[int, ...], where: str) -> list[Any]:
    if len(data) != shape[0]:
        raise BadRequest(f"{where}: 'data' has {len(data)} rows; shape {list(shape)} says {shape[0]}")
    for depth, size in enumerate(shape[1:], start=1):
        for part in data:
            if not isinstance(part, list) or len(part) != size:
                found = f"{len(part)} elements" if isinstance(part, list) else kind(part)
                raise BadRequest(
                    f"{where}: 'data' nests {found} at depth {depth}; shape {list(shape)} says {size} elements"
                )
        data = list(chain.from_iterable(data))
    return data


def _convert(flat: list[Any], datatype: str, where: str) -> Array:
    """Return the elements as one array; raise BadRequest where a value would change by that."""
    _check_types(flat, datatype, where)
    try:
        # Overflow to infinity is found below and told in our own words.
        with np.errstate(over="ignore"):
            array: Array = np.array(flat, dtype=DTYPES[datatype])
    except (OverflowError, ValueError) as error:
        raise BadRequest(f"{where}: 'data' does not fit {datatype}: {error}") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadRequest(f"{where}: 'data' holds a number that is too large for {datatype}")
    return array


def _check_types(flat: list[Any], datatype: str, where: str) -> None:
    found: set[type] = set(map(type, flat))
    allowed: set[type]
    if datatype == "BYTES":
        allowed = {str}
    elif datatype == "BOOL":
        allowed = {bool, int}
        if int in found and not set(flat) <= {0, 1}:
            raise BadRequest(f"{where}: 'data' of BOOL must be true, false, 1 or 0")
    else:
        allowed = {int, float}
        if float in found and datatype not in {"FP16", "FP32", "FP64"}:
            _check_whole(flat, datatype, where)
    wrong = found - allowed
    if wrong:
        name = _JSON_TYPES.get(min(wrong, key=lambda one: one.__name__), "something else")
        wanted = {"BYTES": "strings", "BOOL": "booleans"}.get(datatype, "numbers")
        raise BadRequest(f"{where}: 'data' of {datatype} must be {wanted}, but holds {name}")


def _check_whole(flat: list[Any], datatype: str, where: str) -> None:
    for value in flat:
        if type(value) is float and not (value.is_integer() and abs(value) < _WHOLE_MAX):
            raise BadRequest(f"{where}: 'data' of {datatype} must be whole numbers in its range, not {value}")
