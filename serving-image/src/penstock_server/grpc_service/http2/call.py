"""One call of gRPC on a stream: what its headers ask, and its messages."""

import asyncio
import re
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from penstock_contract.outputs import PAIR_HEADER
from penstock_server.grpc_service.http2.headers import Headers
from penstock_server.grpc_service.http2.stream import Stream
from penstock_server.pieces import Pieces

#: A flag whether the message is compressed, and its length.
PREFIX_SIZE = 5
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNIT_SECONDS: Mapping[bytes, float] = MappingProxyType(
    {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
)
#: What zlib calls the two formats that gRPC knows.
_WINDOW_BITS: Mapping[bytes, int] = MappingProxyType({b"gzip": 31, b"deflate": 15})
_IDENTITY = b"identity"
#: From here on, a view is cheaper than a copy.
_LARGE = 1 << 14

#: A large message may be a view of what was received.
Bytes = bytes | memoryview
#: A message to send, in parts where putting them together would cost a copy.
Message = bytes | tuple[Bytes, ...]
#: Answers a whole message; a coroutine where that takes longer. The number is the seconds that the client waits.
Unary = Callable[[Bytes, float | None], Message | Awaitable[Message]]
#: Answers a message of a call that was copied, or of the copy: besides, what tells the two from all others.
Paired = Callable[[Bytes, float | None, str], Awaitable[Message]]
#: Answers a call of several messages.
Streaming = Callable[["Conversation"], Awaitable[None]]


_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_NEEDED = (b":method", b":scheme", b":path")
#: Headers of HTTP/1 that say something about a connection.
_OF_CONNECTIONS = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_DIGITS_MAX = 18
_PAIR = PAIR_HEADER.encode()


class NotHttp(Exception):  # noqa: N818 - what it is
    """The headers are none that HTTP/2 allows."""


class Malformed(Exception):  # noqa: N818 - what it is
    """The call is not one of gRPC, or a message of it is damaged; the message says how."""


class TooLarge(Exception):  # noqa: N818 - what it is
    """A message is larger than messages may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the headers of a call say. ``http_status`` is one where they do not make a call of gRPC at all."""

    path: str
    http_status: int = 200
    seconds_max: float | None = None
    encoding: bytes = _IDENTITY
    content_length: int | None = None
    #: What the call and its copy have in common with no other call; empty where it was not copied.
    pair: str = ""


def asked(headers: Headers) -> Asked:
    """Return what headers ask; raise NotHttp where HTTP/2 forbids them."""
    found = _checked(headers)
    path = found[b":path"].decode("utf-8", "replace")
    size = found.get(b"content-length")
    if size is not None and not size.isdigit():
        raise NotHttp
    what = Asked(
        path=path,
        seconds_max=_seconds(found.get(b"grpc-timeout")),
        encoding=found.get(b"grpc-encoding", _IDENTITY),
        content_length=None if size is None else int(size[:_DIGITS_MAX]),
        pair=found.get(_PAIR, b"").decode("ascii", "replace"),
    )
    if found[b":method"] != b"POST":
        return replace(what, http_status=405)
    if not found.get(b"content-type", b"").startswith(b"application/grpc"):
        return replace(what, http_status=415)
    return what


def _checked(headers: Headers) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    regular = False
    for name, value in headers:
        if name.startswith(b":"):
            if regular or name in found or name not in _PSEUDO:
                raise NotHttp
        else:
            regular = True
            if name != name.lower() or name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
                raise NotHttp
        found[name] = value
    if not all(found.get(name) for name in _NEEDED):
        raise NotHttp
    return found


class Call:
    """The messages of a call as they arrive; each is checked against ``size_max`` before it is kept."""

    __slots__ = (
        "_end",
        "arrived",
        "asked",
        "begun",
        "conversation",
        "kept",
        "pieces",
        "size_max",
        "task",
        "unary",
    )

    def __init__(self, what: Asked, *, unary: Unary | None, size_max: int) -> None:
        self.asked = what
        self.unary = unary
        self.size_max = size_max
        self.pieces = Pieces()
        #: Where the next message ends, 0: its prefix has not arrived.
        self._end = 0
        #: What is counted among the bytes of unfinished requests.
        self.kept = 0
        #: Bytes of the request so far.
        self.arrived = 0
        #: Whether a part of the answer has been sent.
        self.begun = False
        self.task: asyncio.Task[None] | None = None
        self.conversation: Conversation | None = None

    def add(self, data: Bytes) -> None:
        """Keep more of the request; raise TooLarge as soon as it is known."""
        self.pieces.add(data)
        if self.pieces.size > PREFIX_SIZE + self.size_max or self._message_end() > PREFIX_SIZE + self.size_max:
            raise TooLarge

    def whole(self) -> Bytes:
        """Return the only message of a request that has ended; raise Malformed or TooLarge."""
        message = self.next()
        if message is None:
            raise Malformed("the request has no message, or only a part of one")
        if self.pieces.size:
            raise Malformed("the request has more than one message")
        return message

    def next(self) -> Bytes | None:
        """Take the next message off what has arrived, None where it is not there yet; raise Malformed or TooLarge."""
        end = self._message_end()
        if not end or self.pieces.size < end:
            return None
        data: Bytes = self.pieces.take()
        self._end = 0
        if len(data) > _LARGE:
            data = memoryview(data)
        message = data[PREFIX_SIZE:end]
        if len(data) > end:
            self.pieces.add(data[end:])
        flag = data[0]
        if flag == 0:
            return message
        if flag > 1:
            raise Malformed(f"the first byte of a message is 0 or 1, not {flag}")
        return self._decompressed(message)

    def _message_end(self) -> int:
        """Return where the next message ends, 0: that has not arrived."""
        if not self._end and self.pieces.size >= PREFIX_SIZE:
            self._end = PREFIX_SIZE + int.from_bytes(self.pieces.beginning(PREFIX_SIZE)[1:PREFIX_SIZE])
        return self._end

    def _decompressed(self, data: Bytes) -> bytes:
        bits = _WINDOW_BITS.get(self.asked.encoding)
        if bits is None:
            name = self.asked.encoding.decode("latin-1")
            raise Malformed(f"a message is compressed by {name!r}; this server knows gzip and deflate")
        decompressor = zlib.decompressobj(bits)
        try:
            message = decompressor.decompress(data, self.size_max + 1)
        except zlib.error as error:
            raise Malformed(f"a compressed message is damaged: {error}") from None
        if len(message) > self.size_max:
            raise TooLarge
        if not decompressor.eof or decompressor.unused_data:
            raise Malformed("a compressed message is cut off, or something follows it")
        return message


class Conversation:
    """A call of several messages, as its answerer sees it."""

    def __init__(self, stream: Stream, write: Callable[[Stream, bytes], None]) -> None:
        self._stream = stream
        self._write = write
        self._messages: deque[bytes] = deque()
        self._ended = False
        self._more = asyncio.Event()

    def feed(self, message: bytes) -> None:
        """Add a message of the client's."""
        self._messages.append(message)
        self._more.set()

    def end(self) -> None:
        """Say that the client has said all."""
        self._ended = True
        self._more.set()

    async def receive(self) -> bytes | None:
        """Return the client's next message, None after the last."""
        while not self._messages:
            if self._ended:
                return None
            self._more.clear()
            await self._more.wait()
        return self._messages.popleft()

    def send(self, message: bytes) -> None:
        """Send a message."""
        self._write(self._stream, message)


def _seconds(timeout: bytes | None) -> float | None:
    if timeout is None:
        return None
    found = _TIMEOUT.fullmatch(timeout)
    if found is None:
        raise Malformed("grpc-timeout must be a number of up to 8 digits and one of H, M, S, m, u, n")
    return int(found[1]) * _UNIT_SECONDS[found[2]]
