"""Raw tensors of Open Inference Protocol v2: little-endian bytes in row-major order to arrays, and back."""

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock_server.protocol.types import DTYPES, Array, BadRequest

#: How numbers lie on the wire, whatever machine this is. BYTES has a form of its own.
_WIRE: Mapping[str, np.dtype[Any]] = {
    name: dtype.newbyteorder("<") for name, dtype in DTYPES.items() if name not in {"BOOL", "BYTES"}
}
_LENGTH = struct.Struct("<I")


def decode_raw(buffer: bytes | memoryview, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the tensor in ``buffer``; raise BadRequest, which begins with ``where``, if it is not exactly that.

    The array is a view of the buffer where it can be, so the buffer must not change afterwards. The
    elements of BYTES are ``str``, as ONNX Runtime wants them. What is allocated besides is at most
    proportional to the buffer, whatever the shape claims.
    """
    if datatype == "BYTES":
        flat = _decode_strings(buffer, shape, where)
    elif datatype == "BOOL":
        flat = _decode_booleans(buffer, shape, where)
    else:
        wire = _WIRE[datatype]
        _check_size(buffer, datatype, wire.itemsize, shape, where)
        flat = np.frombuffer(buffer, dtype=wire)
        if not (flat.flags.aligned and flat.dtype.isnative):
            flat = flat.astype(DTYPES[datatype])
    try:
        return flat.reshape(shape)
    except ValueError:
        # Nothing is in it, but the other dimensions alone are more than any address can say.
        raise BadRequest(f"{where}: shape {list(shape)} is too large") from None


def encode_raw(array: Array, datatype: str) -> bytes:
    """Return the elements of ``array`` as they lie on the wire; texts are written as UTF-8."""
    if datatype == "BYTES":
        return _encode_strings(array)
    wire = DTYPES["BOOL"] if datatype == "BOOL" else _WIRE[datatype]
    return array.astype(wire, copy=False).tobytes()


def view_raw(array: Array, datatype: str) -> bytes | memoryview:
    """Return what encode_raw returns, without a copy where the elements lie in memory as they do on the wire."""
    wire = _WIRE.get(datatype)
    if array.size and array.flags.c_contiguous and array.dtype == wire:
        return array.data.cast("B")
    return encode_raw(array, datatype)


def _check_size(buffer: bytes | memoryview, datatype: str, item_size: int, shape: tuple[int, ...], where: str) -> None:
    needed = math.prod(shape) * item_size
    if len(buffer) != needed:
        raise BadRequest(
            f"{where} has {len(buffer)} bytes of binary data; shape {list(shape)} of {datatype} needs {needed}"
        )


def _decode_booleans(buffer: bytes | memoryview, shape: tuple[int, ...], where: str) -> Array:
    _check_size(buffer, "BOOL", 1, shape, where)
    octets = np.frombuffer(buffer, dtype=np.uint8)
    if octets.size and octets.max() > 1:
        position = int((octets > 1).argmax())
        raise BadRequest(
            f"{where}: binary data of BOOL must be one byte 0 or 1 per element, but element {position} is "
            f"{octets[position]}"
        )
    return octets.view(np.bool_)


def _decode_strings(buffer: bytes | memoryview, shape: tuple[int, ...], where: str) -> Array:
    count, size = math.prod(shape), len(buffer)
    if size < count * _LENGTH.size:
        raise BadRequest(
            f"{where} has {size} bytes of binary data; shape {list(shape)} of BYTES needs at least "
            f"{count * _LENGTH.size}: 4 bytes of length (little-endian) before each of {count} elements"
        )
    flat = np.empty(count, dtype=np.object_)
    position = 0
    for index in range(count):
        start = position + _LENGTH.size
        if start > size:
            raise BadRequest(
                f"{where}: binary data of BYTES ends before element {index} of {count}; each element is 4 bytes of "
                "length (little-endian) and then that many bytes"
            )
        position = start + _LENGTH.unpack_from(buffer, position)[0]
        if position > size:
            raise BadRequest(
                f"{where}: element {index} of BYTES claims {position - start} bytes, but {size - start} follow; each "
                "element is 4 bytes of length (little-endian) and then that many bytes"
            )
        try:
            flat[index] = str(buffer[start:position], "utf-8")
        except UnicodeDecodeError:
            raise BadRequest(f"{where}: element {index} of BYTES is not UTF-8, which string tensors hold") from None
    if position != size:
        raise BadRequest(
            f"{where}: {size - position} bytes follow the last of the {count} elements that shape {list(shape)} of "
            "BYTES needs"
        )
    return flat


def _encode_strings(array: Array) -> bytes:
    parts: list[bytes] = []
    for item in array.ravel():
        octets = item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape")
        parts.append(_LENGTH.pack(len(octets)))
        parts.append(octets)
    return b"".join(parts)
