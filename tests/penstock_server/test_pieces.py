"""What arrives in pieces is kept whole, in the memory and the time that its length explains."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.connection import Pipe
from tests.penstock_server.grpc.peer import Peer, data, head, prefixed

from penstock_server.app import ModelServer
from penstock_server.connection import Connection
from penstock_server.connections import Connections
from penstock_server.descriptions import Identity
from penstock_server.grpc_service.http2 import frames
from penstock_server.grpc_service.http2.call import Asked, Call
from penstock_server.grpc_service.http2.frames import Kind
from penstock_server.lifecycle import Lifecycle
from penstock_server.metrics import Metrics
from penstock_server.pieces import Pieces
from penstock_server.unfinished_bodies import UnfinishedBodies

#: Eight times as much may take eight times as long, or twelve on a machine that is busy; what is quadratic takes 64.
LESS, MORE, RATIO_MAX = 1 << 14, 1 << 17, 24


@given(st.lists(st.binary(max_size=3000)), st.integers(0, 5))
def test_all_pieces_come_back_in_order(parts: list[bytes], count: int) -> None:
    pieces = Pieces()
    for part in parts:
        pieces.add(part)
    whole = b"".join(parts)
    assert pieces.size == len(whole)
    beginning = bytes(pieces.beginning(count))
    assert whole.startswith(beginning)
    assert len(beginning) >= min(count, len(whole))
    assert bytes(pieces.take()) == whole
    assert (pieces.size, bytes(pieces.take())) == (0, b"")


def test_the_only_piece_is_not_copied() -> None:
    pieces, piece = Pieces(), bytes(100)
    pieces.add(piece)
    assert pieces.take() is piece


def test_many_small_pieces_take_the_memory_of_what_is_in_them() -> None:
    pieces = Pieces()
    for _ in range(10_000):
        pieces.add(b"ab")
    assert sum(map(sys.getsizeof, pieces._parts)) + sys.getsizeof(pieces._parts) < 30_000


def seconds(work: Callable[[Sequence[bytes]], None], size: int) -> float:
    """Return the least CPU time of three times, for so many bytes one by one."""
    segments, taken = [b"x"] * size, []
    for _ in range(3):
        started = time.process_time()
        work(segments)
        taken.append(time.process_time() - started)
    return min(taken)


def connected() -> Connection:
    model_server = ModelServer(
        identity=Identity(model_name="m", model_version="", server_version="9"),
        lifecycle=Lifecycle(),
        metrics=Metrics({}),
        max_connection_age_seconds=3600,
    )
    server = model_server.web_server(lambda *_, **__: None)
    assert isinstance(server, Connections)
    connection = server()
    assert isinstance(connection, Connection)
    connection.connection_made(Pipe())
    return connection


def body_over_rest(segments: Sequence[bytes]) -> None:
    async def run() -> None:
        connection = connected()
        await asyncio.sleep(0)
        begin = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % (len(segments) + 1)
        connection.data_received(begin + b"x" * (len(segments) + 1))  # so that its headers are known
        connection.data_received(begin)
        for segment in segments:
            connection.data_received(segment)
        assert connection._body.size == len(segments)
        connection.connection_lost(None)

    asyncio.run(run())


def sent_ahead_over_rest(segments: Sequence[bytes]) -> None:
    async def run() -> None:
        connection = connected()
        connection._answering = asyncio.ensure_future(asyncio.sleep(3600))
        for segment in segments:
            connection.data_received(segment)
        assert connection._held.size == len(segments)
        connection.connection_lost(None)

    asyncio.run(run())


def frame_over_http2(segments: Sequence[bytes]) -> None:
    async def run() -> None:
        peer = Peer().greet()
        peer.calls.unfinished = UnfinishedBodies()
        peer.send(frames.frame(Kind.DATA, 0, 1, bytes(len(segments) + 1))[:9])
        for segment in segments:
            peer.send(segment)
        assert peer.connection._rest.size == len(segments) + 9
        peer.connection.connection_lost(None)
        assert peer.calls.unfinished.kept_bytes == 0

    asyncio.run(run())


def message_over_grpc(segments: Sequence[bytes]) -> None:
    call = Call(Asked(path="/s/Talk"), unary=None, size_max=1 << 20)
    call.add(b"\0" + (len(segments) + 1).to_bytes(4))
    for segment in segments:
        call.add(segment)
        assert call.next() is None
    call.add(b"x")
    assert len(call.next() or b"") == len(segments) + 1


@pytest.mark.parametrize("work", [body_over_rest, sent_ahead_over_rest, frame_over_http2, message_over_grpc])
def test_time_grows_with_the_bytes_and_not_with_their_square(work: Callable[[Sequence[bytes]], None]) -> None:
    assert seconds(work, MORE) < RATIO_MAX * max(seconds(work, LESS), 0.002)


async def test_rest_and_grpc_share_one_bound_of_what_has_not_all_arrived() -> None:
    connection, peer = connected(), Peer().greet()
    await asyncio.sleep(0)
    peer.calls.unfinished = connection._exchange.unfinished = unfinished = UnfinishedBodies(100)
    begin = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\nContent-Length: 200\r\n\r\n"
    connection.data_received(begin + bytes(200))
    connection.data_received(begin + bytes(60))
    assert unfinished.kept_bytes == 60
    peer.send(head(1, peer.headers()), data(1, prefixed(bytes(60))[:-1], 0))
    assert peer.outcome()[1]["grpc-status"] == "8"
    connection.connection_lost(None)
    assert unfinished.kept_bytes == 0
    peer.send(head(3, peer.headers()), data(3, prefixed(bytes(60))[:-1], 0))
    assert unfinished.kept_bytes == 64
    peer.connection.connection_lost(None)
    assert unfinished.kept_bytes == 0
