"""How a call ends, in the words of gRPC."""

from collections.abc import Mapping
from enum import IntEnum

from penstock_server.refusal import Refusal


class Status(IntEnum):
    """The codes of gRPC that this server uses."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


#: A refusal is counted by its HTTP status, like one of REST; clients see the code.
_STATUSES: Mapping[int, Status] = {
    400: Status.INVALID_ARGUMENT,
    404: Status.NOT_FOUND,
    429: Status.RESOURCE_EXHAUSTED,
    500: Status.INTERNAL,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}


class Refused(Exception):  # noqa: N818 - an outcome
    """The call ends with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.message = refusal.message
        self.status = _STATUSES[refusal.status]

    @property
    def trailers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What tells clients with a retry policy how long to wait."""
        seconds = self.refusal.retry_after_seconds
        return () if seconds is None else ((b"grpc-retry-pushback-ms", str(seconds * 1000).encode()),)
