"""Frames of HTTP/2 (RFC 9113): their numbers, and how they are written."""

import struct
from enum import IntEnum
from typing import overload

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Length (8 and 16 bits), type, flags, stream.
HEAD = struct.Struct(">BHBBL")
#: Settings are a number and a value.
SETTING = struct.Struct(">HL")
WORD = struct.Struct(">L")
STREAM_MASK = 0x7FFFFFFF
WINDOW_MAX = 0x7FFFFFFF
#: Before the other side has said something else.
WINDOW_DEFAULT = 65535
FRAME_SIZE_DEFAULT = 16384
FRAME_SIZE_MAX = (1 << 24) - 1
TABLE_SIZE_DEFAULT = 4096

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20


class Kind(IntEnum):
    """Types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    """What one side tells the other about itself."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ConnectionBroken(Exception):  # noqa: N818 - what happened
    """The other side broke the protocol, so that nothing that follows can be trusted."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(kind: Kind, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame as it goes over the wire."""
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """Return the frame that tells settings."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(SETTING.pack(*one) for one in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """Return the frame that lets the other side send more; ``stream`` 0: on the whole connection."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, WORD.pack(increment))


def reset(stream: int, code: Code) -> bytes:
    """Return the frame that ends a stream."""
    return frame(Kind.RST_STREAM, 0, stream, WORD.pack(code))


def goaway(last_stream: int, code: Code, message: str = "") -> bytes:
    """Return the frame that ends a connection after ``last_stream``."""
    return frame(Kind.GOAWAY, 0, 0, WORD.pack(last_stream) + WORD.pack(code) + message.encode())


@overload
def unpadded(flags: int, payload: bytes) -> bytes: ...
@overload
def unpadded(flags: int, payload: bytes | memoryview) -> bytes | memoryview: ...
def unpadded(flags: int, payload: bytes | memoryview) -> bytes | memoryview:
    """Return the payload without its padding; raise ConnectionBroken where there is more padding than payload."""
    if not flags & PADDED:
        return payload
    padding = payload[0] if payload else 0
    if padding >= len(payload):
        raise ConnectionBroken(Code.PROTOCOL_ERROR, "a frame holds more padding than it is long")
    return payload[1 : len(payload) - padding]
