"""The protocol's calls over HTTP."""

from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from penstock_server import descriptions, openapi, routes
from penstock_server.connection import Connection
from penstock_server.connections import Connections
from penstock_server.descriptions import NOT_READY, Identity
from penstock_server.http_feedback import HttpFeedback
from penstock_server.http_inference import BODY_BYTES_MAX, HttpInference, read_body
from penstock_server.http_server import (
    JSON_HEADERS,
    SERVER_HEADER,
    ErrorLog,
    error_reply,
    guarded,
    json_reply,
    server_options,
)
from penstock_server.inference import Answer, Inference
from penstock_server.lifecycle import Lifecycle, State
from penstock_server.metrics import Metrics
from penstock_server.routes import Call, Route

#: The body of the one call that has one and is no inference.
_INDEX_BYTES_MAX = 64 * 1024


class ModelServer:
    """The calls of Open Inference Protocol v2 for one model."""

    def __init__(
        self, *, identity: Identity, lifecycle: Lifecycle, metrics: Metrics, max_connection_age_seconds: float
    ) -> None:
        self._identity = identity
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._max_age_seconds = max_connection_age_seconds
        self._infer = HttpInference(unknown=self._unknown, lifecycle=lifecycle, metrics=metrics)
        self.noted = self._infer.noted
        #: What may be kept of requests that have not all arrived, whatever the port.
        self.unfinished = self._infer.unfinished
        self.feedback = HttpFeedback(self.unfinished)
        self._connections: Connections | None = None
        self._inference: Inference | None = None
        self._openapi: bytes | None = None

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
            lifecycle=self._lifecycle,
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
        asker = request.protocol
        if self._connections is not None and isinstance(asker, Connection) and self._connections.leaving(asker):
            # The client opens its next connection to a pod that its service has now.
            response.force_close()
        return response

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        route = routes.find(request.rel_url.raw_path)
        if route is None:
            return await self._respond_elsewhere(request)
        if request.method not in route.call.methods:
            allowed = ", ".join(route.call.methods)
            return error_reply(405, f"{route.call.value[1]} takes {allowed}, not {request.method}", {"Allow": allowed})
        if route.call is Call.INFER:
            return await self._infer.respond(request, route)
        unknown = self._unknown(route)
        if unknown is not None:
            return error_reply(404, unknown)
        if route.call is Call.REPOSITORY_CHANGE:
            return error_reply(501, "this server serves one model as long as it lives; deploy another one instead")
        if route.call is Call.REPOSITORY_INDEX:
            return await self._repository_index(request)
        return self._describe(route.call)

    async def _respond_elsewhere(self, request: web.BaseRequest) -> web.Response:
        if self.feedback.names(request.path):
            return await self.feedback.respond(request)
        hint = f"inference is POST /v2/models/{self._identity.model_name}/infer"
        return error_reply(404, f"there is nothing at {request.path!r}; {hint}")

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
                return json_reply(descriptions.server_metadata(identity))
            case Call.SERVER_LIVE:
                return json_reply({"live": True})
            case Call.SERVER_READY:
                return self._readiness({"ready": ready, "live": True})
            case Call.MODEL_LIST:
                return json_reply({"models": [identity.model_name]})
            case Call.MODEL_READY:
                return self._readiness({"name": identity.model_name, "ready": ready})
            case Call.MODEL_STATISTICS:
                return json_reply(descriptions.model_statistics(identity, self._metrics.statistics()))
            case Call.DOCS_PAGE:
                return web.Response(body=openapi.page(), headers={**SERVER_HEADER, **openapi.page_headers()})
            case _:
                return self._describe_model(call)

    def _readiness(self, body: dict[str, Any]) -> web.Response:
        if self._lifecycle.ready:
            return json_reply(body)
        return json_reply({**body, "error": NOT_READY[self._lifecycle.state]}, status=503)

    def _describe_model(self, call: Call) -> web.Response:
        if self._inference is None:
            return error_reply(503, NOT_READY[State.LOADING], {"Retry-After": "1"})
        identity, session = self._identity, self._inference.session
        if call is Call.MODEL_CONFIGURATION:
            return json_reply(descriptions.model_configuration(identity, session.inputs, session.outputs))
        if call is Call.MODEL_METADATA:
            return json_reply(descriptions.model_metadata(identity, session.inputs, session.outputs))
        if self._openapi is None:
            document = openapi.document(**asdict(identity), inputs=session.inputs, outputs=session.outputs)
            self._openapi = orjson.dumps(document)
        return web.Response(body=self._openapi, headers=JSON_HEADERS)

    async def _repository_index(self, request: web.BaseRequest) -> web.Response:
        body = await read_body(request, self.unfinished, bytes_max=_INDEX_BYTES_MAX)
        if isinstance(body, Answer):
            return web.Response(status=body.status, body=body.body, headers=JSON_HEADERS)
        try:
            asked = orjson.loads(body or b"{}")
        except orjson.JSONDecodeError as error:
            return error_reply(400, f"the body is not JSON: {error}")
        ready_only = asked.get("ready", False) if isinstance(asked, dict) else None
        if not isinstance(ready_only, bool):
            return error_reply(400, "the body must be empty or a JSON object whose 'ready' is true or false")
        return json_reply(descriptions.repository_index(self._identity, self._lifecycle.state, ready_only=ready_only))
