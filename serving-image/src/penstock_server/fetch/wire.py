"""Walk the protobuf wire format without building objects: memory stays flat however large the file is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

Buffer = bytes | mmap

_VARINT, _BYTES = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT_BYTES_MAX = 10
_TAG_MAX = 0xFFFF_FFFF
#: Runs of numbers that nobody here asks for. A tree ensemble has millions of them, each a field of its own, so they are
#: passed over in C; possessive, so that nothing is kept to come back to. What is cut off does not match and is found
#: below. Field 14 stays: it is where a tensor says that its data is elsewhere.
_SKIPPED = re.compile(
    rb"(?:[%(varint)b][\x80-\xff]{0,9}[\x00-\x7f]|[%(fixed32)b].{4}|[%(fixed64)b].{8})++"
    % {
        b"varint": b"".join(b"\\x%02x" % (number << 3) for number in range(1, 16) if number != 14),  # noqa: PLR2004
        b"fixed32": b"".join(b"\\x%02x" % (number << 3 | 5) for number in range(1, 16)),
        b"fixed64": b"".join(b"\\x%02x" % (number << 3 | 1) for number in range(1, 16)),
    },
    re.DOTALL,
)


class Malformed(ValueError):  # noqa: N818
    """The bytes are not protobuf, or end in the middle of a field."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: the value of a varint, or the span of a length-delimited field in the buffer."""

    number: int
    value: int | None
    start: int
    end: int


def fields(buffer: Buffer, start: int, end: int) -> Iterator[Field]:
    """Yield the length-delimited fields between two positions, the varints of field 14; other numbers are passed over.

    Raises Malformed for groups, which ONNX never used, and for a field that leaves its message.
    """
    position = start
    while position < end:
        skipped = _SKIPPED.match(buffer, position, end)
        if skipped is not None:
            position = skipped.end()
            continue
        tag_at = position
        tag, position = _varint(buffer, position, end)
        number, kind = tag >> 3, tag & 7
        # Readers that keep 32 bits of a longer tag would see another field than we do.
        if number == 0 or tag > _TAG_MAX:
            raise Malformed(f"no field has the number {number}, at byte {tag_at}")
        if kind == _BYTES:
            size, position = _varint(buffer, position, end)
            if size > end - position:
                raise Malformed(f"a field at byte {tag_at} ends {size - (end - position)} bytes behind its message")
            yield Field(number, None, position, position + size)
            position += size
        elif kind == _VARINT:
            value, position = _varint(buffer, position, end)
            yield Field(number, value, tag_at, position)
        elif kind in _FIXED_BYTES:
            position += _FIXED_BYTES[kind]
            if position > end:
                raise Malformed(f"a number at byte {tag_at} is cut off")
        else:
            raise Malformed(f"wire type {kind} at byte {tag_at}")


def _varint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for at in range(position, min(end, position + _VARINT_BYTES_MAX)):
        byte = buffer[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1
        shift += 7
    raise Malformed(f"a number at byte {position} does not end")
