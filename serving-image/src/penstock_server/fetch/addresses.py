"""Which network addresses a model may come from."""

import asyncio
import ipaddress
import socket

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed, unavailable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Link-local networks hold the metadata services of clouds, which hand out the node's credentials.
_REFUSED = tuple(ipaddress.ip_network(one) for one in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def check(host: str, address: str) -> None:
    """Raise FetchFailed if the address, which ``host`` stands for, is one that no model comes from."""
    ip = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    if any(ip in network for network in _REFUSED if network.version == ip.version):
        raise FetchFailed(
            Reason.SOURCE_FORBIDDEN, f"{host} is {ip}, a link-local or metadata address, where no model may come from"
        )
    if ip.is_unspecified or ip.is_multicast:
        raise FetchFailed(Reason.SOURCE_FORBIDDEN, f"{host} is {ip}, which is not the address of a server")


def check_literal(host: str) -> None:
    """Check a host that is written as an address; a name is checked when it is resolved."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return
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


def _unwrapped(ip: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv6 address carries, where it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip
