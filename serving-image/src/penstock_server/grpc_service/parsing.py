"""From the bytes of a message to the message."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from penstock_server.grpc_service.http2.call import Bytes
from penstock_server.grpc_service.message_limits import FIELDS_MAX, check_fields, too_many_fields, varint
from penstock_server.grpc_service.messages import ModelInferRequest
from penstock_server.grpc_service.status import Refused
from penstock_server.refusal import Refusal

#: From here on, copies of raw tensors cost more than finding them ourselves.
_LARGE = 1 << 14
_RAW_INPUT_CONTENTS = 7
_DELIMITED = 2


def parse_request(body: Bytes) -> tuple[Any, Sequence[Bytes]]:
    """Return a ModelInferRequest and its raw tensors; large ones are views of ``body``. Raises Refused."""
    if len(body) < _LARGE:
        message = parse(ModelInferRequest, body)
        return message, message.raw_input_contents
    rest, raw = _without_raw(memoryview(body))
    check_fields(rest)
    message = parse(ModelInferRequest, rest)
    # What could not be understood is in the rest, and so may be raw tensors.
    return message, [*raw, *message.raw_input_contents]


def _without_raw(body: memoryview) -> tuple[bytes, list[memoryview]]:
    """Return the message without its raw tensors, and those; from the first byte that is strange, all is the rest."""
    rest: list[memoryview] = []
    raw: list[memoryview] = []
    position = 0
    try:
        while position < len(body):
            tag, start = varint(body, position)
            if tag & 7 != _DELIMITED:
                break
            size, start = varint(body, start)
            end = start + size
            if end > len(body):
                break
            if tag >> 3 == _RAW_INPUT_CONTENTS:
                raw.append(body[start:end])
            else:
                rest.append(body[position:end])
            position = end
            if len(raw) + len(rest) > FIELDS_MAX:
                raise too_many_fields()
    except (IndexError, OverflowError):
        pass
    rest.append(body[position:])
    if 2 * sum(map(len, raw)) < len(body):
        raw = [memoryview(bytes(one)) for one in raw]  # they may be kept for a while, and would keep all of the body
    return b"".join(rest), raw


def parse(kind: Any, body: Bytes) -> Any:
    """Return the message; raise Refused where it is none of that kind."""
    try:
        return kind.FromString(bytes(body))
    except DecodeError as error:
        message = f"the message is not a {kind.DESCRIPTOR.name}: {error}"
        raise Refused(Refusal(status=400, message=message, rejected="bad_request")) from None
