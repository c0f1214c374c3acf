"""Probes and metrics over HTTP, on a port of their own."""

from aiohttp import web

from penstock_server import metrics as prometheus
from penstock_server.http_server import (
    NOT_READY,
    SERVER_HEADER,
    ErrorLog,
    error_reply,
    guarded,
    json_reply,
    server_options,
)
from penstock_server.lifecycle import Lifecycle
from penstock_server.metrics import Metrics


class ManagementServer:
    """Probes and metrics, on a port of their own that no router sends clients to."""

    def __init__(self, *, lifecycle: Lifecycle, metrics: Metrics) -> None:
        self._lifecycle = lifecycle
        self._metrics = metrics

    def web_server(self, log: ErrorLog) -> web.Server:
        """Return the server to run; needs a running event loop."""
        return web.Server(guarded(self._handle, log), **server_options(1024))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path not in {"/healthz", "/readyz", "/metrics"}:
            return error_reply(404, f"there is nothing at {request.path!r}; try /healthz, /readyz or /metrics")
        if request.method not in {"GET", "HEAD"}:
            return error_reply(405, f"{request.path} takes GET, not {request.method}", {"Allow": "GET, HEAD"})
        if request.path == "/metrics":
            headers = {"Content-Type": prometheus.CONTENT_TYPE, **SERVER_HEADER}
            return web.Response(body=self._metrics.exposition(), headers=headers)
        if request.path == "/readyz" and not self._lifecycle.ready:
            return error_reply(503, NOT_READY[self._lifecycle.state])
        return json_reply({"status": "ok"})
