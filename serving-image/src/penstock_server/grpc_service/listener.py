"""The one door to gRPC's server: its port, limits and standard services, from start to end."""

import asyncio
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from penstock_server.app import BODY_BYTES_MAX
from penstock_server.grpc_service.messages import CALLS, SERVICE
from penstock_server.grpc_service.service import InferenceService

_HANDSHAKE_SECONDS_MAX = 10
#: A client may ask so often whether we are still here, also between calls; more often, and it is sent away.
_PING_INTERVAL_SECONDS_MIN = 10
#: After so long without a sign from a client we ask it; one that is gone still counts as a connection until then.
_KEEPALIVE_SECONDS = 60
_KEEPALIVE_TIMEOUT_SECONDS = 20
#: Calls in one connection; with more, a client opens a second one.
_STREAMS_MAX = 1024
#: What a message of the largest body needs besides its tensors is small, and counts.
_MESSAGE_BYTES_MAX = BODY_BYTES_MAX
#: How long streams of the standard services may go on when everything else has ended.
_LEAVING_SECONDS = 1.0


class GrpcListener:
    """A port with the inference service, health and reflection."""

    def __init__(self, service: InferenceService, *, call_seconds_max: float, connection_seconds_max: float) -> None:
        self._service = service
        self._server = grpc.aio.server(options=_options(call_seconds_max, connection_seconds_max))
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs know only the blocking one
        self.port = 0

    @classmethod
    async def start(
        cls,
        service: InferenceService,
        *,
        host: str | None,
        port: int,
        call_seconds_max: float,
        connection_seconds_max: float,
    ) -> Self:
        """Listen and answer; raise OSError where the port is taken. ``host`` None: all interfaces."""
        listener = cls(service, call_seconds_max=call_seconds_max, connection_seconds_max=connection_seconds_max)
        await listener._tell(serving=False)
        health_pb2_grpc.add_HealthServicer_to_server(listener._health, listener._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, listener._server)
        listener._server.add_generic_rpc_handlers((service.handlers(), _Unknown()))
        where = f"[{host}]:{port}" if host and ":" in host else f"{host or '[::]'}:{port}"
        try:
            listener.port = listener._server.add_insecure_port(where)
        except RuntimeError as error:
            raise OSError(f"{where} is taken, or not an address of this machine") from error
        await listener._server.start()
        return listener

    async def ready(self) -> None:
        """Say that calls are welcome."""
        await self._tell(serving=True)

    async def draining(self) -> None:
        """Say that clients should go elsewhere; those that do not know it yet are still answered."""
        await self._tell(serving=False)

    async def finish(self, seconds: float) -> None:
        """Take no more connections, tell clients to leave, and wait for the calls in progress."""
        stopping = asyncio.ensure_future(self._server.stop(seconds))
        idle = asyncio.ensure_future(self._service.idle())
        await asyncio.wait({stopping, idle}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        await self._server.stop(min(_LEAVING_SECONDS, seconds))
        await stopping

    async def close(self) -> None:
        """End at once."""
        await self._server.stop(None)

    async def _tell(self, *, serving: bool) -> None:
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, state)


class _Unknown(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Answers calls that are not there with those that are."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        path = str(handler_call_details.method)
        message = f"there is no call {path!r}; this server has {', '.join(CALLS)} of {SERVICE}"

        async def refuse(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, message)
            raise AssertionError("abort always raises")

        return grpc.unary_unary_rpc_method_handler(refuse)


def _options(call_seconds_max: float, connection_seconds_max: float) -> list[tuple[str, int]]:
    return [
        # Without it a second server on the same port would get every other connection, and neither would know.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", _STREAMS_MAX),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_SECONDS_MAX * 1000),
        # A connection stays with one pod, and so would its load; gRPC itself adds the jitter.
        ("grpc.max_connection_age_ms", round(connection_seconds_max * 1000)),
        ("grpc.max_connection_age_grace_ms", round(call_seconds_max * 1000)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _PING_INTERVAL_SECONDS_MIN * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", _KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_SECONDS * 1000),
    ]
