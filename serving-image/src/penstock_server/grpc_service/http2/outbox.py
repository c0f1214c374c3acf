"""What a connection sends, and when: as much as the windows of the other side allow."""

import asyncio
from collections.abc import Callable, Sequence

from penstock_server.grpc_service.http2 import frames
from penstock_server.grpc_service.http2.frames import END_HEADERS, END_STREAM, HEAD, WINDOW_MAX, Kind
from penstock_server.grpc_service.http2.stream import Stream
from penstock_server.unfinished_bodies import TooManyBodies, UnfinishedBodies

#: From here on, several buffers are cheaper than one that they are copied into.
_LARGE = 1 << 15


class Outbox:
    """Keeps what is to be sent until it is flushed; tells ``finished`` of streams whose answers are sent."""

    def __init__(self, finished: Callable[[Stream], None], untaken: UnfinishedBodies) -> None:
        self._finished = finished
        self._untaken = untaken
        #: Whether clients leave more here than there may be: then this connection should end.
        self.overfull = False
        self._parts: list[bytes | memoryview] = []
        #: Bytes of large answers among the parts.
        self._size = 0
        self._window = frames.WINDOW_DEFAULT
        self._blocked: dict[int, Stream] = {}
        self.stream_window = frames.WINDOW_DEFAULT
        self.frame_size = frames.FRAME_SIZE_DEFAULT

    def add(self, *parts: bytes) -> None:
        """Send frames that no window holds up."""
        self._parts += parts

    def respond(self, stream: Stream, head: bytes, data: bytes, trailers: bytes) -> None:
        """Send a whole answer: blocks of headers, and what is between them."""
        number, size = stream.id, len(data)
        if self._blocked or size > self.frame_size or size > self._window or size > stream.window:
            self.send(stream, head, data)
            self.finish(stream, trailers)
            return
        self._window -= size
        self._parts += (
            HEAD.pack(0, len(head), Kind.HEADERS, END_HEADERS, number),
            head,
            HEAD.pack(size >> 16, size & 0xFFFF, Kind.DATA, 0, number),
            data,
            HEAD.pack(0, len(trailers), Kind.HEADERS, END_HEADERS | END_STREAM, number),
            trailers,
        )
        self._finished(stream)

    def respond_in_parts(
        self, stream: Stream, head: bytes, parts: Sequence[bytes | memoryview], trailers: bytes
    ) -> None:
        """Send a whole large answer without putting it together first."""
        self._parts.append(frames.frame(Kind.HEADERS, END_HEADERS, stream.id, head))
        stream.outgoing.extend(map(memoryview, parts))
        stream.outgoing_bytes += sum(map(len, parts))
        self.finish(stream, trailers)

    def send(self, stream: Stream, head: bytes | None, data: bytes) -> None:
        """Send a part of an answer; its headers come before the first."""
        if head is not None:
            self._parts.append(frames.frame(Kind.HEADERS, END_HEADERS, stream.id, head))
        if data:
            stream.outgoing.append(memoryview(data))
            stream.outgoing_bytes += len(data)
        self.pump(stream)

    def finish(self, stream: Stream, trailers: bytes) -> None:
        """End an answer, when all of its parts are sent; empty trailers are none."""
        stream.trailers = trailers
        self.pump(stream)

    def forget(self, stream: Stream) -> None:
        """Send nothing more of it."""
        self._blocked.pop(stream.id, None)
        self._untaken.give_back(stream.kept)
        stream.kept = 0

    def grow(self, increment: int) -> bool:
        """Widen the window of the connection; return whether it may be that wide."""
        self._window += increment
        self.pump_all()
        return self._window <= WINDOW_MAX

    def stuck(self, since: float) -> list[Stream]:
        """Return the streams of which the client has taken nothing for so long."""
        return [stream for stream in self._blocked.values() if stream.moved < since]

    def pump_all(self) -> None:
        """Send what waits for a window, if there is one now."""
        for stream in list(self._blocked.values()):
            if self._window <= 0:
                return
            # A client may widen windows byte by byte: those that stay closed must cost next to nothing.
            if stream.window > 0:
                self.pump(stream)

    def pump(self, stream: Stream) -> None:
        """Send as much of the stream as both windows allow."""
        outgoing = stream.outgoing
        while outgoing:
            data = outgoing[0]
            size = min(len(data), self.frame_size, self._window, stream.window)
            if size <= 0:
                self._blocked[stream.id] = stream
                self._keep(stream)
                return
            self._parts += (HEAD.pack(size >> 16, size & 0xFFFF, Kind.DATA, 0, stream.id), data[:size])
            self._size += size
            self._window -= size
            stream.outgoing_bytes -= size
            stream.window -= size
            stream.moved = asyncio.get_running_loop().time()
            if size == len(data):
                outgoing.popleft()
            else:
                outgoing[0] = data[size:]
        self.forget(stream)
        trailers = stream.trailers
        if trailers is not None:
            kind, flags = (Kind.HEADERS, END_HEADERS | END_STREAM) if trailers else (Kind.DATA, END_STREAM)
            self._parts.append(frames.frame(kind, flags, stream.id, trailers))
            self._finished(stream)

    def _keep(self, stream: Stream) -> None:
        """Count what waits for a window."""
        more = stream.outgoing_bytes - stream.kept
        if more > 0:
            try:
                self._untaken.keep(more)
            except TooManyBodies:
                self.overfull = True
                return
        else:
            self._untaken.give_back(-more)
        stream.kept = stream.outgoing_bytes

    def flush(self, transport: asyncio.Transport | None) -> None:
        """Write what is ready, in one go."""
        if self._parts:
            parts, self._parts = self._parts, []
            size, self._size = self._size, 0
            if transport is None or transport.is_closing():
                return
            if size > _LARGE:
                transport.writelines(parts)
            else:
                transport.write(b"".join(parts))
