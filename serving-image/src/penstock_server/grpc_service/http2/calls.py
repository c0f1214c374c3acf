"""Answers calls of gRPC: finds the method, runs it, and tells its outcome."""

import asyncio
import struct
from collections.abc import Awaitable, Mapping
from urllib.parse import quote

from penstock_server.grpc_service.http2 import headers
from penstock_server.grpc_service.http2.call import (
    Asked,
    Bytes,
    Call,
    Conversation,
    Malformed,
    Message,
    NotHttp,
    Paired,
    Streaming,
    TooLarge,
    Unary,
    asked,
)
from penstock_server.grpc_service.http2.connection import NOT_GRPC
from penstock_server.grpc_service.http2.frames import Code
from penstock_server.grpc_service.http2.headers import Headers
from penstock_server.grpc_service.http2.stream import Stream
from penstock_server.grpc_service.status import Refused, Status
from penstock_server.http_server import ErrorLog
from penstock_server.unfinished_bodies import OVERLOADED, TooManyBodies, UnfinishedBodies

_PREFIX = struct.Struct(">BL")
_CONTENT_TYPE = (b"content-type", b"application/grpc")
#: 200 is number 8 of the static table.
_OK_STATUS = b"\x88"
_HEAD = _OK_STATUS + headers.encode((_CONTENT_TYPE, (b"grpc-accept-encoding", b"identity,deflate,gzip")))
_JSON = (b"content-type", b"application/json")
_NOT_GRPC_HEADS = {
    405: headers.encode(((b":status", b"405"), _JSON, (b"allow", b"POST"))),
    415: headers.encode(((b":status", b"415"), _JSON)),
}
_TRAILERS = headers.encode(((b"grpc-status", b"0"),))
#: Headers that were understood once, over all connections.
_KNOWN_MAX = 256
#: Messages travel in a header, and clients take few kilobytes of those.
_DETAILS_LENGTH_MAX = 1000
_HTTP_OK = 200
_INTERNAL = "internal error; the server's log says more"


class GrpcCalls:
    """Answers for all connections. Of requests that have not ended, ``unfinished`` says how much may be kept."""

    def __init__(
        self,
        *,
        unary: Mapping[str, Unary],
        streaming: Mapping[str, Streaming],
        paired: Mapping[str, Paired] | None = None,
        message_bytes_max: int,
        unfinished: UnfinishedBodies,
        log: ErrorLog,
    ) -> None:
        self._unary = unary
        self._streaming = streaming
        self._paired = paired or {}
        self._size_max = message_bytes_max
        self._log = log
        self._known: dict[Headers, Asked] = {}
        self.unfinished = unfinished
        #: Answers that clients do not take, over all connections.
        self.untaken = UnfinishedBodies()

    def begin(self, stream: Stream, header_list: Headers) -> None:
        """Find out what a call asks; refuse it where there is no such thing."""
        what = self._known.get(header_list)
        if what is None:
            try:
                what = asked(header_list)
            except NotHttp:
                stream.connection.reset(stream, Code.PROTOCOL_ERROR)
                return
            except Malformed as error:
                self._refuse(stream, Status.INVALID_ARGUMENT, str(error))
                return
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            if not what.pair:  # such headers do not come again
                self._known[header_list] = what
        if what.http_status != _HTTP_OK:
            stream.call = Call(what, unary=None, size_max=0)  # refused when it is whole
            return
        unary = self._unary.get(what.path)
        call = Call(what, unary=unary, size_max=self._size_max)
        if unary is None:
            streaming = self._streaming.get(what.path)
            if streaming is None:
                known = ", ".join(path.rpartition("/")[2] for path in self._unary)
                self._refuse(stream, Status.UNIMPLEMENTED, f"there is no call {what.path!r}; this server has {known}")
                return
            call.conversation = Conversation(stream, self._send)
            call.task = asyncio.get_running_loop().create_task(self._converse(stream, streaming, call.conversation))
        stream.call = call

    def data(self, stream: Stream, data: Bytes) -> None:
        """Keep a part of a request; hand on the messages of a conversation."""
        call: Call | None = stream.call
        if call is None:
            return
        call.arrived += len(data)
        if call.asked.http_status != _HTTP_OK:
            return
        try:
            self.unfinished.keep(len(data))
            call.kept += len(data)
            call.add(data)
            if call.conversation is not None:
                self._hand_on(call, call.conversation)
        except TooManyBodies:
            self._release(call)
            self._refuse(stream, Status.RESOURCE_EXHAUSTED, OVERLOADED)
        except TooLarge:
            self._release(call)
            self._too_large(stream)
        except Malformed as error:
            self._release(call)
            self._refuse(stream, Status.INVALID_ARGUMENT, str(error))

    def end(self, stream: Stream) -> None:
        """Answer a request that is whole."""
        call: Call | None = stream.call
        if call is None:
            return
        if call.asked.content_length not in (None, call.arrived):
            stream.connection.reset(stream, Code.PROTOCOL_ERROR)
            return
        if call.asked.http_status != _HTTP_OK:
            stream.connection.send(stream, _NOT_GRPC_HEADS[call.asked.http_status], NOT_GRPC)
            stream.connection.finish(stream, b"")
            return
        if call.unary is None:
            self._end_conversation(stream, call)
        else:
            self._answer(stream, call, call.unary)

    def _answer(self, stream: Stream, call: Call, unary: Unary) -> None:
        self._give_back(call)
        try:
            message = call.whole()
            paired = self._paired.get(call.asked.path) if call.asked.pair else None
            seconds = self._remaining(stream, call)
            result = unary(message, seconds) if paired is None else paired(message, seconds, call.asked.pair)
            if not isinstance(result, bytes | tuple):
                call.task = asyncio.get_running_loop().create_task(self._later(stream, result))
                if asyncio.iscoroutine(result):
                    # A task that is cancelled before it begins leaves behind what it would have awaited.
                    call.task.add_done_callback(lambda _: result.close())
                return
        except TooLarge:
            self._too_large(stream)
        except Malformed as error:
            self._refuse(stream, Status.INVALID_ARGUMENT, str(error))
        except Exception as error:  # noqa: BLE001 - the top of the request loop
            self._failed(stream, error)
        else:
            _respond(stream, result)

    def _end_conversation(self, stream: Stream, call: Call) -> None:
        if call.pieces.size:
            self._release(call)
            self._refuse(stream, Status.INVALID_ARGUMENT, "the request ends in the middle of a message")
        elif call.conversation is not None:
            call.conversation.end()

    def abort(self, stream: Stream) -> None:
        """End the run of a call that nobody waits for."""
        call: Call | None = stream.call
        if call is not None:
            self._release(call)

    def late(self, stream: Stream) -> None:
        """Refuse a call whose request does not arrive."""
        call: Call | None = stream.call
        if call is not None and call.unary is not None:
            self._release(call)
            self._refuse(stream, Status.DEADLINE_EXCEEDED, "the request did not arrive in time")

    async def _later(self, stream: Stream, result: Awaitable[Message]) -> None:
        try:
            message = await result
        except Exception as error:  # noqa: BLE001 - the top of the request loop
            self._failed(stream, error)
        else:
            _respond(stream, message)

    async def _converse(self, stream: Stream, answer: Streaming, conversation: Conversation) -> None:
        try:
            await answer(conversation)
        except Exception as error:  # noqa: BLE001 - the top of the request loop
            if stream.call is not None:
                self._failed(stream, error)
        else:
            call: Call | None = stream.call
            if call is not None:
                self._forget(call)
                self._send(stream, None)
                stream.connection.finish(stream, _TRAILERS)

    def _send(self, stream: Stream, message: bytes | None) -> None:
        """Send a message of a conversation, or only what comes before the first one."""
        call: Call | None = stream.call
        if call is None:
            return  # it was refused in the meantime
        head = None if call.begun else _HEAD
        call.begun = True
        data = b"" if message is None else _PREFIX.pack(0, len(message)) + message
        stream.connection.send(stream, head, data)

    def _hand_on(self, call: Call, conversation: Conversation) -> None:
        try:
            while (message := call.next()) is not None:
                conversation.feed(bytes(message))
        finally:
            self._give_back(call, but=call.pieces.size)

    def _remaining(self, stream: Stream, call: Call) -> float | None:
        seconds = call.asked.seconds_max
        if seconds is None:
            return None
        return max(0.0, seconds - (asyncio.get_running_loop().time() - stream.started))

    def _forget(self, call: Call) -> None:
        """Count what is kept of a request no more."""
        self._give_back(call)
        call.pieces.take()

    def _give_back(self, call: Call, *, but: int = 0) -> None:
        self.unfinished.give_back(call.kept - but)
        call.kept = but

    def _release(self, call: Call) -> None:
        self._forget(call)
        if call.task is not None:
            call.task.cancel()

    def _too_large(self, stream: Stream) -> None:
        self._refuse(stream, Status.RESOURCE_EXHAUSTED, f"the message is larger than {self._size_max} bytes")

    def _failed(self, stream: Stream, error: Exception) -> None:
        if isinstance(error, Refused):
            self._refuse(stream, error.status, error.message, error.trailers)
            return
        call: Call | None = stream.call
        self._log("internal-error", path="" if call is None else call.asked.path, error=repr(error))
        self._refuse(stream, Status.INTERNAL, _INTERNAL)

    def _refuse(self, stream: Stream, status: Status, message: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """End a call with a status and no message."""
        call: Call | None = stream.call
        begun = call is not None and call.begun
        if call is not None:
            self._forget(call)
        trailers = headers.encode(
            ((b"grpc-status", str(int(status)).encode()), (b"grpc-message", _details(message)), *more)
        )
        stream.call = None
        stream.connection.finish(
            stream, trailers if begun else _OK_STATUS + headers.encode((_CONTENT_TYPE,)) + trailers
        )


def _respond(stream: Stream, message: Message) -> None:
    if isinstance(message, bytes):
        stream.connection.respond(stream, _HEAD, _PREFIX.pack(0, len(message)) + message, _TRAILERS)
    else:
        prefix = _PREFIX.pack(0, sum(map(len, message)))
        stream.connection.respond_in_parts(stream, _HEAD, (prefix, *message), _TRAILERS)


def _details(message: str) -> bytes:
    text = message if len(message) <= _DETAILS_LENGTH_MAX else message[: _DETAILS_LENGTH_MAX - 1] + "…"
    # As the protocol wants it: all but printable ASCII is written as in a URL, and so is the percent sign.
    return quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", errors="replace").encode()
