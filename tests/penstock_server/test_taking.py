"""Clients that do not take their answers are cut off: what they leave would stay in memory for ever."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import Serve, Served, eventually

from penstock_server import taking
from penstock_server.taking import Taking
from penstock_server.unfinished_bodies import UnfinishedBodies

#: More than the kernel keeps of an answer that nobody reads.
LARGE = bytes(range(64)) * (1 << 18)
HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nInference-Header-Content-Length: 0\r\nContent-Length: %d\r\n"
REQUEST = HEAD % len(LARGE)


class Transport:
    """Says how much it holds."""

    def __init__(self, held: int) -> None:
        self.held = held
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.held

    def abort(self) -> None:
        self.aborted = True


def watched(transport: Transport, untaken: UnfinishedBodies) -> Taking:
    return Taking(cast("asyncio.Transport", transport), untaken)


@pytest.mark.parametrize(
    ("later", "cut"), [(1_000_000, True), (950_000, True), (900_000, False), (1_200_000, False), (0, False)]
)
async def test_a_client_must_take_some_in_its_time(later: int, *, cut: bool) -> None:
    transport, untaken = Transport(1_000_000), UnfinishedBodies()
    watching = watched(transport, untaken)
    assert untaken.kept_bytes == 1_000_000
    transport.held = later
    watching._look()
    assert transport.aborted == cut
    assert untaken.kept_bytes == (0 if cut else later)
    watching.end()
    assert untaken.kept_bytes == 0


async def test_the_client_with_whom_it_becomes_too_much_is_cut_off() -> None:
    untaken = UnfinishedBodies(1_500_000)
    first, second = Transport(1_000_000), Transport(1_000_000)
    watching = watched(first, untaken)
    watched(second, untaken).end()
    assert (first.aborted, second.aborted) == (False, True)
    watching.end()
    assert untaken.kept_bytes == 0


@asynccontextmanager
async def lazy(served: Served, sent: bytes) -> AsyncIterator[socket.socket]:
    """A client that sends, and reads nothing by itself."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)  # noqa: FBT003
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", int(served.url.rpartition(":")[2])))
    await loop.sock_sendall(connection, sent)
    with connection:
        yield connection


def untaken(served: Served) -> Callable[[], int]:
    kept = served.model_server._infer.untaken
    return lambda: kept.kept_bytes


@pytest.mark.parametrize("closing", [b"", b"Connection: close\r\n"], ids=["connection stays", "connection ends"])
async def test_a_client_that_reads_nothing_is_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, closing: bytes
) -> None:
    monkeypatch.setattr(taking, "TAKE_SECONDS_MAX", 0.05)
    served = await serve(onnx_models.identity("FP32", [None, 2]))
    async with lazy(served, REQUEST + closing + b"\r\n" + LARGE) as connection:
        connections = served.model_server._connections
        assert connections is not None
        await eventually(lambda: untaken(served)() > 0)
        await eventually(lambda: untaken(served)() == 0)
        await eventually(lambda: not connections._open)
        with contextlib.suppress(ConnectionError):
            assert len(await everything(connection)) < len(LARGE)
    assert (await served.infer({"inputs": [tensor()]}))[0] == 200


async def test_a_client_that_reads_late_has_its_answer(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None, 2]))
    async with lazy(served, REQUEST + b"Connection: close\r\n\r\n" + LARGE) as connection:
        await eventually(lambda: untaken(served)() > 0)
        answer = await everything(connection)
    assert answer.endswith(LARGE)
    await eventually(lambda: untaken(served)() == 0)


async def everything(connection: socket.socket) -> bytes:
    loop, found = asyncio.get_running_loop(), bytearray()
    async with asyncio.timeout(10):
        while part := await loop.sock_recv(connection, 1 << 20):
            found += part
    return bytes(found)


def tensor() -> dict[str, Any]:
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
