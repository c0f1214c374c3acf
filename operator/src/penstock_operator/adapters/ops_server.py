"""Serves /healthz, /readyz and /metrics from threads, so that a blocked event loop shows."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_LOG = logging.getLogger(__name__)
_BLOCKED_SECONDS = 20.0
_CONNECTIONS_MAX = 16


class Heartbeat:
    """Tells whether the event loop still turns. ``beat`` is called by the loop, ``age`` by anybody."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """The loop turns."""
        self._last = self._clock()

    def age(self) -> float:
        """Return the seconds since the last beat."""
        return self._clock() - self._last


class OpsServer:
    """The port for kubelet and Prometheus. ``ready`` returns None, or why not."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        registry: CollectorRegistry,
        heartbeat: Heartbeat,
        ready: Callable[[], str | None],
    ) -> None:
        routes: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/healthz": lambda: _verdict(_blocked(heartbeat)),
            "/readyz": lambda: _verdict(_blocked(heartbeat) or ready()),
            "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry)),
        }
        self._server = _Server((host, port), type("_BoundHandler", (_Handler,), {"routes": routes}))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, name="ops", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port; takes up to half a second. What is being answered ends with the process."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _blocked(heartbeat: Heartbeat) -> str | None:
    age = heartbeat.age()
    return f"the event loop has been blocked for {age:.0f} s" if age > _BLOCKED_SECONDS else None


def _verdict(trouble: str | None) -> tuple[int, str, bytes]:
    return (503 if trouble else 200, "text/plain; charset=utf-8", f"{trouble or 'ok'}\n".encode())


class _Server(ThreadingHTTPServer):
    """Answers each connection in a thread; more connections than a few are closed at once."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._slots = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        _LOG.debug("a connection to the ops port broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request per connection, five seconds at most."""

    timeout = 5
    server_version = "penstock"
    sys_version = ""
    routes: ClassVar[dict[str, Callable[[], tuple[int, str, bytes]]]] = {}

    def do_GET(self) -> None:
        route = self.routes.get(self.path.partition("?")[0])
        try:
            status, content_type, body = route() if route else (404, "text/plain; charset=utf-8", b"not here\n")
        except Exception:  # noqa: BLE001 - a page that fails must say so, here and in the log
            _LOG.exception("%s cannot be shown", self.path)
            status, content_type, body = 500, "text/plain; charset=utf-8", b"this page failed; the log says why\n"
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the standard library
        """Probes are not news."""
