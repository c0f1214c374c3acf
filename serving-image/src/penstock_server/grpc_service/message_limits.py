"""How many fields a message may have, found out before protobuf makes an object of each."""

from collections.abc import Mapping

from penstock_server.grpc_service.status import Refused
from penstock_server.refusal import Refusal

#: Below, whatever it holds is parsed in a few milliseconds, into a few megabytes.
SMALL_BYTES_MAX = 1 << 18
#: A field of two bytes takes 20 to 100 times as much, so 32 MB of them more than a pod has.
FIELDS_MAX = 100_000
_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10

_Schema = Mapping[int, "_Schema"]
#: The fields of a ModelInferRequest that may hold many others, and of those in turn: inputs, outputs, contents.
_CONTENTS: _Schema = {}
_REQUEST: _Schema = {5: {5: _CONTENTS}, 6: {}}


class _Strange(Exception):  # noqa: N818 - an outcome
    """Nothing that a client of ours writes; protobuf may well say what is wrong with it."""


def check_fields(message: bytes) -> None:
    """Raise Refused for a ModelInferRequest that would need far more memory and time than its length explains."""
    if len(message) <= SMALL_BYTES_MAX:
        return
    view = memoryview(message)
    try:
        left = _left(view, _REQUEST, FIELDS_MAX)
    except (_Strange, IndexError):
        raise _refused("a large message has fields that are damaged, or that no client writes") from None
    if left < 0:
        raise too_many_fields()


def too_many_fields() -> Refused:
    """Return what to raise for a message with too many fields."""
    return _refused(f"the message has more than {FIELDS_MAX} fields; send tensors as raw_input_contents")


def varint(body: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position, and where it ends; raise IndexError or OverflowError where there is none."""
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES_MAX, 7):
        octet = body[position]
        position += 1
        value |= (octet & 127) << shift
        if octet < 128:  # noqa: PLR2004 - the highest bit says that more follow
            return value, position
    raise OverflowError


def _left(body: memoryview, schema: _Schema, left: int) -> int:
    """Return how many more fields there may be, below zero: there are too many already."""
    position, size = 0, len(body)
    while position < size and left >= 0:
        left -= 1
        try:
            tag, position = varint(body, position)
            if tag & 7 == _DELIMITED:
                length, position = varint(body, position)
                end = position + length
                if end > size:
                    raise _Strange
                inner = schema.get(tag >> 3)
                if inner is not None:
                    left = _left(body[position:end], inner, left)
                position = end
            elif tag & 7 == _VARINT:
                _, position = varint(body, position)
            elif tag & 7 in {_EIGHT_BYTES, _FOUR_BYTES}:
                position += 8 if tag & 7 == _EIGHT_BYTES else 4
            else:
                raise _Strange
        except OverflowError:
            raise _Strange from None
    return left


def _refused(message: str) -> Refused:
    return Refused(Refusal(status=400, message=message, rejected="bad_request"))
