"""One connection of HTTP/2: frames in and out, streams, and who may send how much."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import cast

from penstock_server.grpc_service.http2 import frames
from penstock_server.grpc_service.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEAD,
    PREFACE,
    PRIORITY_FLAG,
    SETTING,
    STREAM_MASK,
    WINDOW_MAX,
    WORD,
    Code,
    ConnectionBroken,
    Kind,
    Setting,
)
from penstock_server.grpc_service.http2.headers import HEADERS_SIZE_MAX, HeaderDecoder, Headers
from penstock_server.grpc_service.http2.outbox import Outbox
from penstock_server.grpc_service.http2.stream import Calls, Limits, Stream
from penstock_server.pieces import Pieces
from penstock_server.taking import Taking
from penstock_server.unfinished_bodies import OVERLOADED, TooManyBodies

#: Larger than the default: a tensor of a megabyte in four frames instead of 64.
_FRAME_SIZE_MAX = 1 << 18
#: What a client may send before it hears from us; used up, it is given back by the half.
_WINDOW = 1 << 26
_HEAD_SIZE = 9
#: From here on, a view is cheaper than a copy.
_LARGE = 1 << 12
_PRIORITY_SIZE = 5
_PING_SIZE = 8
#: Frames in a row that bring no call forward. A client that sends more of them keeps us busy with nothing.
_IDLE_FRAMES_MAX = 1000
_PASSED_OVER_MAX = 4096
#: There are six.
_SETTINGS_MAX = 64
_PREFACE_SECONDS_MAX = 10.0
#: After so long without a sign from a client we ask it; one that is gone still counts as a connection until then.
_KEEPALIVE_SECONDS = 60.0
_KEEPALIVE_ANSWER_SECONDS = 20.0
_AGE_JITTER = 0.1
_LEAVE_PING = b"penstock"
_KEEPALIVE_PING = b"\0" * 8
_HTTP1 = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"PATC")
#: The body for who speaks HTTP, but not gRPC.
NOT_GRPC = b'{"error":"this port speaks gRPC; the port of REST is another one"}'
_HTTP1_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(NOT_GRPC), NOT_GRPC)
)


class Connection(asyncio.Protocol):
    """Written for calls whose request and answer are small: each is read, answered and written in one turn."""

    def __init__(self, calls: Calls, limits: Limits, lost: "Callable[[Connection], None]") -> None:
        self._calls = calls
        self._limits = limits
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        #: The beginning of a frame whose end has not arrived, and how long it will be.
        self._rest = Pieces()
        self._awaited = 0
        self._out = Outbox(self._finished, calls.untaken)
        self._taking: Taking | None = None
        self._reading = False
        self._prefaced = False
        self._headers = HeaderDecoder()
        #: Stream, flags and blocks of headers that are continued in the next frame.
        self._continued: tuple[int, int, bytearray] | None = None
        self._streams: dict[int, Stream] = {}
        self._last_stream = 0
        #: Streams that ended here first: the client may not know yet, and what it still sends is passed over.
        self._passed_over: dict[int, None] = {}
        self._used = 0
        self._idle_frames = 0
        self._opened = self._heard = self._loop.time()
        self._old_from = self._opened + limits.age_seconds_max * random.uniform(  # noqa: S311 - not a secret
            1 - _AGE_JITTER, 1 + _AGE_JITTER
        )
        self._asked_from: float | None = None
        self._leaving_from: float | None = None
        self._other_frames: dict[int, Callable[[int, int, bytes], None]] = {
            Kind.WINDOW_UPDATE: self._window_update,
            Kind.PING: self._ping,
            Kind.SETTINGS: self._settings,
            Kind.RST_STREAM: self._reset,
            Kind.CONTINUATION: self._continuation,
            Kind.PRIORITY: self._priority,
            Kind.GOAWAY: self._goaway,
            Kind.PUSH_PROMISE: self._push_promise,
        }
        self._left = False

    @property
    def busy(self) -> bool:
        """Whether a call is in progress."""
        return bool(self._streams)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's first words; who speaks HTTP/1 is answered in that."""
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget all calls."""
        self._transport = None
        self._stop_taking()
        self._calls.unfinished.give_back(self._rest.size)
        self._rest.take()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self._out.forget(stream)
            self._calls.abort(stream)
        self._lost(self)

    def eof_received(self) -> bool:
        """Close: what has not arrived will not, and nobody of ours keeps a half-open connection."""
        return False

    def pause_writing(self) -> None:
        """Take no more requests while the client does not take its answers."""
        if self._transport is not None:
            self._transport.pause_reading()
            self._taking = Taking(self._transport, self._calls.untaken)

    def resume_writing(self) -> None:
        """Go on."""
        self._stop_taking()
        if self._transport is not None:
            self._transport.resume_reading()

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.end()
            self._taking = None

    def data_received(self, data: bytes) -> None:
        """Read frames, and write what they gave rise to in one go."""
        if self._transport is None or self._transport.is_closing():
            return
        self._heard = self._loop.time()
        self._asked_from = None
        self._reading = True
        try:
            data = self._with_rest(data)
            if data:
                self._keep(self._read(data))
        except ConnectionBroken as error:
            if self._prefaced:
                self._out.add(frames.goaway(self._last_stream, error.code, str(error)))
            elif data[:4] in _HTTP1:
                self._out.add(_HTTP1_ANSWER)
            self._out.flush(self._transport)
            self.close()
        finally:
            self._reading = False
        self._flush()

    def _with_rest(self, data: bytes) -> bytes:
        """Return what has arrived behind what had arrived before; nothing while that is still a part of a frame."""
        rest = self._rest
        if not rest.size:
            return data
        self._keep(data)
        if rest.size < self._awaited:
            return b""
        self._calls.unfinished.give_back(rest.size)
        return bytes(rest.take())

    def _keep(self, part: bytes) -> None:
        if part:
            try:
                self._calls.unfinished.keep(len(part))
            except TooManyBodies:
                raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, OVERLOADED) from None
            self._rest.add(part)

    # Answers

    def respond(self, stream: Stream, head: bytes, data: bytes, trailers: bytes) -> None:
        """Send a whole answer: blocks of headers, and what is between them."""
        self._out.respond(stream, head, data, trailers)
        self._flush()

    def respond_in_parts(
        self, stream: Stream, head: bytes, parts: Sequence[bytes | memoryview], trailers: bytes
    ) -> None:
        """Send a whole large answer without putting it together first."""
        self._out.respond_in_parts(stream, head, parts, trailers)
        self._flush()

    def send(self, stream: Stream, head: bytes | None, data: bytes) -> None:
        """Send a part of an answer; its headers come before the first."""
        self._out.send(stream, head, data)
        self._flush()

    def finish(self, stream: Stream, trailers: bytes) -> None:
        """End an answer, when all of its parts are sent; empty trailers are none."""
        self._out.finish(stream, trailers)
        self._flush()

    def reset(self, stream: Stream, code: Code) -> None:
        """End a call that is no call, or whose answer nobody takes."""
        self._calls.abort(stream)
        self._drop(stream, code)

    def close(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.close()

    # Time

    def check(self, now: float) -> None:
        """Do what is due; to be called about every second."""
        if self._transport is None:
            return
        if not self._prefaced:
            if now - self._opened > _PREFACE_SECONDS_MAX:
                self._transport.abort()
            return
        if self._leaving_from is None:
            if now >= self._old_from:
                self.leave()
        elif now - self._leaving_from > self._limits.leave_seconds_max:
            self._transport.abort()
        self._keep_alive(now)
        for stream in [one for one in self._streams.values() if not one.ended]:
            if now - stream.started > self._limits.request_seconds_max:
                self._calls.late(stream)
        for stream in self._out.stuck(now - self._limits.request_seconds_max):
            self.reset(stream, Code.CANCEL)
        self._flush()

    def leave(self) -> None:
        """Send the client to another connection; calls in progress, and those on their way to us, are answered."""
        if self._leaving_from is not None or self._transport is None:
            return
        self._leaving_from = self._loop.time()
        # What the client sends until it reads this is still taken: its answer to the ping says that it has.
        self._write(frames.goaway(STREAM_MASK, Code.NO_ERROR), frames.frame(Kind.PING, 0, 0, _LEAVE_PING))

    def _keep_alive(self, now: float) -> None:
        if self._transport is None:
            return
        if self._asked_from is not None:
            if now - self._asked_from > _KEEPALIVE_ANSWER_SECONDS:
                self._transport.abort()
        elif now - self._heard > _KEEPALIVE_SECONDS:
            self._asked_from = now
            self._write(frames.frame(Kind.PING, 0, 0, _KEEPALIVE_PING))

    # Frames

    def _read(self, data: bytes) -> bytes:
        """Act on all whole frames; return what follows them."""
        position, size = 0, len(data)
        if not self._prefaced:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ConnectionBroken(Code.PROTOCOL_ERROR, "this port speaks HTTP/2 only")
            if size < len(PREFACE):
                return data
            self._prefaced = True
            position = len(PREFACE)
            self._greet()
        while size - position >= _HEAD_SIZE:
            high, low, kind, flags, number = HEAD.unpack_from(data, position)
            length = high << 16 | low
            if length > _FRAME_SIZE_MAX:
                raise ConnectionBroken(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes is too large")
            start = position + _HEAD_SIZE
            position = start + length
            if position > size:
                self._awaited = _HEAD_SIZE + length
                return data[start - _HEAD_SIZE :]
            # A view keeps all that it is a part of, so it must be the larger part of it.
            if kind == Kind.DATA and length > _LARGE and 2 * length > size and self._continued is None:
                self._data(number & STREAM_MASK, flags, memoryview(data)[start:position])
            else:
                self._frame(kind, flags, number & STREAM_MASK, data[start:position])
        self._awaited = _HEAD_SIZE if self._prefaced else 0
        return data[position:]

    def _greet(self) -> None:
        """Tell what this side takes."""
        self._out.add(
            frames.settings(
                {
                    Setting.MAX_CONCURRENT_STREAMS: self._limits.streams_max,
                    Setting.INITIAL_WINDOW_SIZE: self._limits.stream_window,
                    Setting.MAX_FRAME_SIZE: _FRAME_SIZE_MAX,
                    Setting.MAX_HEADER_LIST_SIZE: HEADERS_SIZE_MAX,
                }
            ),
            frames.window_update(0, _WINDOW - frames.WINDOW_DEFAULT),
        )

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._continued is not None and (kind != Kind.CONTINUATION or number != self._continued[0]):
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "headers are interrupted by another frame")
        if kind == Kind.DATA:
            self._data(number, flags, payload)
            return
        if kind == Kind.HEADERS:
            self._header_block(number, flags, payload)
            return
        self._idle()
        act = self._other_frames.get(kind)
        if act is not None:  # unknown types are to be ignored
            act(number, flags, payload)

    def _idle(self) -> None:
        self._idle_frames += 1
        if self._idle_frames > _IDLE_FRAMES_MAX:
            raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, "too many frames that bring no call forward")

    def _priority(self, number: int, _: int, payload: bytes) -> None:
        if number == 0:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "a priority of no stream")
        if len(payload) != _PRIORITY_SIZE:
            raise ConnectionBroken(Code.FRAME_SIZE_ERROR, "a damaged priority")
        _check_priority(number, payload)

    def _goaway(self, number: int, *_: object) -> None:
        # Who leaves still gets its answers, and closes the connection then.
        if number:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "a stream cannot go away")

    def _push_promise(self, *_: object) -> None:
        raise ConnectionBroken(Code.PROTOCOL_ERROR, "a client promises nothing")

    def _header_block(self, number: int, flags: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, f"stream {number} is not a client's")
        block = frames.unpadded(flags, payload)
        if flags & PRIORITY_FLAG:
            _check_priority(number, block)
            block = block[_PRIORITY_SIZE:]
        if flags & END_HEADERS:
            self._begin(number, flags, block)
        elif len(block) > HEADERS_SIZE_MAX:
            raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, f"headers exceed {HEADERS_SIZE_MAX} bytes")
        else:
            self._continued = number, flags, bytearray(block)

    def _continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self._continued is None:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "a continuation of nothing")
        _, begun, block = self._continued
        block += payload
        if len(block) > HEADERS_SIZE_MAX:
            raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, f"headers exceed {HEADERS_SIZE_MAX} bytes")
        if flags & END_HEADERS:
            self._continued = None
            self._begin(number, begun, bytes(block))

    def _begin(self, number: int, flags: int, block: bytes) -> None:
        # Decoded in any case: the table of headers must be that of the client.
        headers = self._headers.decode(block)
        stream = self._streams.get(number)
        if stream is not None:
            self._trailers(stream, flags, headers)
            return
        if number <= self._last_stream or self._left:
            self._after_end(number, flags, Code.PROTOCOL_ERROR)
            return
        self._last_stream = number
        stream = Stream(self, number, self._out.stream_window, self._heard)
        stream.ended = bool(flags & END_STREAM)
        if len(self._streams) >= self._limits.streams_max:
            self._idle()
            self._drop(stream, Code.REFUSED_STREAM)
            return
        self._streams[number] = stream
        self._calls.begin(stream, headers)
        if stream.ended:
            self._end(stream)

    def _trailers(self, stream: Stream, flags: int, headers: Headers) -> None:
        if stream.ended:
            raise ConnectionBroken(Code.STREAM_CLOSED, f"headers of stream {stream.id} after its end")
        if not flags & END_STREAM or any(name.startswith(b":") for name, _ in headers):
            self.reset(stream, Code.PROTOCOL_ERROR)
            return
        self._end(stream)

    def _after_end(self, number: int, flags: int, code: Code) -> None:
        """Pass over what belongs to a stream that has ended, if the client cannot know that yet."""
        self._idle()
        if number not in self._passed_over and not self._left:
            raise ConnectionBroken(code, f"stream {number} has ended")
        if flags & END_STREAM:
            self._passed_over.pop(number, None)

    def _end(self, stream: Stream) -> None:
        stream.ended = True
        self._idle_frames = 0
        if stream.id in self._streams:
            self._calls.end(stream)

    def _data(self, number: int, flags: int, payload: bytes | memoryview) -> None:
        self._used += len(payload)
        if self._used > _WINDOW >> 1:
            self._out.add(frames.window_update(0, self._used))
            self._used = 0
        data = frames.unpadded(flags, payload)
        stream = self._streams.get(number)
        if stream is None:
            if number == 0 or (number > self._last_stream and not self._left):
                raise ConnectionBroken(Code.PROTOCOL_ERROR, f"data of stream {number}, which has not begun")
            self._after_end(number, flags, Code.STREAM_CLOSED)
            return
        if stream.ended:
            raise ConnectionBroken(Code.STREAM_CLOSED, f"data of stream {number} after its end")
        if data:
            self._calls.data(stream, data)
        elif not flags & END_STREAM:
            self._idle()
        if flags & END_STREAM:
            self._passed_over.pop(number, None)
            self._end(stream)

    def _reset(self, number: int, _: int, payload: bytes) -> None:
        if len(payload) != WORD.size or number == 0 or (number > self._last_stream and not self._left):
            raise ConnectionBroken(Code.PROTOCOL_ERROR, f"stream {number} cannot be reset")
        self._passed_over.pop(number, None)
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._out.forget(stream)
            self._calls.abort(stream)
            self._close_if_left()

    def _ping(self, number: int, flags: int, payload: bytes) -> None:
        if number or len(payload) != _PING_SIZE:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "a damaged ping")
        if not flags & ACK:
            self._out.add(frames.frame(Kind.PING, ACK, 0, payload))
        elif payload == _LEAVE_PING and self._leaving_from is not None and not self._left:
            self._left = True
            self._out.add(frames.goaway(self._last_stream, Code.NO_ERROR))
            self._close_if_left()

    def _settings(self, number: int, flags: int, payload: bytes) -> None:
        if number or len(payload) % SETTING.size or (flags & ACK and payload):
            raise ConnectionBroken(Code.FRAME_SIZE_ERROR, "damaged settings")
        if flags & ACK:
            return
        if len(payload) > _SETTINGS_MAX * SETTING.size:
            raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, f"more than {_SETTINGS_MAX} settings")
        window = self._out.stream_window
        for name, value in SETTING.iter_unpack(payload):
            if name == Setting.ENABLE_PUSH and value > 1:
                raise ConnectionBroken(Code.PROTOCOL_ERROR, f"whether to push is 0 or 1, not {value}")
            if name == Setting.INITIAL_WINDOW_SIZE:
                if value > WINDOW_MAX:
                    raise ConnectionBroken(Code.FLOW_CONTROL_ERROR, f"a window of {value} bytes is too large")
                window = value  # the last one holds: each changes all streams
            elif name == Setting.MAX_FRAME_SIZE:
                if not frames.FRAME_SIZE_DEFAULT <= value <= frames.FRAME_SIZE_MAX:
                    raise ConnectionBroken(Code.PROTOCOL_ERROR, f"frames of {value} bytes are not possible")
                self._out.frame_size = value
        self._resize_windows(window)
        self._out.add(frames.frame(Kind.SETTINGS, ACK, 0))
        self._out.pump_all()

    def _resize_windows(self, value: int) -> None:
        change = value - self._out.stream_window
        if not change:
            return
        self._out.stream_window = value
        for stream in list(self._streams.values()):
            stream.window += change

    def _window_update(self, number: int, _: int, payload: bytes) -> None:
        increment = WORD.unpack(payload)[0] & STREAM_MASK if len(payload) == WORD.size else 0
        if not increment:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "a window that does not grow")
        if number == 0:
            if not self._out.grow(increment):
                raise ConnectionBroken(Code.FLOW_CONTROL_ERROR, "a window that is too large")
            return
        stream = self._streams.get(number)
        if stream is None:
            if number > self._last_stream and not self._left:
                raise ConnectionBroken(Code.PROTOCOL_ERROR, f"a window of stream {number}, which has not begun")
            return  # it ended in the meantime
        stream.window += increment
        if stream.window > WINDOW_MAX:
            self.reset(stream, Code.FLOW_CONTROL_ERROR)
        else:
            self._out.pump(stream)

    def _finished(self, stream: Stream) -> None:
        if stream.ended:
            self._streams.pop(stream.id, None)
            self._close_if_left()
        else:
            # The answer is there before the request: the rest of it need not be sent.
            self._drop(stream, Code.NO_ERROR)

    def _drop(self, stream: Stream, code: Code) -> None:
        self._streams.pop(stream.id, None)
        self._out.forget(stream)
        if not stream.ended:
            if len(self._passed_over) >= _PASSED_OVER_MAX:
                del self._passed_over[next(iter(self._passed_over))]
            self._passed_over[stream.id] = None
        self._write(frames.reset(stream.id, code))
        self._close_if_left()

    def _close_if_left(self) -> None:
        if self._left and not self._streams:
            self._out.flush(self._transport)
            self.close()

    def _write(self, *parts: bytes) -> None:
        self._out.add(*parts)
        self._flush()

    def _flush(self) -> None:
        # While frames are read, what they give rise to is kept for one write.
        if not self._reading:
            self._out.flush(self._transport)
        if self._out.overfull and self._transport is not None:
            self._transport.abort()


def _check_priority(number: int, payload: bytes) -> None:
    """Raise ConnectionBroken for a stream that depends on itself. Nothing else about priorities matters here."""
    if len(payload) < _PRIORITY_SIZE or WORD.unpack_from(payload)[0] & STREAM_MASK == number:
        raise ConnectionBroken(Code.PROTOCOL_ERROR, f"stream {number} depends on itself")
