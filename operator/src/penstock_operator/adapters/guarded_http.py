"""HTTP to addresses that people choose: never to where clouds and this process keep their secrets, no redirects."""

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from penstock_contract.addresses import is_link_local_or_metadata, is_written_out, meant_by


class AddressRefused(OSError):  # noqa: N818 - it is an answer to a person; an OSError, so that aiohttp passes it on
    """The address is one that nothing is sent to; the message says why."""


def guarded_session(*, loopback: bool = False) -> aiohttp.ClientSession:
    """Return a session that connects to checked addresses only and keeps nothing between requests.

    ``loopback`` admits this machine itself, for tests. Addresses that are written out in a URL are not resolved: check
    those with ``check_host`` before.
    """
    connector = aiohttp.TCPConnector(resolver=_CheckedResolver(loopback=loopback), limit=32, ttl_dns_cache=10)
    # No proxy of the environment: it would resolve names itself.
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


def check_host(host: str, *, loopback: bool = False) -> None:
    """Raise AddressRefused where a host is written as an address that nothing is sent to."""
    if is_written_out(host):
        _check(host, host, loopback=loopback)


def _check(host: str, address: str, *, loopback: bool) -> None:
    ip = meant_by(address)
    if is_link_local_or_metadata(ip):
        raise AddressRefused(f"{host} is {ip}, a link-local or metadata address")
    if ip.is_unspecified or ip.is_multicast or (ip.is_loopback and not loopback):
        raise AddressRefused(f"{host} is {ip}, which is not the address of a server elsewhere")


class _CheckedResolver(AbstractResolver):
    """Resolves names for aiohttp, which then connects to exactly the addresses that were checked."""

    def __init__(self, *, loopback: bool) -> None:
        self._resolver = ThreadedResolver()
        self._loopback = loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name; raise AddressRefused if one of them is refused."""
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            _check(host, one["host"], loopback=self._loopback)
        return found

    async def close(self) -> None:
        """Release what the resolver holds."""
        await self._resolver.close()
