"""Sockets that listen."""

import contextlib
import socket


def listening_socket(host: str | None, port: int) -> socket.socket:
    """Return a listening socket; ``host`` None: IPv6 and IPv4 where the kernel has both. Raises OSError."""
    if host is None:
        with contextlib.suppress(OSError, ValueError):
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        return socket.create_server(("", port), backlog=1024)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)
