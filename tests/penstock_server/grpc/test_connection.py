"""HTTP/2 as gRPC uses it, and as somebody would use it who means no good."""

import asyncio
import gzip
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.penstock_server.grpc.peer import LIMITS, MESSAGE_MAX, Peer, data, head, prefixed

from penstock_server.grpc_service.http2 import frames
from penstock_server.grpc_service.http2.call import Conversation
from penstock_server.grpc_service.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    PRIORITY_FLAG,
    SETTING,
    WORD,
    Code,
    Kind,
    Setting,
)
from penstock_server.unfinished_bodies import UnfinishedBodies

OK = "0"


async def test_the_server_says_first_what_it_takes() -> None:
    peer = Peer()
    assert peer.frames() == []  # it might be somebody who speaks HTTP/1
    peer.send(PREFACE)
    (kind, _, _, payload), (update, *_) = peer.frames()
    assert (kind, update) == (Kind.SETTINGS, Kind.WINDOW_UPDATE)
    assert dict(SETTING.iter_unpack(payload))[Setting.MAX_CONCURRENT_STREAMS] == LIMITS.streams_max


async def test_a_call_is_answered_on_its_stream() -> None:
    peer = Peer().greet()
    peer.send(peer.call(1, b"hello"))
    stream, headers, message = peer.outcome()
    assert (stream, headers[":status"], headers["grpc-status"], message) == (1, "200", OK, b"hello")
    assert headers["content-type"] == "application/grpc"
    peer.send(peer.call(3, b"again"))
    assert peer.outcome()[0] == 3


async def test_it_makes_no_difference_how_the_bytes_arrive() -> None:
    peer = Peer()
    for octet in PREFACE + frames.settings({}) + peer.call(1, b"hello"):
        peer.send(bytes((octet,)))
    assert [kind for kind, *_ in peer.frames()] == [
        Kind.SETTINGS,
        Kind.WINDOW_UPDATE,
        Kind.SETTINGS,
        Kind.HEADERS,
        Kind.DATA,
        Kind.HEADERS,
    ]


async def test_headers_may_be_padded_have_a_priority_and_go_on_in_other_frames() -> None:
    peer = Peer().greet()
    block = peer.headers()
    peer.send(
        head(1, b"\x03" + bytes(5) + block[:7] + bytes(3), PADDED | PRIORITY_FLAG),
        frames.frame(Kind.CONTINUATION, 0, 1, block[7:9]),
        frames.frame(Kind.CONTINUATION, END_HEADERS, 1, block[9:]),
        data(1, b"\x02" + prefixed(b"hello") + bytes(2), END_STREAM | PADDED),
    )
    assert peer.outcome()[2] == b"hello"


async def test_a_request_may_end_with_trailers_or_an_empty_frame() -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers()), data(1, prefixed(b"a"), 0))
    peer.send(head(1, peer.encoder.encode([("x-end", "1")]), END_HEADERS | END_STREAM))
    assert peer.outcome()[2] == b"a"
    peer.send(head(3, peer.headers()), data(3, prefixed(b"b"), 0), data(3, b""))
    assert peer.outcome()[2] == b"b"


async def test_pings_and_settings_are_answered() -> None:
    peer = Peer().greet()
    peer.send(frames.frame(Kind.PING, 0, 0, b"12345678"), frames.settings({Setting.MAX_FRAME_SIZE: 20_000}))
    assert peer.frames() == [(Kind.PING, ACK, 0, b"12345678"), (Kind.SETTINGS, ACK, 0, b"")]


async def test_frames_that_say_nothing_to_us_are_passed_over() -> None:
    peer = Peer().greet()
    peer.send(
        frames.frame(Kind.PRIORITY, 0, 1, bytes(5)),
        b"\x00\x00\x01\x77\x00\x00\x00\x00\x00?",
        frames.goaway(0, Code.NO_ERROR),
        peer.call(1, b"a"),
    )
    assert peer.outcome()[2] == b"a"


@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [
        (data(1, b"x"), Code.PROTOCOL_ERROR, "data of stream 1, which has not begun"),
        (data(0, b"x"), Code.PROTOCOL_ERROR, "data of stream 0, which has not begun"),
        (head(2, b"\x82"), Code.PROTOCOL_ERROR, "stream 2 is not a client's"),
        (head(1, b"\x05ab", END_HEADERS | PADDED), Code.PROTOCOL_ERROR, "more padding than it is long"),
        (head(1, b"\x82", 0) + frames.settings({}), Code.PROTOCOL_ERROR, "headers are interrupted"),
        (head(1, b"\x80"), Code.COMPRESSION_ERROR, "there is no header with number 0"),
        (frames.frame(Kind.CONTINUATION, 0, 1), Code.PROTOCOL_ERROR, "a continuation of nothing"),
        (frames.frame(Kind.PUSH_PROMISE, 0, 1), Code.PROTOCOL_ERROR, "a client promises nothing"),
        (frames.frame(Kind.PING, 0, 0, b"1"), Code.PROTOCOL_ERROR, "a damaged ping"),
        (frames.frame(Kind.SETTINGS, 0, 0, b"1"), Code.FRAME_SIZE_ERROR, "damaged settings"),
        (frames.frame(Kind.RST_STREAM, 0, 1, WORD.pack(8)), Code.PROTOCOL_ERROR, "stream 1 cannot be reset"),
        (frames.window_update(1, 1), Code.PROTOCOL_ERROR, "a window of stream 1, which has not begun"),
        (frames.frame(Kind.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR, "a priority of no stream"),
        (frames.frame(Kind.PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR, "a damaged priority"),
        (frames.frame(Kind.PRIORITY, 0, 1, b"\0\0\0\1\0"), Code.PROTOCOL_ERROR, "stream 1 depends on itself"),
        (frames.frame(Kind.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR, "a stream cannot go away"),
        (frames.settings({Setting.ENABLE_PUSH: 2}), Code.PROTOCOL_ERROR, "whether to push is 0 or 1, not 2"),
        (frames.window_update(0, 0), Code.PROTOCOL_ERROR, "a window that does not grow"),
        (frames.window_update(0, (1 << 31) - 1), Code.FLOW_CONTROL_ERROR, "a window that is too large"),
        (frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31}), Code.FLOW_CONTROL_ERROR, "is too large"),
        (frames.settings({Setting.MAX_FRAME_SIZE: 5}), Code.PROTOCOL_ERROR, "frames of 5 bytes are not possible"),
        (b"\x04\x00\x01" + bytes(6), Code.FRAME_SIZE_ERROR, "a frame of 262145 bytes is too large"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
async def test_who_breaks_the_protocol_is_told_why_and_cut_off(sent: bytes, code: Code, message: str) -> None:
    peer = Peer().greet()
    peer.send(sent)
    found, said = peer.broken()
    assert found is code
    assert message in said
    peer.send(peer.call(1))  # nobody listens any more


@pytest.mark.parametrize(
    ("sent", "code"),
    [(data(1, b"x"), Code.STREAM_CLOSED), (head(1, b"\x82"), Code.PROTOCOL_ERROR)],
    ids=["data", "headers"],
)
async def test_what_follows_a_call_that_both_sides_have_ended_is_an_error(sent: bytes, code: Code) -> None:
    peer = Peer().greet()
    peer.send(peer.call(1), sent)
    assert peer.broken() == (code, "stream 1 has ended")


def flood_of_pings(_: Peer) -> bytes:
    return frames.frame(Kind.PING, 0, 0, bytes(8)) * 1001


def flood_of_settings(_: Peer) -> bytes:
    return frames.settings({Setting.INITIAL_WINDOW_SIZE: 1}) * 1001


def flood_of_empty_data(peer: Peer) -> bytes:
    return head(1, peer.headers()) + data(1, b"", 0) * 1001


def flood_of_resets(peer: Peer) -> bytes:
    calls = (head(2 * one + 1, peer.headers()) + frames.reset(2 * one + 1, Code.CANCEL) for one in range(1001))
    return b"".join(calls)


def flood_of_refused_streams(peer: Peer) -> bytes:
    return b"".join(head(2 * one + 1, peer.headers()) for one in range(1010))


def flood_of_continuations(_: Peer) -> bytes:
    return head(1, b"", 0) + frames.frame(Kind.CONTINUATION, 0, 1) * 1001


def long_headers(_: Peer) -> bytes:
    return head(1, bytes(16 * 1024 + 1), 0)


def long_continued_headers(_: Peer) -> bytes:
    return head(1, bytes(9000), 0) + frames.frame(Kind.CONTINUATION, 0, 1, bytes(9000))


@pytest.mark.parametrize(
    "flood",
    [
        flood_of_pings,
        flood_of_settings,
        flood_of_empty_data,
        flood_of_resets,
        flood_of_refused_streams,
        flood_of_continuations,
        long_headers,
        long_continued_headers,
    ],
)
async def test_who_keeps_us_busy_with_nothing_is_cut_off(flood: Callable[[Peer], bytes]) -> None:
    peer = Peer().greet()
    peer.send(flood(peer))
    assert peer.broken()[0] is Code.ENHANCE_YOUR_CALM


async def test_pings_between_calls_are_no_flood() -> None:
    peer = Peer().greet()
    for number in range(1, 4001, 2):
        peer.send(frames.frame(Kind.PING, 0, 0, bytes(8)), peer.call(number))
    assert not peer.transport.closed


async def test_more_calls_at_once_than_allowed_are_refused_one_by_one() -> None:
    peer = Peer().greet()
    for number in (1, 3, 5, 7):
        peer.send(head(number, peer.headers()))
    assert peer.frames() == [(Kind.RST_STREAM, 0, 7, WORD.pack(Code.REFUSED_STREAM))]
    peer.send(data(1, prefixed(b"")), peer.call(9, b"there is room again"))
    assert {stream for kind, _, stream, _ in peer.frames() if kind is Kind.HEADERS} == {1, 9}


async def test_an_answer_waits_for_the_windows_of_the_client() -> None:
    peer = Peer()
    peer.send(PREFACE, frames.settings({Setting.INITIAL_WINDOW_SIZE: 10}))
    peer.frames()
    peer.send(peer.call(1, b"x" * 100))
    assert [len(payload) for kind, _, _, payload in peer.frames() if kind is Kind.DATA] == [10]
    peer.send(frames.window_update(1, 20))
    assert [len(payload) for *_, payload in peer.frames()] == [20]
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1000}))
    (acknowledged, *_), *sent, (kind, flags, _, _) = peer.frames()
    assert acknowledged is Kind.SETTINGS
    assert [len(payload) for *_, payload in sent] == [75]
    assert (kind, flags) == (Kind.HEADERS, END_HEADERS | END_STREAM)


async def test_an_answer_waits_for_the_window_of_the_connection() -> None:
    peer = Peer(unary={"/s/Large": lambda _, __: b"x" * 70_000}).greet()
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}), peer.call(1, path="/s/Large"))
    sent = sum(len(payload) for kind, _, _, payload in peer.frames() if kind is Kind.DATA)
    assert sent == frames.WINDOW_DEFAULT
    peer.send(peer.call(3, b"behind it"))
    assert [kind for kind, *_ in peer.frames()] == [Kind.HEADERS]
    peer.send(frames.window_update(0, 1 << 20))
    rest = peer.frames()
    assert sum(len(payload) for kind, _, stream, payload in rest if kind is Kind.DATA and stream == 1) + sent == 70_005
    assert [stream for kind, flags, stream, _ in rest if kind is Kind.HEADERS and flags & END_STREAM] == [1, 3]


async def test_a_call_that_is_reset_while_its_answer_waits_is_forgotten() -> None:
    peer = Peer()
    peer.send(PREFACE, frames.settings({Setting.INITIAL_WINDOW_SIZE: 0}), peer.call(1, b"x"))
    peer.send(frames.reset(1, Code.CANCEL))
    assert not peer.connection.busy
    peer.frames()
    peer.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 100}), peer.call(3, b"next"))
    assert peer.outcome()[2] == b"next"


async def test_of_many_settings_of_one_window_the_last_holds_and_very_many_are_none() -> None:
    peer = Peer().greet()
    sizes = b"".join(SETTING.pack(Setting.INITIAL_WINDOW_SIZE, size) for size in range(60))
    peer.send(frames.frame(Kind.SETTINGS, 0, 0, sizes), peer.call(1, b"x" * 100))
    assert [len(payload) for kind, _, _, payload in peer.frames() if kind is Kind.DATA] == [59]
    peer.send(frames.frame(Kind.SETTINGS, 0, 0, sizes * 2))
    assert peer.broken() == (Code.ENHANCE_YOUR_CALM, "more than 64 settings")


async def test_answers_that_wait_for_a_window_are_counted_until_they_are_sent_or_forgotten() -> None:
    peer = Peer()
    untaken = peer.calls.untaken
    peer.send(PREFACE, frames.settings({Setting.INITIAL_WINDOW_SIZE: 10}))
    peer.send(peer.call(1, b"x" * 100), peer.call(3, b"y" * 100))
    assert untaken.kept_bytes == 2 * 95
    peer.send(frames.window_update(1, 20))
    assert untaken.kept_bytes == 75 + 95
    peer.send(frames.window_update(1, 1000))
    assert untaken.kept_bytes == 95
    peer.send(frames.reset(3, Code.CANCEL))
    assert untaken.kept_bytes == 0
    peer.send(peer.call(5, b"z" * 100))
    peer.connection.connection_lost(None)
    assert untaken.kept_bytes == 0


async def test_who_asks_on_and_on_and_takes_no_answer_is_cut_off_before_memory_is_full() -> None:
    asked = 0

    async def large(conversation: Conversation) -> None:
        nonlocal asked
        while await conversation.receive() is not None:
            asked += 1
            conversation.send(bytes(10_000))

    peer = Peer(streaming={"/s/Large": large})
    peer.calls.untaken = peer.connection._out._untaken = UnfinishedBodies(1_000_000)
    peer.send(PREFACE, frames.settings({Setting.INITIAL_WINDOW_SIZE: 0}), head(1, peer.headers("/s/Large")))
    for _ in range(300):
        peer.send(data(1, prefixed(b"more"), 0))
        await asyncio.sleep(0)
        if peer.transport.aborted:
            break
    assert peer.transport.aborted
    assert asked <= 101
    peer.connection.connection_lost(None)
    assert peer.calls.untaken.kept_bytes == 0


async def test_what_is_received_is_given_back_to_the_window_of_the_connection() -> None:
    peer = Peer().greet()
    large = data(1, bytes(1 << 18), 0)
    peer.send(head(1, peer.headers()))
    given = 0
    for _ in range(140):  # refused at once, but the client does not know that yet
        peer.send(large)
        given += sum(int.from_bytes(payload) for kind, _, _, payload in peer.frames() if kind is Kind.WINDOW_UPDATE)
    assert given > 1 << 25


async def test_while_the_client_does_not_read_nothing_is_read_from_it() -> None:
    peer = Peer().greet()
    peer.connection.pause_writing()
    assert peer.transport.paused
    peer.connection.resume_writing()
    assert not peer.transport.paused


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [(b"POST /v2/models/m/infer HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request"), (b"\x16\x03\x01\x02", b"")],
)
async def test_who_speaks_something_else_is_told_as_far_as_possible(request_line: bytes, answer: bytes) -> None:
    peer = Peer()
    peer.send(request_line)
    assert peer.transport.closed
    assert bytes(peer.transport.written).startswith(answer)
    assert bool(peer.transport.written) == bool(answer)


@pytest.mark.parametrize(
    ("more", "status", "allow"),
    [({":method": "GET"}, "405", "POST"), ({"content_type": "text/html"}, "415", None)],
)
async def test_what_is_http_but_not_grpc_is_refused_as_http(
    more: dict[str, str], status: str, allow: str | None
) -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers(**more), END_HEADERS | END_STREAM))
    (_, _, _, block), (_, _, _, body), (_, flags, _, _) = peer.frames()
    headers = {str(name): str(value) for name, value in peer.decoder.decode(block)}
    assert (headers[":status"], headers.get("allow"), headers["content-type"]) == (status, allow, "application/json")
    assert body == b'{"error":"this port speaks gRPC; the port of REST is another one"}'
    assert flags & END_STREAM


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (b"", "3", "the request has no message, or only a part of one"),
        (prefixed(b"hello")[:-1], "3", "the request has no message, or only a part of one"),
        (prefixed(b"a") + prefixed(b"b"), "3", "the request has more than one message"),
        (prefixed(b"a", 2), "3", "the first byte of a message is 0 or 1, not 2"),
        (prefixed(b"a", 1), "3", "a message is compressed by 'identity'; this server knows gzip and deflate"),
        (prefixed(bytes(MESSAGE_MAX + 1)), "8", f"the message is larger than {MESSAGE_MAX} bytes"),
    ],
)
async def test_a_damaged_message_is_refused(request_: bytes, status: str, message: str) -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers()), data(1, request_))
    _, headers, _ = peer.outcome()
    assert (headers["grpc-status"], headers["grpc-message"]) == (status, message)


@pytest.mark.parametrize(
    ("packed", "status", "message"),
    [
        (gzip.compress(b"hello", mtime=0), "0", None),
        (gzip.compress(b"hello", mtime=0)[:-4], "3", "a compressed message is cut off, or something follows it"),
        (gzip.compress(b"hello", mtime=0) + b"?", "3", "a compressed message is cut off, or something follows it"),
        (b"hello", "3", "a compressed message is damaged: Error -3 while decompressing data: incorrect header check"),
        (gzip.compress(bytes(MESSAGE_MAX + 1), mtime=0), "8", f"the message is larger than {MESSAGE_MAX} bytes"),
    ],
)
async def test_a_compressed_message_is_refused_unless_it_is_whole(
    packed: bytes, status: str, message: str | None
) -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers(grpc_encoding="gzip")), data(1, prefixed(packed, 1)))
    _, headers, answer = peer.outcome()
    assert (headers["grpc-status"], headers.get("grpc-message")) == (status, message)
    assert answer == (b"hello" if message is None else b"")


async def test_a_large_message_is_refused_before_it_has_arrived() -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers()), data(1, b"\0\x7f\xff\xff\xff", 0))
    *_, (kind, _, _, code) = peer.frames()
    assert (kind, code) == (Kind.RST_STREAM, WORD.pack(Code.NO_ERROR))
    peer.send(data(1, b"still on its way", 0), peer.call(3, b"next"))
    assert peer.outcome()[2] == b"next"


async def test_many_large_requests_at_once_are_refused() -> None:
    peer = Peer().greet()
    others = [Peer() for _ in range(7)]
    for other in others:
        other.connection._calls = peer.calls
        other.send(PREFACE, frames.settings({}), head(1, other.headers()), data(1, prefixed(bytes(4000))[:-1], 0))
        assert not any(kind is Kind.RST_STREAM for kind, *_ in other.frames())
    for number in (1, 3):
        peer.send(head(number, peer.headers()), data(number, prefixed(bytes(4000))[:-1], 0))
    _, headers, _ = peer.outcome()
    assert headers["grpc-status"] == "8"
    for other in others:
        other.connection.connection_lost(None)
    peer.send(peer.call(5, bytes(4000)))
    assert peer.outcome()[1]["grpc-status"] == OK
    peer.connection.connection_lost(None)
    assert peer.calls.unfinished.kept_bytes == 0


@pytest.mark.parametrize(
    ("given", "seconds"), [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9)]
)
async def test_the_client_s_time_is_known(given: str, seconds: float) -> None:
    known: list[float | None] = []

    def note(_: bytes | memoryview, remaining: float | None) -> bytes:
        known.append(remaining)
        return b""

    peer = Peer(unary={"/s/Note": note}).greet()
    peer.send(peer.call(1, path="/s/Note", grpc_timeout=given))
    assert known[0] is not None
    assert seconds - 0.5 < known[0] <= seconds


@pytest.mark.parametrize("given", ["1", "S", "1.5S", "-1S", "123456789S", "1s"])
async def test_a_time_that_is_none_is_refused(given: str) -> None:
    peer = Peer().greet()
    peer.send(peer.call(1, grpc_timeout=given))
    assert "grpc-timeout must be a number" in peer.outcome()[1]["grpc-message"]


CALL = {":method": "POST", ":scheme": "http", ":path": "/s/Echo", "content-type": "application/grpc"}


@pytest.mark.parametrize(
    "headers",
    [
        [(":method", "POST"), (":path", "/s/Echo")],
        [*CALL.items(), (":path", "/s/Echo")],
        [(":path", "/s/Echo"), *CALL.items()],
        [*CALL.items(), (":authority", "late")],
        [(":status", "200"), *CALL.items()],
        [*{**CALL, ":path": ""}.items()],
        [*CALL.items(), ("X-Upper", "1")],
        [*CALL.items(), ("connection", "close")],
        [*CALL.items(), ("te", "gzip")],
        [*CALL.items(), ("content-length", "-1")],
        [*CALL.items(), ("content-length", "7")],
    ],
    ids=str,
)
async def test_a_request_that_http_forbids_is_reset(headers: list[tuple[str, str]]) -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.encoder.encode(headers)), data(1, prefixed(b"a")))
    assert peer.frames() == [(Kind.RST_STREAM, 0, 1, WORD.pack(Code.PROTOCOL_ERROR))]
    peer.send(peer.call(3, b"others are not harmed", content_length="26"))
    assert peer.outcome()[2] == b"others are not harmed"


async def test_trailers_that_are_none_reset_the_call() -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers()), head(1, peer.headers(), END_HEADERS | END_STREAM))
    assert peer.frames() == [(Kind.RST_STREAM, 0, 1, WORD.pack(Code.PROTOCOL_ERROR))]


async def test_a_window_of_a_call_that_grows_too_large_resets_it() -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers()), frames.window_update(1, (1 << 31) - 1))
    assert peer.frames() == [(Kind.RST_STREAM, 0, 1, WORD.pack(Code.FLOW_CONTROL_ERROR))]


async def test_a_call_of_several_messages_goes_to_and_fro() -> None:
    async def double(conversation: Conversation) -> None:
        while (message := await conversation.receive()) is not None:
            conversation.send(message * 2)

    peer = Peer(streaming={"/s/Double": double}).greet()
    peer.send(head(1, peer.headers("/s/Double")), data(1, prefixed(b"a") + prefixed(b"b")[:3], 0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [payload[5:] for kind, _, _, payload in peer.frames() if kind is Kind.DATA] == [b"aa"]
    peer.send(data(1, prefixed(b"b")[3:]))
    await asyncio.sleep(0)
    (_, _, _, answer), (_, flags, _, trailers) = peer.frames()
    assert answer[5:] == b"bb"
    assert flags & END_STREAM
    assert ("grpc-status", OK) in {(str(name), str(value)) for name, value in peer.decoder.decode(trailers)}


async def test_a_call_that_takes_long_is_ended_when_the_client_resets_it() -> None:
    ended = asyncio.Event()

    async def for_ever() -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    peer = Peer(unary={"/s/Long": lambda _, __: for_ever()}).greet()
    peer.send(peer.call(1, path="/s/Long"))
    await asyncio.sleep(0)
    peer.send(frames.reset(1, Code.CANCEL))
    async with asyncio.timeout(1):
        await ended.wait()
    assert peer.frames() == []


async def test_an_answer_to_a_connection_that_was_cut_off_is_dropped() -> None:
    go_on = asyncio.Event()

    async def wait() -> bytes:
        await go_on.wait()
        return b"too late"

    peer = Peer(unary={"/s/Long": lambda _, __: wait()}).greet()
    peer.send(peer.call(1, path="/s/Long"), frames.frame(Kind.PUSH_PROMISE, 0, 1))
    assert peer.broken()[0] is Code.PROTOCOL_ERROR
    go_on.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert peer.frames() == []


async def test_a_client_that_does_not_begin_is_cut_off() -> None:
    peer = Peer()
    now = asyncio.get_running_loop().time()
    peer.connection.check(now + 9)
    assert not peer.transport.closed
    peer.connection.check(now + 11)
    assert peer.transport.aborted


async def test_a_client_that_says_nothing_is_asked_and_then_cut_off() -> None:
    peer = Peer().greet()
    now = asyncio.get_running_loop().time()
    peer.connection.check(now + 59)
    assert peer.frames() == []
    peer.connection.check(now + 61)
    assert peer.frames() == [(Kind.PING, 0, 0, bytes(8))]
    peer.connection.check(now + 79)
    assert not peer.transport.closed
    peer.connection.check(now + 82)
    assert peer.transport.aborted


async def test_a_request_that_does_not_arrive_is_refused() -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers()), data(1, prefixed(b"hello")[:-1], 0))
    peer.connection.check(asyncio.get_running_loop().time() + 31)
    _, headers, _ = peer.outcome()
    assert (headers["grpc-status"], headers["grpc-message"]) == ("4", "the request did not arrive in time")
    assert not peer.connection.busy


async def test_an_answer_that_nobody_takes_is_given_up() -> None:
    peer = Peer()
    peer.send(PREFACE, frames.settings({Setting.INITIAL_WINDOW_SIZE: 10}), peer.call(1, b"x" * 100))
    peer.frames()
    now = asyncio.get_running_loop().time()
    peer.connection.check(now + 29)
    assert peer.frames() == []
    peer.connection.check(now + 31)
    assert peer.frames() == [(Kind.RST_STREAM, 0, 1, WORD.pack(Code.CANCEL))]
    assert not peer.connection.busy


async def test_who_should_leave_is_asked_twice_and_its_calls_are_answered() -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers()))
    peer.connection.leave()
    (first, _, _, last), (ping, _, _, token) = peer.frames()
    assert (first, last[:4], ping) == (Kind.GOAWAY, b"\x7f\xff\xff\xff", Kind.PING)
    peer.send(peer.call(3, b"was on its way"))
    assert peer.outcome()[2] == b"was on its way"
    peer.send(frames.frame(Kind.PING, ACK, 0, token))
    ((second, _, _, last),) = peer.frames()
    assert (second, last[:4]) == (Kind.GOAWAY, WORD.pack(3))
    peer.send(peer.call(5, b"came too late"))
    assert peer.frames() == []
    assert not peer.transport.closed
    peer.send(data(1, prefixed(b"the last")))
    assert peer.outcome()[2] == b"the last"
    assert peer.transport.closed


async def test_a_connection_leaves_when_it_is_old_and_is_cut_off_if_it_stays() -> None:
    peer = Peer().greet()
    peer.send(head(1, peer.headers()))
    now = asyncio.get_running_loop().time()
    peer.connection._heard = now + 111
    peer.connection.check(now + 111)
    assert peer.frames()[0][0] is Kind.GOAWAY
    peer.connection._leaving_from = now
    peer.connection.check(now + 11)
    assert peer.transport.aborted


@given(st.lists(st.binary(max_size=100), max_size=5))
async def test_any_bytes_are_taken_or_end_the_connection(parts: list[bytes]) -> None:
    peer = Peer()
    peer.send(PREFACE)
    for part in parts:
        peer.send(part)


FRAMES = st.builds(
    frames.frame,
    st.sampled_from(list(Kind)),
    st.sampled_from([0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS, PADDED, PRIORITY_FLAG | END_HEADERS]),
    st.integers(0, 7),
    st.one_of(st.binary(max_size=20), st.just(b"\x83\x86\x04\x07/s/Echo"), st.just(prefixed(b"hi"))),
)


@given(st.lists(FRAMES, max_size=20))
async def test_any_frames_are_taken_or_end_the_connection(sent: list[bytes]) -> None:
    peer = Peer()
    peer.send(PREFACE)
    for one in sent:
        peer.send(one)
    for kind, _, stream, _ in peer.frames():
        assert kind in {Kind.SETTINGS, Kind.WINDOW_UPDATE, Kind.PING, Kind.GOAWAY} or stream
    peer.connection.connection_lost(None)
    assert peer.calls.unfinished.kept_bytes == 0
