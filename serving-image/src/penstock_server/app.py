"""The protocol's calls over HTTP."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from penstock_server import routes
from penstock_server.connections import Connections
from penstock_server.http_feedback import HttpFeedback
from penstock_server.http_inference import BODY_BYTES_MAX, HttpInference
from penstock_server.http_server import (
    NOT_READY,
    SERVER_NAME,
    ErrorLog,
    error_reply,
    guarded,
    json_reply,
    server_options,
)
from penstock_server.inference import Inference
from penstock_server.lifecycle import Lifecycle, State
from penstock_server.metrics import Metrics
from penstock_server.routes import Call, Route

PLATFORM = "onnx_onnxv1"


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
        self._max_age_seconds = max_connection_age_seconds
        self._infer = HttpInference(unknown=self._unknown, lifecycle=lifecycle, metrics=metrics)
        self.feedback = HttpFeedback()
        self._connections: Connections | None = None
        self._inference: Inference | None = None

    def serve_with(self, inference: Inference) -> None:
        """Answer inference calls from now on; to be called before the lifecycle turns ready."""
        self._inference = inference
        self._infer.serve_with(inference)

    def web_server(self, log: ErrorLog) -> web.Server:
        """Return the server to run; needs a running event loop."""
        self._infer.log_to(log)
        self._connections = Connections(
            guarded(self._handle, log),
            exchange=self._infer,
            draining=lambda: self._lifecycle.draining,
            max_age_seconds=self._max_age_seconds,
            **server_options(BODY_BYTES_MAX),
        )
        return self._connections

    async def finished(self, seconds: float) -> None:
        """Wait, when nobody new can connect any more, for those who are connected to be answered and to go."""
        if self._connections is not None:
            await self._connections.finished(seconds)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._respond(request)
        if self._connections is not None and self._connections.leaving(request.protocol):
            # The client opens its next connection to a pod that its service has now.
            response.force_close()
        return response

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        route = routes.find(request.rel_url.raw_path)
        if route is None and self.feedback.names(request.path):
            return await self.feedback.respond(request)
        if route is None:
            hint = f"inference is POST /v2/models/{self._identity.model_name}/infer"
            return error_reply(404, f"there is nothing at {request.path!r}; {hint}")
        if request.method not in route.call.methods:
            allowed = ", ".join(route.call.methods)
            return error_reply(405, f"{route.call.value[1]} takes {allowed}, not {request.method}", {"Allow": allowed})
        if route.call is Call.INFER:
            return await self._infer.respond(request, route)
        unknown = self._unknown(route)
        if unknown is not None:
            return error_reply(404, unknown)
        return self._describe(route.call)

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
                return json_reply({"name": SERVER_NAME, "version": identity.server_version, "extensions": []})
            case Call.SERVER_LIVE:
                return json_reply({"live": True})
            case Call.SERVER_READY:
                return self._readiness({"ready": ready, "live": True})
            case Call.MODEL_LIST:
                return json_reply({"models": [identity.model_name]})
            case Call.MODEL_READY:
                return self._readiness({"name": identity.model_name, "ready": ready})
            case _:
                return self._model_metadata()

    def _readiness(self, body: dict[str, Any]) -> web.Response:
        if self._lifecycle.ready:
            return json_reply(body)
        return json_reply({**body, "error": NOT_READY[self._lifecycle.state]}, status=503)

    def _model_metadata(self) -> web.Response:
        if self._inference is None:
            return error_reply(503, NOT_READY[State.LOADING], {"Retry-After": "1"})
        identity, session = self._identity, self._inference.session
        body: dict[str, Any] = {"name": identity.model_name}
        if identity.model_version:
            body["versions"] = [identity.model_version]
        body["platform"] = PLATFORM
        body["inputs"] = [spec.to_wire() for spec in session.inputs]
        body["outputs"] = [spec.to_json() for spec in session.outputs]
        return json_reply(body)
