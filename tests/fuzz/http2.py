"""One connection of HTTP/2 without a socket: what is answered to bytes that arrive in given pieces."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from tests.fuzz.connection import Pipe

from penstock_server.grpc_service.http2.call import Conversation
from penstock_server.grpc_service.http2.calls import GrpcCalls
from penstock_server.grpc_service.http2.connection import Connection
from penstock_server.grpc_service.http2.stream import Limits
from penstock_server.unfinished_bodies import UnfinishedBodies

MESSAGE_BYTES_MAX = 1 << 16
_LIMITS = Limits(
    streams_max=8,
    stream_window=MESSAGE_BYTES_MAX,
    age_seconds_max=3600,
    leave_seconds_max=1,
    request_seconds_max=3600,
)
_TURNS = 4
_HEAD_SIZE = 9

Frames = list[tuple[int, int, int, bytes]]


async def answered(pieces: Sequence[bytes]) -> tuple[Frames, bool]:
    """Return the frames that are sent, and whether the connection was closed."""
    errors: list[Any] = []

    def log(event: str, **fields: Any) -> None:
        errors.append({"event": event, **fields})

    calls = GrpcCalls(
        unary={"/s/Now": _now, "/s/Later": _later},
        streaming={"/s/Talk": _talk},
        message_bytes_max=MESSAGE_BYTES_MAX,
        unfinished=UnfinishedBodies(8 * MESSAGE_BYTES_MAX),
        log=log,
    )
    connection = Connection(calls, _LIMITS, lambda _: None)
    pipe = Pipe()
    connection.connection_made(pipe)
    for piece in pieces:
        if piece and not pipe.closed:
            connection.data_received(piece)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    connection.check(0.0)
    closed = pipe.closed
    connection.connection_lost(None)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    assert not errors, errors
    assert calls.unfinished.kept_bytes == 0, "bytes of requests that are gone are still counted"
    assert calls.untaken.kept_bytes == 0, "bytes of answers that nobody waits for are still counted"
    return _frames(bytes(pipe.written)), closed


def _now(message: bytes | memoryview, _: float | None) -> bytes:
    return hashlib.sha256(message).digest()


async def _later(message: bytes | memoryview, _: float | None) -> bytes:
    await asyncio.sleep(0)
    return hashlib.sha256(message).digest()


async def _talk(conversation: Conversation) -> None:
    while (message := await conversation.receive()) is not None:
        conversation.send(message[:8])


def _frames(written: bytes) -> Frames:
    found = []
    if written.startswith(b"HTTP/1.1 400"):
        return []
    while written:
        assert len(written) >= _HEAD_SIZE, "half a frame"
        end = _HEAD_SIZE + int.from_bytes(written[:3])
        assert len(written) >= end, "half a frame"
        stream = int.from_bytes(written[5:_HEAD_SIZE])
        found.append((written[3], written[4], stream, written[_HEAD_SIZE:end]))
        written = written[end:]
    return found
