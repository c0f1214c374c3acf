"""A connection whose plain requests are answered as soon as they have arrived, without a task for each."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from penstock_server.http_server import KEEPALIVE_SECONDS, error_reply
from penstock_server.pieces import Pieces
from penstock_server.taking import Taking
from penstock_server.unfinished_bodies import TooManyBodies, UnfinishedBodies

#: A connection is cut when the headers of a request do not arrive within this time after its first byte.
HEAD_SECONDS_MAX = 10.0
BODY_SECONDS_MAX = 30.0
#: Larger answers are handed over in two parts instead of being copied into one.
_ONE_WRITE_BYTES_MAX = 64 * 1024
#: A client that sends on while it waits for an answer is heard again after that.
_HELD_BYTES_MAX = 256 * 1024
_HEAD_BYTES_MAX = 2048
_HEADS_KEPT = 512
_END = b"\r\n\r\n"
_END_BYTES = len(_END)
#: What is used of aiohttp beyond its documentation. Where it is gone, all requests go aiohttp's own way.
_RELIED_ON = ("_waiter", "_messages", "_force_close", "_close", "_next_keepalive_close_time")
_UNKNOWN = -1
_DIGITS_MAX = 18
#: The parser repeats what it could not read.
_DETAILS_LENGTH_MAX = 1000

Reply = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainHead:
    """The headers of a request that a connection may answer by itself; ``coding``: of a large answer, empty: none.

    ``pair``: what it and its copy have in common with no other request, empty where it was not copied.
    """

    body_bytes: int
    json_bytes: int | None
    coding: str
    pair: str = ""


class Exchange(Protocol):
    """Answers the plain requests of connections."""

    unfinished: UnfinishedBodies
    #: Answers that clients do not take, over all connections.
    untaken: UnfinishedBodies

    def plain_head(self, message: Any) -> PlainHead | None:
        """Return what matters of the headers, or None where aiohttp has to handle the request."""

    def reply(self, head: PlainHead, body: bytes, *, close: bool) -> Reply | Awaitable[Reply]:
        """Return head and body of the answer, at once or later; neither raises."""

    def too_slow(self, what: str, seconds: float) -> Reply:
        """Return the answer to a client that was too slow."""

    def overloaded(self) -> Reply:
        """Return the answer to a client whose body cannot be kept."""


class Owner(Protocol):
    """The server that a connection belongs to."""

    def begin(self) -> None:
        """Count a request in progress."""

    def end(self) -> None:
        """Count it no more."""

    @property
    def draining(self) -> bool:
        """Whether all connections should end with their next answers."""


def fast_way_open() -> bool:
    """Return whether this aiohttp has what the fast way relies on."""
    return set(_RELIED_ON) <= set(RequestHandler.__slots__)


class Connection(RequestHandler):
    """Answers plain requests by itself; all else goes aiohttp's way.

    aiohttp wakes one task per connection, makes another one per request, a request object, a response
    object, and writes head and body apart: together more than the model takes. A plain request (a
    POST to infer, with its length, nothing to negotiate) that is completely there needs none of it.

    Clients that keep a connection send the same bytes of headers again and again: once aiohttp's
    parser has taken them, the same bytes mean the same, so they are looked up and not parsed. That
    needs the parser to be between two messages, which ``_missing`` keeps book of: how many bytes of
    the message that it reads are still to come, ``_UNKNOWN`` if nobody knows, and then never again.
    """

    __slots__ = (
        "_answering",
        "_body",
        "_body_head",
        "_exchange",
        "_heads",
        "_held",
        "_missing",
        "_owner",
        "_taker",
        "_taking",
        "_timer",
        "old_from",
    )

    def __init__(
        self, manager: Any, exchange: Exchange, owner: Owner, heads: dict[bytes, PlainHead], **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._exchange = exchange
        self._owner = owner
        self._heads = heads
        self._missing = 0 if fast_way_open() else _UNKNOWN
        self._answering: asyncio.Task[None] | None = None
        self._held = Pieces()
        self._body_head: PlainHead | None = None
        self._body = Pieces()
        self._timer: asyncio.TimerHandle | None = None
        #: Who should take the answers: aiohttp forgets whom it has closed.
        self._taker: asyncio.Transport | None = None
        self._taking: Taking | None = None
        #: When it should end, by the loop's clock; whoever owns it says so.
        self.old_from = 0.0

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        if not data:
            super().data_received(data)  # it calls itself so, to go on with what it has put aside
        elif self._answering is not None:
            self._hold(data)
        elif self._body_head is not None:
            self._take_body(self._body_head, data)
        else:
            end = data.find(_END)
            head = self._heads.get(data[:end]) if end > 0 else None
            waiter = self._waiter
            # That aiohttp waits for a request and the client takes what is written: as ``_idle`` says.
            idle = waiter is not None and not (waiter.done() or self._paused or self._force_close or self._close)
            if head is None or self._missing or not idle:
                self._take_new(data)
            elif len(data) - end - _END_BYTES == head.body_bytes:
                if self._timer is not None:
                    self._stop_timer()
                self._answer(head, data[end + _END_BYTES :])
            else:
                self._take_part(head, data, end + _END_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the client its time for the first request."""
        super().connection_made(transport)
        self._taker = self.transport
        self._timer = self._loop.call_later(HEAD_SECONDS_MAX, self._cut_head)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what was going on."""
        self._stop_timer()
        self._stop_taking()
        self._taker = None
        if self._answering is not None:
            self._answering.cancel()
        elif self._body_head is not None:
            self._body_head = None
            self._owner.end()
        for pieces in (self._body, self._held):
            self._give_back(pieces)
            pieces.take()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Watch a client that does not take its answers: they stay here until it does."""
        super().pause_writing()
        if self._taker is not None:
            self._taking = Taking(self._taker, self._exchange.untaken)

    def resume_writing(self) -> None:
        """Watch it no more."""
        super().resume_writing()
        self._stop_taking()

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.end()
            self._taking = None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what cannot be parsed as HTTP as every other error: in JSON."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, LineTooLong) or "Too many headers" in (message or ""):
            status = 431
        elif "content-encoding" in str(message or "").lower():
            status = 415
        said = str(message or exc or "internal error")[:_DETAILS_LENGTH_MAX]
        response = error_reply(status, f"this is not a request that can be read: {said}")
        response.force_close()
        return response

    def _process_keepalive(self) -> None:
        if self._answering is not None or self._body_head is not None:
            self._next_keepalive_close_time = self._loop.time() + KEEPALIVE_SECONDS
        super()._process_keepalive()

    def _idle(self) -> bool:
        """Return whether aiohttp waits for a request and the client takes what is written."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not (self._paused or self._force_close or self._close)

    def _take_part(self, head: PlainHead, data: bytes, begin: int) -> None:
        """Take the beginning of a request whose head is known, or have aiohttp look at more than a request."""
        missing = head.body_bytes - (len(data) - begin)
        if missing < 0:
            self._take_new(data)
            return
        self._stop_timer()
        self._owner.begin()
        self._body_head = head
        self._missing = missing
        self._keep(data[begin:])
        self._timer = self._loop.call_later(BODY_SECONDS_MAX, self._cut, "body", BODY_SECONDS_MAX)

    def _take_body(self, head: PlainHead, data: bytes) -> None:
        """Take a part of the body of a request whose head is known."""
        missing = self._missing - len(data)
        if missing > 0:
            self._missing = missing
            self._keep(data)
            return
        self._stop_timer()
        self._missing = 0
        rest = data[missing:] if missing else b""
        self._give_back(self._body)
        self._body.add(data[:missing] if missing else data)
        body, self._body_head = bytes(self._body.take()), None
        self._owner.end()
        self._answer(head, body)
        if rest:
            self.data_received(rest)

    def _keep(self, data: bytes) -> None:
        """Keep a part of a body, or give the client up where too much is kept already."""
        try:
            self._exchange.unfinished.keep(len(data))
        except TooManyBodies:
            self._stop_timer()
            self._write(self._exchange.overloaded(), close=True)
            return
        self._body.add(data)

    def _give_back(self, pieces: Pieces) -> None:
        self._exchange.unfinished.give_back(pieces.size)

    def _take_new(self, data: bytes) -> None:
        """Have aiohttp parse what has arrived, and answer it here if that is all it takes."""
        between, idle = self._missing == 0, self._idle()
        waiter = self._waiter
        self._waiter = None  # so that nobody is woken yet
        super().data_received(data)
        self._waiter = waiter
        self._tell_damage()
        if idle and between and self._take_parsed(data):
            return
        if self._messages and waiter is not None and not waiter.done():
            waiter.set_result(None)
        if between:
            self._missing = self._still_missing(data)
            if self._missing > 0:
                self._learn(data)
        elif self._missing > 0:
            self._missing = max(self._missing - len(data), _UNKNOWN)
        self._time_head()

    def _tell_damage(self) -> None:
        """Tell who reads a body that the rest of it could not be parsed: aiohttp only tells who comes next."""
        request = self._current_request
        if request is not None and self._messages and not isinstance(self._messages[-1][0], RawRequestMessage):
            request.content.set_exception(web.RequestPayloadError("it is damaged or not encoded as its headers say"))

    def _take_parsed(self, data: bytes) -> bool:
        """Answer the only request that has been parsed, if it is plain and complete."""
        if len(self._messages) != 1:
            return False
        message, payload = self._messages[0]
        if not isinstance(message, RawRequestMessage):
            return False  # it could not be parsed
        end = data.find(_END)
        if not data.startswith(b"POST /") or b"\n" in data[:end].replace(b"\r\n", b"") or not payload.is_eof():
            return False
        head = self._exchange.plain_head(message)
        if head is None or len(data) != end + len(_END) + head.body_bytes:
            return False
        self._stop_timer()
        self._messages.clear()
        if self._parser is not None:
            self._parser.message_consumed()
        self._remember(data[:end], head)
        # Reading from the payload costs a visit to the parser, and is needed where it has paused the client.
        self._answer(head, payload.read_nowait() if self._reading_paused else data[end + len(_END) :])
        return True

    def _learn(self, data: bytes) -> None:
        """Remember headers whose body is still to come: many clients send it in a segment of its own, each time."""
        head = self._exchange.plain_head(self._messages[0][0])
        if head is not None:
            self._remember(data[: data.find(_END)], head)

    def _remember(self, lines: bytes, head: PlainHead) -> None:
        # Headers with a pair do not come again, and would push those out that do.
        if len(lines) <= _HEAD_BYTES_MAX and not head.pair:
            if len(self._heads) >= _HEADS_KEPT:
                self._heads.clear()
            self._heads[lines] = head

    def _still_missing(self, data: bytes) -> int:
        """Return how much of the message that began with ``data`` is still to come, if that is plain."""
        if len(self._messages) != 1:
            return _UNKNOWN
        message = self._messages[0][0]
        end = data.find(_END)
        if end < 0 or not isinstance(message, RawRequestMessage) or message.chunked or message.upgrade:
            return _UNKNOWN
        if b"\n" in data[:end].replace(b"\r\n", b"") or data[:1] in b"\r\n":
            return _UNKNOWN
        length = message.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdecimal() and len(length) <= _DIGITS_MAX):
            return _UNKNOWN
        return max(int(length) - (len(data) - end - len(_END)), _UNKNOWN)

    def _answer(self, head: PlainHead, body: bytes) -> None:
        now = self._loop.time()
        close = now >= self.old_from or self._owner.draining
        self._next_keepalive_close_time = now + KEEPALIVE_SECONDS
        reply = self._exchange.reply(head, body, close=close)
        if isinstance(reply, tuple):
            transport, (top, rest) = self.transport, reply
            if close or transport is None or len(rest) > _ONE_WRITE_BYTES_MAX:
                self._write(reply, close=close)
            else:
                transport.write(top + rest)
            return
        self._owner.begin()
        self._answering = self._loop.create_task(self._answer_later(reply, close=close))

    async def _answer_later(self, reply: Awaitable[Reply], *, close: bool) -> None:
        try:
            made = await reply
        finally:
            self._answering = None
            self._owner.end()
        self._write(made, close=close)
        if self._held.size and self.transport is not None:
            self._give_back(self._held)
            if self._held.size > _HELD_BYTES_MAX:
                self.transport.resume_reading()
            self.data_received(bytes(self._held.take()))

    def _hold(self, data: bytes) -> None:
        """Keep what a client sends before it has its answer, or give the client up where too much is kept already."""
        try:
            self._exchange.unfinished.keep(len(data))
        except TooManyBodies:
            self.force_close()
            return
        self._held.add(data)
        if self._held.size > _HELD_BYTES_MAX and self.transport is not None:
            self.transport.pause_reading()

    def _write(self, reply: Reply, *, close: bool) -> None:
        transport = self.transport
        if transport is None:
            return
        head, body = reply
        if len(body) <= _ONE_WRITE_BYTES_MAX:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        if close:
            self.force_close()

    def _time_head(self) -> None:
        """Give the client its time for the headers, from their first byte on."""
        if self._messages or self._current_request is not None:
            self._stop_timer()
        elif self._timer is None and self._missing:
            self._timer = self._loop.call_later(HEAD_SECONDS_MAX, self._cut_head)

    def _cut_head(self) -> None:
        self._timer = None
        if not self._idle() or self._messages:
            return  # they have come: a request is being answered
        if self._missing:
            self._cut("headers", HEAD_SECONDS_MAX)
        else:
            self.force_close()  # it has never said anything, and nothing is to be answered

    def _cut(self, what: str, seconds: float) -> None:
        self._timer = None
        self._write(self._exchange.too_slow(what, seconds), close=True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
