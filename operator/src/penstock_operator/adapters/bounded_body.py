"""Reads the body of an answer up to a size."""

import aiohttp


class BodyTooLarge(Exception):  # noqa: N818 - it says what the body is
    """The body has more bytes than are read of it."""


async def bounded_body(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Return the whole body, decompressed. Raises BodyTooLarge as soon as it is longer than ``bytes_max``."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(64 * 1024):
        size += len(part)
        if size > bytes_max:
            raise BodyTooLarge
        parts.append(part)
    return b"".join(parts)
