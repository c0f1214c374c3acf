"""Tensors in the typed fields of a message, ``InferTensorContents``, to arrays and back."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock_server.protocol import DTYPES, Array, BadRequest

#: The field that holds the elements of each datatype. FP16 has none: it travels raw only.
FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
#: Narrower than the field that carries them, so that a value may not fit.
_NARROW = {"INT8", "INT16", "UINT8", "UINT16"}


def decode_contents(contents: Any, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the tensor that the message holds; raise BadRequest where it is not exactly of that type and shape."""
    field = FIELDS.get(datatype)
    if field is None:
        raise BadRequest(f"{where}: {datatype} has no typed contents; send its elements in raw_input_contents")
    for other, _ in contents.ListFields():
        if other.name != field:
            raise BadRequest(f"{where} has elements in {other.name}; those of {datatype} belong in {field}")
    elements = getattr(contents, field)
    count = math.prod(shape)
    if len(elements) != count:
        raise BadRequest(f"{where}: {field} has {len(elements)} elements; shape {list(shape)} needs {count}")
    flat = _texts(elements, where) if datatype == "BYTES" else _numbers(elements, datatype, where)
    try:
        return flat.reshape(shape)
    except ValueError:
        raise BadRequest(f"{where}: shape {list(shape)} is too large") from None


def encode_contents(array: Array, datatype: str, contents: Any) -> None:
    """Put the elements of ``array`` into the message."""
    elements = array.ravel().tolist()
    if datatype == "BYTES":
        elements = [
            item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape") for item in elements
        ]
    getattr(contents, FIELDS[datatype]).extend(elements)


def _numbers(elements: Any, datatype: str, where: str) -> Array:
    dtype = DTYPES[datatype]
    if datatype not in _NARROW:
        return np.fromiter(elements, dtype=dtype, count=len(elements))
    wide: Array = np.fromiter(elements, dtype=np.int64, count=len(elements))
    narrow: Array = wide.astype(dtype)
    if (narrow != wide).any():
        raise BadRequest(f"{where}: {FIELDS[datatype]} holds {wide[narrow != wide][0]}, which does not fit {datatype}")
    return narrow


def _texts(elements: Any, where: str) -> Array:
    flat = np.empty(len(elements), dtype=np.object_)
    for index, octets in enumerate(elements):
        try:
            flat[index] = octets.decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest(f"{where}: element {index} of BYTES is not UTF-8, which string tensors hold") from None
    return flat
