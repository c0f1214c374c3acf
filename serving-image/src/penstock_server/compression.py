"""Compressed answers, for clients that ask for them."""

import asyncio
import zlib

#: A smaller answer is sent sooner than it is compressed.
COMPRESSED_BYTES_MIN = 16 * 1024
#: The fastest: an answer is compressed once and read once.
_LEVEL = 1
_WINDOWS = {"gzip": 31, "deflate": 15}


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


def _is_zero(parameters: str) -> bool:
    name, _, value = parameters.strip().partition("=")
    return name.strip() == "q" and not value.strip(" 0.")
