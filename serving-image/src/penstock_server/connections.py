"""The connections of a server: which are old, which are busy, and when the last one has gone."""

import asyncio
import contextlib
import random
from typing import Any

from aiohttp import web

from penstock_server import sockets
from penstock_server.connection import Connection, Exchange, PlainHead
from penstock_server.http_server import Handler
from penstock_server.lifecycle import Lifecycle
from penstock_server.sockets import TurnedAway

_AGE_JITTER = 0.1
#: What a client that has just connected needs to send its request, when the server is about to end.
_LEAVING_SECONDS = 1.0


class Connections(web.Server):
    """Makes connections and knows them."""

    def __init__(
        self,
        handler: Handler,
        *,
        exchange: Exchange,
        lifecycle: Lifecycle,
        max_age_seconds: float,
        **options: Any,
    ) -> None:
        super().__init__(self._counted, **options)
        self._handler = handler
        self._exchange = exchange
        self._lifecycle = lifecycle
        self._options = options
        self._heads: dict[bytes, PlainHead] = {}
        self._max_age_seconds = max_age_seconds
        self._open: set[Connection] = set()
        self._in_progress = 0
        self._gone = asyncio.Event()
        self._idle = asyncio.Event()
        self._gone.set()
        self._idle.set()

    def __call__(self) -> Connection | TurnedAway:  # type: ignore[override]  # the loop takes any protocol
        """Return the protocol of a new connection."""
        if len(self._open) >= sockets.CONNECTIONS_MAX:
            return TurnedAway()
        options = {name: value for name, value in self._options.items() if name != "request_factory"}
        return Connection(self, self._exchange, self, self._heads, loop=self._loop, **options)

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Remember a connection, and when it is old."""
        super().connection_made(handler, transport)
        # Jitter, so that connections that were opened together do not all come back together.
        jitter = random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)  # noqa: S311 - not a secret
        handler.old_from = self._loop.time() + self._max_age_seconds * jitter
        self._open.add(handler)
        self._gone.clear()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        self._open.discard(handler)
        if not self._open:
            self._gone.set()
        super().connection_lost(handler, exc)

    @property
    def draining(self) -> bool:
        """Whether all connections should end with their next answers: clients should go elsewhere."""
        return self._lifecycle.draining

    def leaving(self, connection: Connection) -> bool:
        """Return whether a connection should end with its next answer: the client's next one may go elsewhere."""
        return self._lifecycle.draining or self._loop.time() >= connection.old_from

    def begin(self) -> None:
        """Count a request in progress."""
        self._in_progress += 1
        self._idle.clear()

    def end(self) -> None:
        """Count it no more."""
        self._in_progress -= 1
        if self._in_progress == 0:
            self._idle.set()

    async def finished(self, seconds: float) -> None:
        """Wait for the clients to go, a moment for those between requests and ``seconds`` for those in one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), min(_LEAVING_SECONDS, seconds))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    async def _counted(self, request: web.BaseRequest) -> web.StreamResponse:
        self.begin()
        try:
            return await self._handler(request)
        finally:
            self.end()
