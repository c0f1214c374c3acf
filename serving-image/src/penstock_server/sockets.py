"""Sockets that listen, and how many clients they take."""

import asyncio
import contextlib
import os
import socket
from typing import cast

#: Of each port. A connection takes some ten kilobytes, whatever it says; more of them than this nobody means well.
CONNECTIONS_MAX = 8192


class TurnedAway(asyncio.Protocol):
    """A client for whom there is no room: cut off at once, so that it tries another pod."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Cut it off."""
        # uvloop's transports are none of asyncio's classes.
        cast("asyncio.Transport", transport).abort()


def listening_socket(host: str | None, port: int) -> socket.socket:
    """Return a listening socket; ``host`` None: IPv6 and IPv4 where the kernel has both. Raises OSError."""
    if host is None:
        with contextlib.suppress(OSError, ValueError):
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        return socket.create_server(("", port), backlog=1024)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def why(error: OSError) -> str:
    """Return why nobody can listen, without the address that Python repeats."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
