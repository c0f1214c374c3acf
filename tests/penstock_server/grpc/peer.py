"""The other end of a connection, frame by frame and without a network."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from hpack import Decoder, Encoder

from penstock_server.grpc_service.http2 import frames
from penstock_server.grpc_service.http2.call import Streaming, Unary
from penstock_server.grpc_service.http2.calls import GrpcCalls
from penstock_server.grpc_service.http2.connection import Connection
from penstock_server.grpc_service.http2.frames import HEAD, PREFACE, Code, Kind
from penstock_server.grpc_service.http2.stream import Limits
from penstock_server.unfinished_bodies import UnfinishedBodies

LIMITS = Limits(streams_max=3, stream_window=1 << 20, age_seconds_max=100, leave_seconds_max=10, request_seconds_max=30)
MESSAGE_MAX = 4096
Frame = tuple[Kind, int, int, bytes]


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = self.aborted = self.paused = False

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after the end"
        self.written += data

    def writelines(self, parts: list[bytes | memoryview]) -> None:
        self.write(b"".join(parts))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Peer:
    """A client that says what it likes."""

    def __init__(
        self,
        unary: Mapping[str, Unary] | None = None,
        streaming: Mapping[str, Streaming] | None = None,
        log: Callable[..., None] = lambda *_, **__: None,
    ) -> None:
        self.calls = GrpcCalls(
            unary={"/s/Echo": lambda body, _: bytes(body), **(unary or {})},
            streaming=streaming or {},
            message_bytes_max=MESSAGE_MAX,
            unfinished=UnfinishedBodies(8 * MESSAGE_MAX),
            log=log,
        )
        self.lost: list[Connection] = []
        self.transport = Transport()
        self.connection = Connection(self.calls, LIMITS, self.lost.append)
        self.connection.connection_made(cast("asyncio.Transport", self.transport))
        self.encoder = Encoder()
        self.decoder = Decoder()

    def greet(self) -> "Peer":
        """Begin as a client should, and forget what the server said first."""
        self.send(PREFACE + frames.settings({}))
        self.frames()
        return self

    def send(self, *data: bytes) -> None:
        self.connection.data_received(b"".join(data))

    def frames(self) -> list[Frame]:
        """Take what the server has written since the last time."""
        written, self.transport.written = bytes(self.transport.written), bytearray()
        found: list[Frame] = []
        while written:
            high, low, kind, flags, stream = HEAD.unpack_from(written)
            end = HEAD.size + (high << 16 | low)
            found.append((Kind(kind), flags, stream, written[HEAD.size : end]))
            written = written[end:]
        return found

    def headers(self, path: str = "/s/Echo", **more: str) -> bytes:
        """Return a header block of a call."""
        first = {":method": "POST", ":scheme": "http", ":path": path, "content-type": "application/grpc"}
        renamed = {name.replace("_", "-"): value for name, value in more.items()}
        return self.encoder.encode([*{**first, **renamed}.items()])

    def call(self, stream: int, message: bytes = b"", path: str = "/s/Echo", **more: str) -> bytes:
        """Return the frames of a whole call."""
        return head(stream, self.headers(path, **more)) + data(stream, prefixed(message))

    def outcome(self) -> tuple[int, dict[str, str], bytes]:
        """Return how a single call ended: its stream, all headers, and the message."""
        headers: dict[str, str] = {}
        body, streams = b"", set[int]()
        for kind, _, stream, payload in self.frames():
            if kind is Kind.HEADERS:
                headers |= {str(name): str(value) for name, value in cast("Any", self.decoder.decode(payload))}
                streams.add(stream)
            elif kind is Kind.DATA:
                body += payload
        (stream,) = streams
        return stream, headers, body[5:]

    def broken(self) -> tuple[Code, str]:
        """Return why the server has ended the connection."""
        assert self.transport.closed
        kind, _, _, payload = self.frames()[-1]
        assert kind is Kind.GOAWAY
        return Code(int.from_bytes(payload[4:8])), payload[8:].decode()


def prefixed(message: bytes, flag: int = 0) -> bytes:
    """Return a message with what gRPC writes before it."""
    return bytes((flag,)) + len(message).to_bytes(4) + message


def head(stream: int, block: bytes, flags: int = frames.END_HEADERS) -> bytes:
    """Return a frame of headers."""
    return frames.frame(Kind.HEADERS, flags, stream, block)


def data(stream: int, payload: bytes, flags: int = frames.END_STREAM) -> bytes:
    """Return a frame of data."""
    return frames.frame(Kind.DATA, flags, stream, payload)
