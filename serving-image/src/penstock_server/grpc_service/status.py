"""A refusal in the words of gRPC."""

from collections.abc import Mapping

import grpc

from penstock_server.refusal import Refusal

#: A refusal is counted by its HTTP status, like one of REST; clients see the code.
CODES: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
#: Messages travel in a header, and clients take few kilobytes of those.
_DETAILS_LENGTH_MAX = 1000


def details(refusal: Refusal) -> str:
    """Return the message as it fits into a header."""
    text = refusal.message.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _DETAILS_LENGTH_MAX else text[: _DETAILS_LENGTH_MAX - 1] + "…"


def trailing_metadata(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    """Return what tells clients with a retry policy how long to wait."""
    if refusal.retry_after_seconds is None:
        return ()
    return (("grpc-retry-pushback-ms", str(refusal.retry_after_seconds * 1000)),)
