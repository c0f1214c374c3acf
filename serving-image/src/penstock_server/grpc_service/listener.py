"""The gRPC port: the services on it, its connections, and its end."""

import asyncio
import contextlib
import socket
from typing import Self

from penstock_server import sockets
from penstock_server.grpc_service import reflection
from penstock_server.grpc_service.health import Health
from penstock_server.grpc_service.http2.calls import GrpcCalls
from penstock_server.grpc_service.http2.connection import Connection
from penstock_server.grpc_service.http2.stream import Limits
from penstock_server.grpc_service.service import InferenceService
from penstock_server.http_inference import BODY_BYTES_MAX
from penstock_server.http_server import ErrorLog
from penstock_server.sockets import TurnedAway
from penstock_server.unfinished_bodies import UnfinishedBodies

#: Calls in one connection; with more, a client waits.
_STREAMS_MAX = 1024
#: Like the body of a request over REST.
_REQUEST_SECONDS_MAX = 30.0
_CHECK_SECONDS = 1.0
#: What clients need to read that they should leave, when no call is in progress.
_LEAVING_SECONDS = 1.0
_POLL_SECONDS = 0.01


class GrpcListener:
    """Takes connections on a socket that listens."""

    def __init__(
        self,
        service: InferenceService,
        *,
        call_seconds_max: float,
        connection_seconds_max: float,
        unfinished: UnfinishedBodies,
        log: ErrorLog,
    ) -> None:
        self._health = Health()
        self._calls = GrpcCalls(
            unary={**service.unary(), **self._health.unary()},
            streaming={**self._health.streaming(), **reflection.streaming()},
            paired=service.paired(),
            message_bytes_max=BODY_BYTES_MAX,
            unfinished=unfinished,
            log=log,
        )
        self._limits = Limits(
            streams_max=_STREAMS_MAX,
            stream_window=BODY_BYTES_MAX + (1 << 16),
            age_seconds_max=connection_seconds_max,
            leave_seconds_max=call_seconds_max + _REQUEST_SECONDS_MAX,
            request_seconds_max=_REQUEST_SECONDS_MAX,
        )
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._checking: asyncio.Task[None] | None = None
        self.port = 0

    @classmethod
    async def start(
        cls,
        service: InferenceService,
        listening: socket.socket,
        *,
        call_seconds_max: float,
        connection_seconds_max: float,
        unfinished: UnfinishedBodies,
        log: ErrorLog,
    ) -> Self:
        """Answer on the socket, which is closed in the end."""
        listener = cls(
            service,
            call_seconds_max=call_seconds_max,
            connection_seconds_max=connection_seconds_max,
            unfinished=unfinished,
            log=log,
        )
        loop = asyncio.get_running_loop()
        listener.port = listening.getsockname()[1]
        listener._server = await loop.create_server(listener.connection, sock=listening, backlog=1024)
        listener._checking = loop.create_task(listener._check())
        return listener

    def ready(self) -> None:
        """Say that calls are welcome."""
        self._health.tell(serving=True)

    def draining(self) -> None:
        """Say that clients should go elsewhere; those that do not know it yet are still answered."""
        self._health.tell(serving=False)

    async def finish(self, seconds: float) -> None:
        """Take no more connections, tell clients to leave, and wait for the calls in progress."""
        self._stop()
        self._health.end()
        for connection in tuple(self._connections):
            connection.leave()
        loop = asyncio.get_running_loop()
        end = leave = loop.time() + seconds
        while self._connections and loop.time() < min(end, leave):
            if not any(connection.busy for connection in self._connections):
                leave = min(leave, loop.time() + _LEAVING_SECONDS)
            await asyncio.sleep(_POLL_SECONDS)
        await self.close()

    async def close(self) -> None:
        """End at once."""
        self._stop()
        for connection in tuple(self._connections):
            connection.close()
        if self._checking is not None:
            self._checking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._checking

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()

    def connection(self) -> Connection | TurnedAway:
        """Return the protocol of a new connection."""
        if len(self._connections) >= sockets.CONNECTIONS_MAX:
            return TurnedAway()
        connection = Connection(self._calls, self._limits, self._connections.discard)
        self._connections.add(connection)
        return connection

    async def _check(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = loop.time()
            for connection in tuple(self._connections):
                connection.check(now)
