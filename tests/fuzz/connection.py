"""One connection without a socket: what a server answers to bytes that arrive in given pieces.

The model is replaced by one that answers what it was asked, so that two ways of reading the same bytes can be compared.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from http.client import HTTPResponse
from io import BytesIO
from typing import Any

from aiohttp import web

from penstock_server.app import ModelServer
from penstock_server.descriptions import Identity
from penstock_server.http_server import server_options
from penstock_server.inference import Answer, Inference
from penstock_server.lifecycle import Event, Lifecycle
from penstock_server.metrics import Metrics
from penstock_server.protocol import InferRequest

#: A request whose body begins so is answered later, as one is that has to wait for its turn.
LATER = b"later"
_TURNS = 12

Replies = list[tuple[int, bytes]]


class Echo(Inference):
    """Answers with the hash of what it was asked."""

    def __init__(self) -> None:
        pass

    def answer_now(self, body: bytes, json_bytes: int | None = None) -> Answer | InferRequest:
        if body.startswith(LATER):
            return InferRequest(id=_digest(body, json_bytes), inputs={}, outputs=(), rows=0)
        return Answer(status=200, body=_digest(body, json_bytes).encode())

    async def answer_later(self, request: InferRequest) -> Answer:
        await asyncio.sleep(0)
        return Answer(status=200, body=(request.id or "").encode())

    async def answer(self, body: bytes, json_bytes: int | None = None) -> Answer:
        return Answer(status=200, body=_digest(body, json_bytes).encode())


class Pipe(asyncio.Transport):
    """Keeps what is written, as a client that reads everything would."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self.paused = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += data

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def is_reading(self) -> bool:
        return not self.paused

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - asyncio's names
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


async def replies(pieces: Sequence[bytes], *, ours: bool) -> tuple[Replies, bool]:
    """Return status and body of each answer, and whether the connection was closed; ``ours``: not aiohttp's own way."""
    server, errors = _server(ours=ours)
    connection = server()
    pipe = Pipe()
    connection.connection_made(pipe)
    for piece in pieces:
        if pipe.closed:
            break
        if piece:
            connection.data_received(piece)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    closed = pipe.closed
    connection.connection_lost(None)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    await server.shutdown(0)
    assert not errors, errors
    return _parse(bytes(pipe.written)), closed


def _server(*, ours: bool) -> tuple[web.Server, list[Any]]:
    lifecycle = Lifecycle()
    metrics = Metrics({"revision": "m-1", "model": "m", "model_version": ""})
    model_server = ModelServer(
        identity=Identity(model_name="m", model_version="", server_version="9"),
        lifecycle=lifecycle,
        metrics=metrics,
        max_connection_age_seconds=3600,
    )
    errors: list[Any] = []

    def log(event: str, **fields: Any) -> None:
        errors.append({"event": event, **fields})

    server = model_server.web_server(log)
    model_server.serve_with(Echo())
    lifecycle.handle(Event.LOADED)
    if ours:
        return server, errors
    model_server._connections = None
    return web.Server(model_server._handle, **server_options(1 << 25)), errors


def _parse(written: bytes) -> Replies:
    """Return the answers in what was written, and make sure that there is nothing else."""
    stream = BytesIO(written)
    found = []
    while stream.tell() < len(written):
        response = HTTPResponse(_Socket(stream))  # type: ignore[arg-type]  # it only makes a file of it
        response.begin()
        found.append((response.status, response.read()))
    return found


class _Socket:
    def __init__(self, stream: BytesIO) -> None:
        self._stream = stream

    def makefile(self, _: str) -> Any:
        return _Unclosed(self._stream)


class _Unclosed:
    """Lets the next response begin where this one ended."""

    def __init__(self, stream: BytesIO) -> None:
        self.read, self.readline, self.readinto = stream.read, stream.readline, stream.readinto

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def _digest(body: bytes, json_bytes: int | None) -> str:
    return f"{json_bytes} {len(body)} {hashlib.sha256(body).hexdigest()[:16]}"
