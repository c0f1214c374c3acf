"""Choose TCP ports that stay free until they are used."""

import http.client
import random
import socket
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

# Below the kernel's ephemeral range (32768 up) and the NodePorts (30000 up): a port found free here is not taken by
# an outgoing connection while its server restarts.
CANDIDATES = range(20000, 30000)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether nothing listens on ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(names: Iterable[str], *, preferred: dict[str, int] | None = None) -> dict[str, int]:
    """Return a free port for each name: its preferred one where that is free, else a random one."""
    chosen: dict[str, int] = {}
    for name in names:
        wanted = (preferred or {}).get(name)
        if wanted is not None and is_free(wanted, "0.0.0.0"):  # noqa: S104  # asks whether it is free on any address
            chosen[name] = wanted
        else:
            chosen[name] = _random_free(taken=set(chosen.values()))
    return chosen


def _random_free(*, taken: set[int]) -> int:
    while True:
        port = random.choice(CANDIDATES)  # noqa: S311  # not a secret
        if port not in taken and is_free(port):
            return port


def accepts(path: Path) -> bool:
    """Tell whether a server listens on the Unix socket at ``path``."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def answers_http(port: int, path: str) -> bool:
    """Tell whether a server on loopback answers a GET with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
