"""One gRPC call at a time over raw HTTP/2: just enough for a load client that costs the client next to nothing."""

import struct
from collections.abc import Callable

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 4, 5
_WINDOW_MAX = 2**31 - 1
_WINDOW_DEFAULT = 65_535
_HEAD_BYTES = 9
#: RFC 7541, appendix A: ":method: POST" and ":scheme: http".
_POST, _HTTP = 0x83, 0x86


class CallFailed(Exception):  # noqa: N818
    """The server did not answer the call with a message."""


class Http2Calls:
    """The client's side of one connection. ``write`` takes bytes for the socket, in order."""

    def __init__(self, *, path: str, message: bytes, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._body = b"\0" + struct.pack(">I", len(message)) + message
        self._first_headers, self._later_headers = _header_blocks(path)
        self._headers = self._first_headers
        self._stream = -1
        self._unsent = memoryview(b"")
        self._peer_stream_window = _WINDOW_DEFAULT
        self._connection_window = _WINDOW_DEFAULT
        self._stream_window = _WINDOW_DEFAULT
        self._frame_bytes_max = 16_384
        self._received = 0
        self._buffer = b""
        self._message: list[bytes] = []
        self.leaving = False
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _WINDOW_MAX)
        opening = frame(_SETTINGS, 0, 0, settings)
        window = frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW_MAX - _WINDOW_DEFAULT))
        write(_PREFACE + opening + window)

    def call(self) -> None:
        """Begin the next call, on a stream of its own."""
        self._stream += 2
        self._message = []
        self._stream_window = self._peer_stream_window
        headers = frame(_HEADERS, _END_HEADERS, self._stream, self._headers)
        self._headers = self._later_headers
        self._unsent = memoryview(self._body)
        self._send_body(headers)

    def feed(self, data: bytes) -> bytes | None:
        """Take what the socket brought; return the answer's message once it is complete. Raise CallFailed."""
        buffer = self._buffer + data if self._buffer else data
        answer, at = None, 0
        while len(buffer) - at >= _HEAD_BYTES:
            length = int.from_bytes(buffer[at : at + 3], "big")
            end = at + _HEAD_BYTES + length
            if len(buffer) < end:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & _WINDOW_MAX
            done = self._frame(kind, flags, stream, buffer[at + _HEAD_BYTES : end])
            answer = done if done is not None else answer
            at = end
        self._buffer = buffer[at:]
        return answer

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes | None:
        if kind == _DATA:
            self._message.append(payload)
            self._count(len(payload))
        elif kind == _HEADERS and stream == self._stream and flags & _END_STREAM:
            return self._answer(payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._settings(payload)
        elif kind == _PING and not flags & _ACK:
            self._write(frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE:
            self._more_window(stream, int.from_bytes(payload, "big"))
        elif kind == _GOAWAY:
            self.leaving = True
        elif kind == _RESET and stream == self._stream:
            raise CallFailed(f"the server reset the stream with code {int.from_bytes(payload, 'big')}")
        return None

    def _answer(self, trailers: bytes) -> bytes:
        whole = b"".join(self._message)
        if not whole:
            # The trailers hold the status and its message, packed, and often readable all the same.
            raise CallFailed(f"the server ended the call without a message: an error status, in {trailers[:300]!r}")
        return whole[5:]

    def _count(self, received: int) -> None:
        self._received += received
        if self._received > _WINDOW_MAX // 2:
            self._write(frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
            self._received = 0

    def _settings(self, payload: bytes) -> None:
        for identifier, value in struct.iter_unpack(">HI", payload):
            if identifier == _INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._peer_stream_window
                self._peer_stream_window = value
            elif identifier == _MAX_FRAME_SIZE:
                self._frame_bytes_max = value
        self._write(frame(_SETTINGS, _ACK, 0, b""))
        self._send_body(b"")

    def _more_window(self, stream: int, increment: int) -> None:
        if stream == 0:
            self._connection_window += increment
        elif stream == self._stream:
            self._stream_window += increment
        self._send_body(b"")

    def _send_body(self, ahead: bytes) -> None:
        """Write ``ahead`` and as much of the body as the server's windows allow."""
        pieces = [ahead] if ahead else []
        while self._unsent:
            size = min(len(self._unsent), self._frame_bytes_max, self._connection_window, self._stream_window)
            if size <= 0:
                break
            flags = _END_STREAM if size == len(self._unsent) else 0
            pieces.append(frame(_DATA, flags, self._stream, bytes(self._unsent[:size])))
            self._unsent = self._unsent[size:]
            self._connection_window -= size
            self._stream_window -= size
        if pieces:
            self._write(b"".join(pieces))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _header_blocks(path: str) -> tuple[bytes, bytes]:
    """Return the header block of the first call, which fills the server's table, and that of all later ones."""
    first = bytearray((_POST, _HTTP))
    for name_index, name, value in (
        (4, b"", path.encode()),
        (1, b"", b"localhost"),
        (0, b"te", b"trailers"),
        (31, b"", b"application/grpc"),
    ):
        first.append(0x40 | name_index)
        if not name_index:
            first += bytes((len(name),)) + name
        first += bytes((len(value),)) + value
    # The table's newest entry is 62, after the 61 static ones.
    later = bytes((_POST, _HTTP, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62))
    return bytes(first), later
