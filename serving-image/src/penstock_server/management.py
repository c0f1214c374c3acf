"""Probes, metrics and counts over HTTP, on a port of their own."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from aiohttp import web

from penstock_contract import outputs
from penstock_server import metrics as prometheus
from penstock_server.descriptions import NOT_READY
from penstock_server.http_inference import is_count
from penstock_server.http_server import (
    JSON_HEADERS,
    SERVER_HEADER,
    ErrorLog,
    error_reply,
    guarded,
    json_reply,
    server_options,
)
from penstock_server.inference import Answer
from penstock_server.lifecycle import Lifecycle, State
from penstock_server.metrics import Metrics
from penstock_server.outputs_ring import OutputsRing

_PATHS = ("/healthz", "/readyz", "/metrics", "/v1/profile", "/v1/profile/reference", outputs.PATH)


class TellProfile(Protocol):
    """Returns the answer of GET of a path below /v1/profile, and whether its body is compressed."""

    def __call__(self, *, query: str, accepts_gzip: bool) -> Awaitable[tuple[Answer, bool]]:
        """``query``: what stands behind the path. ``accepts_gzip``: whether the client can read a compressed body."""


class ManagementServer:
    """Probes, metrics and counts, on a port of their own that no router sends clients to."""

    def __init__(self, *, lifecycle: Lifecycle, metrics: Metrics, noted: OutputsRing) -> None:
        self._lifecycle = lifecycle
        self._noted = noted
        self._metrics = metrics
        self._profiles: dict[str, TellProfile] = {}

    def tell(self, profile: TellProfile, reference: TellProfile) -> None:
        """Answer GET /v1/profile and /v1/profile/reference from now on."""
        self._profiles = {"/v1/profile": profile, "/v1/profile/reference": reference}

    def web_server(self, log: ErrorLog) -> web.Server:
        """Return the server to run; needs a running event loop."""
        return web.Server(guarded(self._handle, log), **server_options(1024))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path not in _PATHS:
            return error_reply(404, f"there is nothing at {request.path!r}; try {', '.join(_PATHS)}")
        if request.method not in {"GET", "HEAD"}:
            return error_reply(405, f"{request.path} takes GET, not {request.method}", {"Allow": "GET, HEAD"})
        if request.path == "/metrics":
            headers = {"Content-Type": prometheus.CONTENT_TYPE, **SERVER_HEADER}
            return web.Response(body=self._metrics.exposition(), headers=headers)
        if request.path == outputs.PATH:
            return await self._outputs(request)
        if request.path.startswith("/v1/profile"):
            return await self._profile(request)
        if request.path == "/readyz" and not self._lifecycle.ready:
            return error_reply(503, NOT_READY[self._lifecycle.state])
        return json_reply({"status": "ok"})

    async def _outputs(self, request: web.BaseRequest) -> web.Response:
        after = request.query.get("after", "0")
        if not is_count(after):
            return error_reply(400, f"after must be the seq of an answer before, not {after[:40]!r}")
        noted = self._noted.take(int(after), request.query.get("boot", ""))
        return web.Response(body=await asyncio.to_thread(noted.body), headers=JSON_HEADERS)

    async def _profile(self, request: web.BaseRequest) -> web.Response:
        tell = self._profiles.get(request.path)
        if tell is None:
            return error_reply(503, NOT_READY[State.LOADING], {"Retry-After": "1"})
        accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
        answer, compressed = await tell(query=request.rel_url.raw_query_string, accepts_gzip=accepts_gzip)
        headers = {**JSON_HEADERS, "Vary": "Accept-Encoding"}
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(status=answer.status, body=answer.body, headers=headers)
