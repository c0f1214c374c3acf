"""A call as HTTP/2 sees it, and what both sides of it promise each other."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from penstock_server.grpc_service.http2.headers import Headers
from penstock_server.unfinished_bodies import UnfinishedBodies

if TYPE_CHECKING:
    from penstock_server.grpc_service.http2.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may do; sizes in bytes, times in seconds."""

    streams_max: int
    stream_window: int
    age_seconds_max: float
    leave_seconds_max: float
    request_seconds_max: float


class Stream:
    """A call as HTTP/2 sees it. ``call`` belongs to whoever answers it."""

    __slots__ = (
        "call",
        "connection",
        "ended",
        "id",
        "kept",
        "moved",
        "outgoing",
        "outgoing_bytes",
        "started",
        "trailers",
        "window",
    )

    def __init__(self, connection: "Connection", number: int, window: int, started: float) -> None:
        self.connection = connection
        self.id = number
        self.window = window
        self.started = started
        #: When the last part of its answer was sent.
        self.moved = started
        #: Whether the request is whole.
        self.ended = False
        self.call: Any = None
        self.outgoing: deque[memoryview] = deque()
        self.outgoing_bytes = 0
        #: What is counted of it among the answers that clients do not take.
        self.kept = 0
        self.trailers: bytes | None = None


class Calls(Protocol):
    """Answers the calls of all connections."""

    unfinished: UnfinishedBodies
    #: Answers that clients do not take, over all connections.
    untaken: UnfinishedBodies

    def begin(self, stream: Stream, headers: Headers) -> None:
        """Take note of a new call."""

    def data(self, stream: Stream, data: bytes | memoryview) -> None:
        """Take note of more of its request."""

    def end(self, stream: Stream) -> None:
        """Answer: the request is whole."""

    def abort(self, stream: Stream) -> None:
        """Forget the call: nobody waits for its answer."""

    def late(self, stream: Stream) -> None:
        """Refuse the call: its request takes too long to arrive."""
