"""The one door to aiohttp: the protocol's calls and the management calls over HTTP."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from penstock_server import metrics as prometheus
from penstock_server import protocol, routes
from penstock_server.inference import Answer, Inference, refusal
from penstock_server.lifecycle import Lifecycle, State
from penstock_server.metrics import Metrics
from penstock_server.routes import Call, Route

SERVER_NAME = "penstock"
PLATFORM = "onnx_onnxv1"
BODY_BYTES_MAX = 32 * 1024 * 1024
BODY_SECONDS_MAX = 30.0
#: Longer than the router keeps an idle connection (30 s), so that it is never us who close one that it is about to use.
KEEPALIVE_SECONDS = 75.0
_AGE_JITTER = 0.1
#: What a client that has just connected needs to send its request, when the server is about to end.
_LEAVING_SECONDS = 1.0

_SERVER_HEADER = {"Server": SERVER_NAME}
_JSON = {"Content-Type": "application/json", **_SERVER_HEADER}
_NOT_READY = {
    State.LOADING: "the model is still loading",
    State.DRAINING: "the server is shutting down",
}

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ErrorLog(Protocol):
    """Where an error of ours goes that no client can do anything about."""

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the server says it serves."""

    model_name: str
    model_version: str
    server_version: str


class ModelServer:
    """The calls of Open Inference Protocol v2 for one model."""

    def __init__(
        self, *, identity: Identity, lifecycle: Lifecycle, metrics: Metrics, max_connection_age_seconds: float
    ) -> None:
        self._identity = identity
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._max_age_seconds = max_connection_age_seconds
        self._connections: _Connections | None = None
        self._inference: Inference | None = None

    def serve_with(self, inference: Inference) -> None:
        """Answer inference calls from now on; to be called before the lifecycle turns ready."""
        self._inference = inference

    def web_server(self, log: ErrorLog) -> web.Server:
        """Return the server to run; needs a running event loop."""
        self._connections = _Connections(
            _guarded(self._handle, log), max_age_seconds=self._max_age_seconds, **_server_options(BODY_BYTES_MAX)
        )
        return self._connections

    async def finished(self, seconds: float) -> None:
        """Wait, when nobody new can connect any more, for those who are connected to be answered and to go."""
        if self._connections is not None:
            await self._connections.finished(seconds)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._respond(request)
        if self._lifecycle.draining or (self._connections is not None and self._connections.is_old(request.protocol)):
            # The client opens its next connection to a pod that its service has now.
            response.force_close()
        return response

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        route = routes.find(request.rel_url.raw_path)
        if route is None:
            hint = f"inference is POST /v2/models/{self._identity.model_name}/infer"
            return _error(404, f"there is nothing at {request.path!r}; {hint}")
        if request.method not in route.call.methods:
            allowed = ", ".join(route.call.methods)
            return _error(405, f"{route.call.value[1]} takes {allowed}, not {request.method}", {"Allow": allowed})
        if route.call is Call.INFER:
            return await self._infer(request, route)
        unknown = self._unknown(route)
        if unknown is not None:
            return _error(404, unknown)
        return self._describe(route.call)

    async def _infer(self, request: web.BaseRequest, route: Route) -> web.Response:
        started = time.perf_counter()
        answer = await self._infer_answer(request, route)
        self._metrics.answered(answer.status, time.perf_counter() - started)
        headers = _JSON
        if answer.retry_after_seconds is not None:
            headers = {**_JSON, "Retry-After": str(answer.retry_after_seconds)}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def _infer_answer(self, request: web.BaseRequest, route: Route) -> Answer:
        unknown = self._unknown(route)
        if unknown is not None:
            self._metrics.rejected("unknown_model")
            return refusal(404, unknown)
        # A server that drains still answers: clients learn later than it does that they should leave.
        if self._inference is None or self._lifecycle.state is State.LOADING:
            self._metrics.rejected("not_ready")
            return refusal(503, _NOT_READY[State.LOADING], retry_after_seconds=1)
        if "Inference-Header-Content-Length" in request.headers:
            self._metrics.rejected("bad_request")
            return refusal(400, "this server does not take binary tensor data; send JSON without that header")
        body = await _body(request)
        if isinstance(body, Answer):
            self._metrics.rejected("too_large" if body.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "bad_body")
            return body
        return await self._inference.answer(body)

    def _unknown(self, route: Route) -> str | None:
        identity = self._identity
        if route.model is not None and route.model != identity.model_name:
            return f"unknown model {route.model!r}; this server serves {identity.model_name!r}"
        if route.version is not None and route.version != identity.model_version:
            serves = f"version {identity.model_version!r}" if identity.model_version else "no particular version"
            return f"unknown version {route.version!r} of {identity.model_name!r}; this server serves {serves}"
        return None

    def _describe(self, call: Call) -> web.Response:
        identity, ready = self._identity, self._lifecycle.ready
        match call:
            case Call.SERVER_METADATA:
                return _json({"name": SERVER_NAME, "version": identity.server_version, "extensions": []})
            case Call.SERVER_LIVE:
                return _json({"live": True})
            case Call.SERVER_READY:
                return self._readiness({"ready": ready, "live": True})
            case Call.MODEL_LIST:
                return _json({"models": [identity.model_name]})
            case Call.MODEL_READY:
                return self._readiness({"name": identity.model_name, "ready": ready})
            case _:
                return self._model_metadata()

    def _readiness(self, body: dict[str, Any]) -> web.Response:
        if self._lifecycle.ready:
            return _json(body)
        return _json({**body, "error": _NOT_READY[self._lifecycle.state]}, status=503)

    def _model_metadata(self) -> web.Response:
        if self._inference is None:
            return _error(503, _NOT_READY[State.LOADING], {"Retry-After": "1"})
        identity, session = self._identity, self._inference.session
        body: dict[str, Any] = {"name": identity.model_name}
        if identity.model_version:
            body["versions"] = [identity.model_version]
        body["platform"] = PLATFORM
        body["inputs"] = [spec.to_wire() for spec in session.inputs]
        body["outputs"] = [spec.to_wire() for spec in session.outputs]
        return _json(body)


class ManagementServer:
    """Probes and metrics, on a port of their own that no router sends clients to."""

    def __init__(self, *, lifecycle: Lifecycle, metrics: Metrics) -> None:
        self._lifecycle = lifecycle
        self._metrics = metrics

    def web_server(self, log: ErrorLog) -> web.Server:
        """Return the server to run; needs a running event loop."""
        return web.Server(_guarded(self._handle, log), **_server_options(1024))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path not in {"/healthz", "/readyz", "/metrics"}:
            return _error(404, f"there is nothing at {request.path!r}; try /healthz, /readyz or /metrics")
        if request.method not in {"GET", "HEAD"}:
            return _error(405, f"{request.path} takes GET, not {request.method}", {"Allow": "GET, HEAD"})
        if request.path == "/metrics":
            headers = {"Content-Type": prometheus.CONTENT_TYPE, **_SERVER_HEADER}
            return web.Response(body=self._metrics.exposition(), headers=headers)
        if request.path == "/readyz" and not self._lifecycle.ready:
            return _error(503, _NOT_READY[self._lifecycle.state])
        return _json({"status": "ok"})


class _Connections(web.Server):
    """Knows its connections: which are old, whether a request is in progress, and when the last one has gone."""

    def __init__(self, handler: Handler, *, max_age_seconds: float, **options: Any) -> None:
        super().__init__(self._counted, **options)
        self._handler = handler
        self._max_age_seconds = max_age_seconds
        self._old_from: dict[Any, float] = {}
        self._in_progress = 0
        self._gone = asyncio.Event()
        self._idle = asyncio.Event()
        self._gone.set()
        self._idle.set()

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        # Jitter, so that connections that were opened together do not all come back together.
        jitter = random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)  # noqa: S311 - not a secret
        self._old_from[handler] = time.monotonic() + self._max_age_seconds * jitter
        self._gone.clear()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self._old_from.pop(handler, None)
        if not self._old_from:
            self._gone.set()
        super().connection_lost(handler, exc)

    def is_old(self, handler: Any) -> bool:
        return time.monotonic() >= self._old_from.get(handler, 0.0)

    async def finished(self, seconds: float) -> None:
        """Wait for the clients to go, a moment for those between requests and ``seconds`` for those in one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), min(_LEAVING_SECONDS, seconds))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    async def _counted(self, request: web.BaseRequest) -> web.StreamResponse:
        self._in_progress += 1
        self._idle.clear()
        try:
            return await self._handler(request)
        finally:
            self._in_progress -= 1
            if self._in_progress == 0:
                self._idle.set()


def _server_options(body_bytes_max: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()

    def make_request(message: Any, payload: Any, protocol_: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol_, writer, task, loop, client_max_size=body_bytes_max)

    return {"request_factory": make_request, "keepalive_timeout": KEEPALIVE_SECONDS, "access_log": None}


def _guarded(handler: Handler, log: ErrorLog) -> Handler:
    """Return the handler with its last resort: a JSON 500 and a line in the log for a mistake of ours."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:
            raise  # nobody is left to answer
        except Exception as error:  # noqa: BLE001 - the top of the request loop
            log("internal-error", path=request.path, error=repr(error))
            return _error(500, "internal error; the server's log says more")

    return handle


async def _body(request: web.BaseRequest) -> bytes | Answer:
    """Return the body, or the refusal where it is too large, too slow or damaged."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written so far is not part of the answer that follows.
        request.writer.output_size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return refusal(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
    except TimeoutError:
        return refusal(408, f"the body did not arrive within {BODY_SECONDS_MAX:g} s")
    except (web.RequestPayloadError, HttpProcessingError) as error:
        return refusal(400, f"the body cannot be read: {error}")


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), headers=_JSON)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=protocol.encode_error(message), headers={**_JSON, **(headers or {})})
