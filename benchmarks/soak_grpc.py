"""The calls of gRPC that the soak sends, good and bad, over raw HTTP/2."""

import asyncio
import contextlib
import random
import struct
from collections.abc import Mapping, Sequence

from benchmarks.serving.h2 import frame
from benchmarks.serving.wire import field, varint

Rows = Sequence[Sequence[float]]

#: In the place of a status: the client went away first, or the server did.
LEFT, CUT = "left", "cut"
#: Kinds of calls, and the status of gRPC that each must have.
KINDS: Mapping[str, frozenset[str]] = {
    name: frozenset((status,))
    for name, status in {
        "grpc-one-row": "0",
        "grpc-many-rows": "0",
        "grpc-in-small-frames": "0",
        "grpc-wrong-shape": "3",
        "grpc-cut-message": "3",
        "grpc-unknown-model": "5",
        "grpc-unknown-call": "12",
        "grpc-garbage": CUT,
        "grpc-left": LEFT,
    }.items()
}
_INFER = b"/inference.GRPCInferenceService/ModelInfer"
_ANSWER_SECONDS_MAX = 20.0
_CALLS_PER_CONNECTION_MAX = 200
_ROWS_MAX = 48
_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9
_WINDOW = 1 << 30


class GrpcClient:
    """One call after the other, over connections that it keeps for a while."""

    def __init__(self, port: int, rows: Rows, chance: random.Random) -> None:
        self._port = port
        self._rows = rows
        self._chance = chance
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._stream = -1
        self._calls_left = 0

    async def send(self, kind: str) -> str:
        """Make one call; return its status, or what happened in its place."""
        reader, writer = await self._connection()
        self._stream += 2
        self._calls_left -= 1
        writer.write(self._call(kind))
        if kind == "grpc-left":
            await self.aclose()
            return LEFT
        try:
            async with asyncio.timeout(_ANSWER_SECONDS_MAX):
                status = await self._status(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            status = CUT
        if status == CUT or self._calls_left <= 0:
            await self.aclose()
        return status

    async def aclose(self) -> None:
        """End the connection."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._stream, self._calls_left = -1, self._chance.randrange(1, _CALLS_PER_CONNECTION_MAX)
            window = struct.pack(">L", _WINDOW)
            self._writer.write(_PREFACE + frame(_SETTINGS, 0, 0, b"") + frame(_WINDOW_UPDATE, 0, 0, window))
        return self._reader, self._writer

    async def _status(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        while True:
            head = await reader.readexactly(_HEAD)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            if kind in {_SETTINGS, _PING} and not flags & _ACK:
                writer.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))
            elif kind == _GOAWAY:
                self._calls_left = 0  # the connection is old: this call is answered, the next one goes elsewhere
            elif kind == _HEADERS and stream == self._stream and flags & _END_STREAM:
                _, _, rest = payload.partition(b"grpc-status")
                return rest[1 : 1 + rest[0]].decode()

    def _call(self, kind: str) -> bytes:
        """Return the frames of a call."""
        if kind == "grpc-garbage":
            return frame(_DATA, 0, 0, self._chance.randbytes(self._chance.randrange(1, 500)))
        count = self._chance.randrange(1, _ROWS_MAX) if kind in {"grpc-many-rows", "grpc-in-small-frames"} else 1
        message = self._message(count, kind)
        path = b"/inference.GRPCInferenceService/Nothing" if kind == "grpc-unknown-call" else _INFER
        headers = frame(_HEADERS, _END_HEADERS, self._stream, _headers(path))
        if kind == "grpc-left":
            return headers + frame(_DATA, 0, self._stream, message[: self._chance.randrange(len(message))])
        if kind == "grpc-cut-message":
            message = message[: self._chance.randrange(len(message))]
        size = self._chance.randrange(1, 50) if kind == "grpc-in-small-frames" else max(len(message), 1)
        parts = [message[at : at + size] for at in range(0, len(message), size)] or [b""]
        frames = [frame(_DATA, 0, self._stream, part) for part in parts[:-1]]
        return b"".join((headers, *frames, frame(_DATA, _END_STREAM, self._stream, parts[-1])))

    def _message(self, count: int, kind: str) -> bytes:
        """Return a ModelInferRequest: model_name 1, inputs 5 (name 1, datatype 2, shape 3), raw_input_contents 7."""
        rows = [self._chance.choice(self._rows) for _ in range(count)]
        raw = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
        width = len(rows[0]) - (1 if kind == "grpc-wrong-shape" else 0)
        model = b"m%d" % self._chance.randrange(10**9) if kind == "grpc-unknown-model" else b"tumor"
        tensor = field(1, b"x") + field(2, b"FP32") + field(3, varint(count) + varint(width))
        message = field(1, model) + field(5, tensor) + field(7, raw)
        return b"\0" + struct.pack(">L", len(message)) + message


def _headers(path: bytes) -> bytes:
    """Return a block of headers of which none is to be remembered."""
    block = b"\x83\x86"  # ":method: POST" and ":scheme: http"
    for name, value in ((b":path", path), (b"te", b"trailers"), (b"content-type", b"application/grpc")):
        block += b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
    return block
