"""Compressed bodies: requests of clients that send them, answers for clients that ask for them."""

import asyncio
import zlib

#: A smaller answer is sent sooner than it is compressed.
COMPRESSED_BYTES_MIN = 16 * 1024
#: The fastest: an answer is compressed once and read once.
_LEVEL = 1
_WINDOWS = {"gzip": 31, "deflate": 15}
CODINGS = frozenset(_WINDOWS)
#: Some clients send deflate without the header and the checksum that belong to it.
_BARE_WINDOW = -15
_ZLIB = 8
#: Decompressed so much at a time, into what is given back at once where it is not needed.
_CHUNK_BYTES = 1 << 20


class Damaged(ValueError):  # noqa: N818 - what is wrong with the body
    """The body is not what its Content-Encoding says."""


class TooLarge(ValueError):  # noqa: N818 - what is wrong with the body
    """The body is larger than it may be when it is decompressed."""


def wanted(accepted: str) -> str:
    """Return the encoding to use for a client that accepts these, empty: none."""
    offered = {}
    for part in accepted.lower().split(","):
        name, _, parameters = part.partition(";")
        offered[name.strip()] = not _is_zero(parameters)
    for name in _WINDOWS:
        if offered.get(name, False):
            return name
    return ""


async def compress(body: bytes, encoding: str) -> bytes:
    """Return the body in an encoding that ``wanted`` has chosen, made in a thread."""
    return await asyncio.to_thread(zlib.compress, body, _LEVEL, _WINDOWS[encoding])


async def decompress(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """Return the body as it was, made in a thread and never more of it than allowed; raise Damaged or TooLarge."""
    return await asyncio.to_thread(_decompress, body, encoding, bytes_max)


def _decompress(body: bytes, encoding: str, bytes_max: int) -> bytes:
    bare = encoding == "deflate" and body[:1] and body[0] & 0x0F != _ZLIB
    decompressor = zlib.decompressobj(_BARE_WINDOW if bare else _WINDOWS[encoding])
    parts: list[bytes] = []
    size = 0
    try:
        while not decompressor.eof:
            part = decompressor.decompress(body, _CHUNK_BYTES)
            body = decompressor.unconsumed_tail
            size += len(part)
            if size > bytes_max:
                raise TooLarge
            if not part and not body:
                break
            parts.append(part)
    except zlib.error as error:
        raise Damaged(f"it is not {encoding}: {error}") from None
    if not decompressor.eof:
        raise Damaged(f"it is {encoding} that is cut off")
    if decompressor.unused_data:
        raise Damaged(f"something follows the end of its {encoding}")
    return b"".join(parts)


def _is_zero(parameters: str) -> bool:
    name, _, value = parameters.strip().partition("=")
    return name.strip() == "q" and not value.strip(" 0.")
