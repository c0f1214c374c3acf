"""The resolver of names for aiohttp, which lets allowed addresses through only."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from penstock_server.fetch import addresses


class CheckedResolver(AbstractResolver):
    """Resolves names for aiohttp, which then connects to exactly the addresses that were checked."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name; raise FetchFailed if one of them is refused."""
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            addresses.check(host, one["host"])
        return found

    async def close(self) -> None:
        """Release what the resolver holds."""
        await self._resolver.close()
