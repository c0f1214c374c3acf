"""Which network addresses nothing that people may name leads to, for whoever fetches or sends."""

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Link-local networks hold the metadata services of clouds, which hand out the node's credentials.
_REFUSED = tuple(ipaddress.ip_network(one) for one in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_written_out(host: str) -> bool:
    """Return whether a host is an address and not a name, with or without a zone.

    >>> is_written_out("10.0.0.1"), is_written_out("fe80::1%eth0"), is_written_out("models.example.com")
    (True, True, False)
    """
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def meant_by(address: str) -> IPAddress:
    """Return what a written address leads to: without its zone, and the IPv4 address that an IPv6 address carries.

    Raises ValueError for what is no address.

    >>> meant_by("64:ff9b::a9fe:a9fe"), meant_by("::ffff:10.0.0.1")
    (IPv4Address('169.254.169.254'), IPv4Address('10.0.0.1'))
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def is_link_local_or_metadata(ip: IPAddress) -> bool:
    """Return whether an address is on the link only, or a cloud's metadata service."""
    return any(ip in network for network in _REFUSED if network.version == ip.version)
