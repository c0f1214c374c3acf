"""From the bytes of a message to the message."""

from typing import Any

from google.protobuf.message import DecodeError

from penstock_server.grpc_service.status import Refused
from penstock_server.refusal import Refusal


def parse(kind: Any, body: bytes) -> Any:
    """Return the message; raise Refused where it is none of that kind."""
    try:
        return kind.FromString(body)
    except DecodeError as error:
        message = f"the message is not a {kind.DESCRIPTOR.name}: {error}"
        raise Refused(Refusal(status=400, message=message, rejected="bad_request")) from None
