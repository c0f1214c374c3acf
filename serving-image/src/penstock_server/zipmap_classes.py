"""The class labels that the ZipMap nodes of a model hold, read from its file."""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from penstock_server.fetch.wire import Buffer, Field, Malformed, fields

Classes = tuple[int, ...] | tuple[str, ...]

# Field numbers of onnx.proto.
_MODEL_GRAPH, _GRAPH_NODE = 7, 1
_NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INTS, _ATTRIBUTE_STRINGS = 1, 8, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: More would make every answer larger than the probabilities that it explains.
_CLASSES_MAX = 10_000


def zipmap_classes(path: Path) -> Mapping[str, Classes]:
    """Return the labels by the name of the output that they belong to, in ascending order as ONNX Runtime answers them.

    Only ZipMap makes maps, and ONNX Runtime does not tell a node's attributes. What cannot be found (a ZipMap inside a
    branch) is left out: its answers are the same, without labels.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        try:
            return dict(_zipmaps(buffer))
        except Malformed:
            # ONNX Runtime reads what we do not: labels are no reason to refuse a model that works.
            return {}


def _zipmaps(buffer: Buffer) -> Iterator[tuple[str, Classes]]:
    for graph in _messages(buffer, 0, len(buffer), _MODEL_GRAPH):
        for node in _messages(buffer, graph.start, graph.end, _GRAPH_NODE):
            operators = [_text(buffer, one) for one in _messages(buffer, node.start, node.end, _NODE_OPERATOR)]
            if operators[-1:] != ["ZipMap"]:
                continue
            classes = _labels(buffer, node)
            for output in _messages(buffer, node.start, node.end, _NODE_OUTPUT):
                if 0 < len(classes) <= _CLASSES_MAX:
                    yield _text(buffer, output), classes


def _labels(buffer: Buffer, node: Field) -> Classes:
    for attribute in _messages(buffer, node.start, node.end, _NODE_ATTRIBUTE):
        names = [_text(buffer, one) for one in _messages(buffer, attribute.start, attribute.end, _ATTRIBUTE_NAME)]
        if names[-1:] == ["classlabels_strings"]:
            strings = _messages(buffer, attribute.start, attribute.end, _ATTRIBUTE_STRINGS)
            return tuple(sorted({_text(buffer, one) for one in strings}))
        if names[-1:] == ["classlabels_int64s"]:
            return tuple(sorted(set(_integers(buffer, attribute.start, attribute.end))))
    return ()


def _messages(buffer: Buffer, start: int, end: int, number: int) -> Iterator[Field]:
    return (field for field in fields(buffer, start, end) if field.number == number and field.value is None)


def _text(buffer: Buffer, field: Field) -> str:
    return bytes(buffer[field.start : field.end]).decode("utf-8", "replace")


def _integers(buffer: Buffer, position: int, end: int) -> Iterator[int]:
    """Yield the integers of an attribute, packed or one by one; the walk of ``wire`` passes over them."""
    while position < end:
        tag, position = _varint(buffer, position, end)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = _varint(buffer, position, end)
            if number == _ATTRIBUTE_INTS:
                yield _signed(value)
        elif kind == _BYTES:
            size, position = _varint(buffer, position, end)
            last = min(position + size, end)
            while number == _ATTRIBUTE_INTS and position < last:
                value, position = _varint(buffer, position, last)
                yield _signed(value)
            position = last
        else:
            position += {_FIXED64: 8, _FIXED32: 4}.get(kind, end)


def _varint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift, at in enumerate(range(position, min(end, position + 10))):
        value |= (buffer[at] & 0x7F) << 7 * shift
        if buffer[at] < 0x80:  # noqa: PLR2004 - the continuation bit
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1
    raise Malformed(f"a number at byte {position} does not end")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
