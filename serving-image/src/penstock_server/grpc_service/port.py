"""The gRPC port of a server, which may be off: opened while the model loads, closed whatever happened."""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from penstock_contract.environment import GRPC_OFF, ServingEnvironment
from penstock_server.descriptions import Identity
from penstock_server.http_server import ErrorLog
from penstock_server.inference import Inference
from penstock_server.lifecycle import Lifecycle
from penstock_server.metrics import Metrics
from penstock_server.outputs_ring import OutputsRing
from penstock_server.sockets import listening_socket, why
from penstock_server.unfinished_bodies import UnfinishedBodies

if TYPE_CHECKING:
    from penstock_server.grpc_service.listener import GrpcListener
    from penstock_server.grpc_service.service import InferenceService


class GrpcPort:
    """Does nothing at all where the environment says that there is no gRPC."""

    def __init__(
        self,
        *,
        serving: ServingEnvironment,
        host: str | None,
        identity: Identity,
        lifecycle: Lifecycle,
        metrics: Metrics,
        noted: OutputsRing,
        unfinished: UnfinishedBodies,
        log: ErrorLog,
    ) -> None:
        self._serving = serving
        self._host = host
        self._identity = identity
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._noted = noted
        self._unfinished = unfinished
        self._log = log
        self._opening: asyncio.Task[tuple[GrpcListener, InferenceService]] | None = None
        self._listener: GrpcListener | None = None

    @property
    def number(self) -> int | None:
        """The port, None where there is none (yet)."""
        return None if self._listener is None else self._listener.port

    def open(self) -> None:
        """Begin to listen; calls are told to come back until the server is ready."""
        if self._serving.grpc_port != GRPC_OFF:
            self._opening = asyncio.ensure_future(self._open())

    async def serve_with(self, inference: Inference) -> None:
        """Answer inference calls from now on; raise OSError where the port cannot be opened."""
        if self._opening is not None:
            self._listener, service = await self._opening
            service.serve_with(inference)

    def ready(self) -> None:
        """Say that calls are welcome."""
        if self._listener is not None:
            self._listener.ready()

    def draining(self) -> None:
        """Say that clients should go elsewhere."""
        if self._listener is not None:
            self._listener.draining()

    async def finish(self, seconds: float) -> None:
        """Take no more connections and wait for the calls in progress."""
        if self._listener is not None:
            await self._listener.finish(seconds)

    async def close(self) -> None:
        """End at once, opened or not."""
        if self._opening is None:
            return
        self._opening.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            listener, _ = await self._opening
            await listener.close()

    async def _open(self) -> "tuple[GrpcListener, InferenceService]":
        serving = self._serving
        try:
            listening = listening_socket(self._host, serving.grpc_port)
        except OSError as error:
            where = f"{self._host or 'all interfaces'} port {serving.grpc_port}"
            raise OSError(f"{where}: {why(error)}") from error
        try:
            await asyncio.to_thread(_import)
            from penstock_server.grpc_service.listener import GrpcListener  # noqa: PLC0415 - as above
            from penstock_server.grpc_service.service import InferenceService  # noqa: PLC0415 - as above

            service = InferenceService(
                identity=self._identity, lifecycle=self._lifecycle, metrics=self._metrics, noted=self._noted
            )
            listener = await GrpcListener.start(
                service,
                listening,
                call_seconds_max=serving.request_timeout_seconds,
                connection_seconds_max=serving.max_connection_age_seconds,
                unfinished=self._unfinished,
                log=self._log,
            )
        except BaseException:
            listening.close()
            raise
        return listener, service


def _import() -> None:
    """Import protobuf and the schema, which only those need who want gRPC."""
    import penstock_server.grpc_service.listener  # noqa: PLC0415, F401 - see above
