"""Clients that take their time: each in a thread of its own, all at once, and what became of them."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.conformance.exchange import Target

PATIENCE_SECONDS = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """After how many seconds the server last did something, be it to answer or to go, and what it had said."""

    seconds: float
    received: bytes


class SlowClients:
    """Connections that never finish a request."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._endings: dict[str, Ending] = {}
        head = f"POST {target.path('infer')} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
        good = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        behaviours: dict[str, Iterator[bytes]] = {
            "says nothing": iter([]),
            "stops in its headers": iter([b"GET /v2 HTTP/1.1\r\nHost: x\r\n"]),
            "stops in its headers after a pause": iter([b"", b"GET /v2 HTTP/1.1\r\nHost: x\r\n"]),
            "sends a byte of its headers each second": iter(
                bytes([one]) for one in b"GET /v2 HTTP/1.1\r\n" + b"X: y\r\n" * 50
            ),
            "stops in the headers of its second request": iter([good, b"GET /v2"]),
            "stops before its body": iter([head]),
            "stops in its body": iter([head, b'{"inputs"']),
            "sends a byte of its body each second": iter([head, *([b" "] * 90)]),
        }
        self._threads = {
            name: threading.Thread(target=self._behave, args=(name, parts), daemon=True)
            for name, parts in behaviours.items()
        }
        for thread in self._threads.values():
            thread.start()

    def ending(self, name: str) -> Ending:
        """Wait for the end of one of them."""
        self._threads[name].join(PATIENCE_SECONDS)
        assert name in self._endings, f"after {PATIENCE_SECONDS:g} s the connection is still there"
        return self._endings[name]

    def _behave(self, name: str, parts: Iterator[bytes]) -> None:
        began = time.monotonic()
        received, last = b"", 0.0
        with socket.create_connection((self._target.host, self._target.port), timeout=1) as plain:
            while time.monotonic() - began < PATIENCE_SECONDS:
                try:
                    plain.sendall(next(parts, b""))
                    part = plain.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    part = b""
                if part or not received:
                    last = time.monotonic() - began
                received += part
                if not part:
                    self._endings[name] = Ending(seconds=last, received=received)
                    return
