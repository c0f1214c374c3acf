"""Plain requests on raw connections: the fast way gives the same answers as aiohttp's own.

It relies on parts of aiohttp that are not documented. When one of these tests fails after an upgrade, read
``RequestHandler`` again before the pin in pyproject.toml is moved.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp.web_protocol import RequestHandler
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import Serve, Served, eventually

from penstock_server import connection as connections
from penstock_server import sockets
from penstock_server.connection import Connection
from penstock_server.lifecycle import Event

IDENTITY = onnx_models.identity("FP32", [None, 2])
SHORT = {"inputs": [{"name": "rounds", "shape": [1], "datatype": "INT64", "data": [1]}]}
LONG = {"inputs": [{"name": "rounds", "shape": [1], "datatype": "INT64", "data": [2**60]}]}


@dataclass
class Raw:
    """A client that decides what goes into each segment."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            with contextlib.suppress(ConnectionError):
                self.writer.write(part)
                await self.writer.drain()
            await asyncio.sleep(0.005)  # so that the next part is a segment of its own

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the next answer."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            return int(head[0].split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def value(self) -> float:
        status, _, body = await self.answer()
        assert status == 200, body
        first: float = json.loads(body)["outputs"][0]["data"][0]
        return first


Connect = Callable[[Served], Any]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Return a function that connects to a server."""
    opened: list[Raw] = []

    async def one(served: Served) -> Raw:
        opened.append(Raw(*await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))))
        return opened[-1]

    yield one
    for raw in opened:
        raw.writer.close()
        with contextlib.suppress(ConnectionError):
            await raw.writer.wait_closed()


def message(number: float) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [number, 0]}]}


def request(body: Any, headers: str = "", path: str = "/v2/models/m/infer") -> bytes:
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    return f"POST {path} HTTP/1.1\r\nHost: m\r\n{headers}Content-Length: {len(content)}\r\n\r\n".encode() + content


@pytest.fixture
def aiohttps_way(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what aiohttp's own code was given."""
    given, original = list[int](), RequestHandler.data_received

    def watched(self: RequestHandler, data: bytes) -> None:
        if data:  # it also calls itself with nothing, to go on
            given.append(len(data))
        original(self, data)

    monkeypatch.setattr(RequestHandler, "data_received", watched)
    return given


def test_this_aiohttp_has_what_the_fast_way_relies_on() -> None:
    assert connections.fast_way_open()


async def test_headers_that_were_parsed_once_are_not_parsed_again(
    serve: Serve, connect: Connect, aiohttps_way: list[int]
) -> None:
    raw = await connect(await serve(IDENTITY))
    for number in range(5):
        await raw.send(request(message(number)))
        assert await raw.value() == number
    assert len(aiohttps_way) == 1


async def test_other_connections_profit_from_headers_that_were_parsed(
    serve: Serve, connect: Connect, aiohttps_way: list[int]
) -> None:
    served = await serve(IDENTITY)
    for _ in range(3):
        raw = await connect(served)
        await raw.send(request(message(1)))
        assert await raw.value() == 1
    assert len(aiohttps_way) == 1


async def test_headers_are_known_too_where_bodies_come_in_segments_of_their_own(
    serve: Serve, connect: Connect, aiohttps_way: list[int]
) -> None:
    raw = await connect(await serve(IDENTITY))
    for number in range(5):
        whole = request(message(number))
        end = whole.index(b"\r\n\r\n") + 4
        await raw.send(whole[:end], whole[end:])
        assert await raw.value() == number
    assert len(aiohttps_way) == 2


async def test_without_what_it_relies_on_everything_goes_aiohttps_way(
    serve: Serve, connect: Connect, aiohttps_way: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_RELIED_ON", ("_gone",))
    raw = await connect(await serve(IDENTITY))
    for number in range(3):
        await raw.send(request(message(number)))
        assert await raw.value() == number
    assert len(aiohttps_way) == 3


async def test_a_body_may_come_in_any_number_of_pieces(serve: Serve, connect: Connect) -> None:
    raw = await connect(await serve(IDENTITY))
    for number in range(3):
        whole = request(message(number))
        end = whole.index(b"\r\n\r\n") + 4
        for cuts in ([end], [end, end + 5], [end + 3], [5], *([end - back] for back in range(1, 6)), [5, end + 1]):
            edges = [0, *cuts, len(whole)]
            await raw.send(*(whole[begin:stop] for begin, stop in itertools.pairwise(edges)))
            assert await raw.value() == number


async def test_requests_that_come_together_are_answered_in_their_order(serve: Serve, connect: Connect) -> None:
    raw = await connect(await serve(IDENTITY))
    for together in (1, 3, 1, 20):
        await raw.send(b"".join(request(message(number)) for number in range(together)))
        assert [await raw.value() for _ in range(together)] == list(range(together))


async def test_what_comes_before_the_answer_waits_for_it(serve: Serve, connect: Connect) -> None:
    raw = await connect(await serve(onnx_models.counter(), timeout_seconds=0.2))
    await raw.send(request(SHORT))
    assert (await raw.answer())[0] == 200
    await raw.send(request(LONG), request(SHORT)[:50], request(SHORT)[50:], request(SHORT))
    assert [(await raw.answer())[0] for _ in range(3)] == [504, 200, 200]


async def test_a_body_that_looks_like_a_request_is_a_body(serve: Serve, connect: Connect) -> None:
    """A proxy sends head and body in segments of their own: the second one must not be taken for a request."""
    raw = await connect(await serve(IDENTITY))
    inner = request(message(7))
    await raw.send(inner)
    assert await raw.value() == 7
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: other\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
    for cut in (len(head), 30):
        await raw.send(head[:cut], head[cut:] + inner if cut == 30 else inner)
        status, _, body = await raw.answer()
        assert status == 400
        assert b"the body is not JSON" in body
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(raw.reader.read(1), 0.05)


async def test_other_calls_and_inference_share_a_connection(serve: Serve, connect: Connect) -> None:
    raw = await connect(await serve(IDENTITY))
    for number in range(3):
        await raw.send(b"GET /v2/health/ready HTTP/1.1\r\nHost: m\r\n\r\n")
        assert (await raw.answer())[0] == 200
        await raw.send(request(message(number)))
        assert await raw.value() == number
        await raw.send(request(message(1), path="/v2/models/other/infer"))
        assert (await raw.answer())[0] == 404


async def test_both_ways_answer_with_the_same_headers(serve: Serve, connect: Connect) -> None:
    raw = await connect(await serve(IDENTITY))
    await raw.send(request(message(1)))
    _, fast, _ = await raw.answer()
    await raw.send(request(message(1), "Expect: nothing\r\n"))
    _, slow, _ = await raw.answer()
    assert set(fast) == set(slow) == {"content-type", "content-length", "date", "server"}
    assert {**fast, "date": ""} == {**slow, "date": ""}
    assert len(fast["date"]) == len(slow["date"])


async def test_a_draining_server_says_goodbye_with_the_answer(serve: Serve, connect: Connect) -> None:
    served = await serve(IDENTITY)
    raw = await connect(served)
    await raw.send(request(message(1)))
    assert await raw.value() == 1
    served.lifecycle.handle(Event.STOP_ASKED)
    await raw.send(request(message(2)))
    status, headers, _ = await raw.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await raw.reader.read() == b""


@pytest.mark.parametrize("known", [False, True])
async def test_a_body_that_stops_is_answered_with_408(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    served = await serve(IDENTITY)
    raw = await connect(served)
    if known:
        await raw.send(request(message(1)))
        assert await raw.value() == 1
    monkeypatch.setattr(connections, "BODY_SECONDS_MAX", 0.05)
    monkeypatch.setattr("penstock_server.http_inference.BODY_SECONDS_MAX", 0.05)
    await raw.send(request(message(1))[:-3])
    status, _, body = await raw.answer()
    assert (status, json.loads(body)) == (408, {"error": "the body did not arrive within 0.05 s"})
    assert await raw.reader.read() == b""


async def test_headers_that_stop_are_answered_with_408(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.05)
    raw = await connect(await serve(IDENTITY))
    await raw.send(request(message(1))[:30])
    status, _, body = await raw.answer()
    assert (status, json.loads(body)) == (408, {"error": "the headers did not arrive within 0.05 s"})
    assert await raw.reader.read() == b""


async def test_a_client_that_never_says_anything_is_left(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.05)
    raw = await connect(await serve(IDENTITY))
    assert await asyncio.wait_for(raw.reader.read(), 2) == b""


async def test_a_client_that_comes_back_after_a_while_is_still_known(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve(IDENTITY)
    first = await connect(served)
    await first.send(request(message(0)))
    assert await first.value() == 0
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.02)
    raw = await connect(served)
    for number in range(3):
        await raw.send(request(message(number)))
        assert await raw.value() == number
        await asyncio.sleep(0.03)
        await raw.send(b"GET /v2/health/ready HTTP/1.1\r\nHost: m\r\n\r\n")
        assert (await raw.answer())[0] == 200
        await asyncio.sleep(0.03)


async def test_headers_that_stop_are_cut_after_other_requests_too(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.05)
    raw = await connect(await serve(IDENTITY))
    for whole in (b"GET /v2 HTTP/1.1\r\nHost: m\r\n\r\n", request(message(1))):
        await raw.send(whole)
        assert (await raw.answer())[0] == 200
    await raw.send(b"POST /v2/models/m/infer HTTP/1.1\r\nHo")
    assert (await raw.answer())[0] == 408


async def test_headers_that_dribble_are_cut_all_the_same(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.05)
    raw = await connect(await serve(IDENTITY))
    answer = asyncio.ensure_future(raw.answer())
    for byte in request(message(1))[:60]:
        if not answer.done():
            await raw.send(bytes([byte]))
    assert (await answer)[0] == 408


async def test_a_client_that_leaves_ends_its_run(serve: Serve, connect: Connect) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=60, concurrency_max=1)
    raw = await connect(served)
    await raw.send(request(LONG))
    await eventually(lambda: served.admission.in_flight == 1)
    raw.writer.close()
    await eventually(lambda: served.admission.in_flight == 0)
    assert served.errors == []


async def test_a_large_answer_is_compressed_for_who_asks(serve: Serve, connect: Connect) -> None:
    raw = await connect(await serve(IDENTITY))
    rows = {"inputs": [{"name": "x", "shape": [5000, 2], "datatype": "FP32", "data": [1.5] * 10_000}]}
    for headers, coding in (("Accept-Encoding: gzip\r\n", "gzip"), ("", None), ("Accept-Encoding: gzip;q=0\r\n", None)):
        for _ in range(2):
            await raw.send(request(rows, headers))
            status, answered, body = await raw.answer()
            assert (status, answered.get("content-encoding")) == (200, coding)
            assert (len(body) < 10_000) == bool(coding)


async def test_too_many_different_headers_are_forgotten_and_not_kept(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_HEADS_KEPT", 4)
    served = await serve(IDENTITY)
    raw = await connect(served)
    for number in range(20):
        await raw.send(request(message(number), f"X-Number: {number}\r\n"))
        assert await raw.value() == number
    assert served.model_server._connections is not None
    assert 0 < len(served.model_server._connections._heads) <= 4


async def test_what_is_no_http_is_answered_in_json_and_cut(serve: Serve, connect: Connect) -> None:
    served = await serve(IDENTITY)
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        raw = await connect(served)
        await raw.send(nonsense)
        status, headers, body = await raw.answer()
        assert (status, headers["content-type"]) == (400, "application/json")
        assert json.loads(body)["error"]
        assert await raw.reader.read() == b""


def test_a_connection_is_aiohttps_connection_where_the_fast_way_is_not_taken() -> None:
    assert issubclass(Connection, RequestHandler)


async def test_more_clients_than_there_is_room_for_are_cut_off_and_the_others_are_answered(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CONNECTIONS_MAX", 2)
    served = await serve(IDENTITY)
    first, second = await connect(served), await connect(served)
    for raw in (first, second):
        await raw.send(request(message(1)))
        assert await raw.value() == 1
    third = await connect(served)
    await third.send(request(message(2)))
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await third.answer()
    first.writer.close()
    connections = served.model_server._connections
    assert connections is not None
    await eventually(lambda: len(connections._open) == 1)
    fourth = await connect(served)
    await fourth.send(request(message(3)))
    assert await fourth.value() == 3
