"""Which network addresses a model may come from."""

import asyncio
import socket

from penstock_contract.addresses import is_link_local_or_metadata, is_written_out, meant_by
from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed, unavailable


def check(host: str, address: str) -> None:
    """Raise FetchFailed if the address, which ``host`` stands for, is one that no model comes from."""
    ip = meant_by(address)
    if is_link_local_or_metadata(ip):
        raise FetchFailed(
            Reason.SOURCE_FORBIDDEN, f"{host} is {ip}, a link-local or metadata address, where no model may come from"
        )
    if ip.is_unspecified or ip.is_multicast:
        raise FetchFailed(Reason.SOURCE_FORBIDDEN, f"{host} is {ip}, which is not the address of a server")


def check_literal(host: str) -> None:
    """Check a host that is written as an address; a name is checked when it is resolved."""
    if is_written_out(host):
        check(host, host)


async def check_resolved(host: str, port: int) -> None:
    """Resolve a host and check all its addresses, for clients that resolve it themselves afterwards."""
    check_literal(host)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise unavailable(f"cannot resolve {host}: {error.strerror or error}") from error
    for *_, sockaddr in found:
        check(host, str(sockaddr[0]))
