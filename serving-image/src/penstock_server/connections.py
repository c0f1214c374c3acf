"""The connections of a server: which are old, which are busy, and when the last one has gone."""

import asyncio
import contextlib
import random
import time
from typing import Any

from aiohttp import web

from penstock_server.http_server import Handler

_AGE_JITTER = 0.1
#: What a client that has just connected needs to send its request, when the server is about to end.
_LEAVING_SECONDS = 1.0


class Connections(web.Server):
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
        """Remember a connection, and when it is old."""
        super().connection_made(handler, transport)
        # Jitter, so that connections that were opened together do not all come back together.
        jitter = random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)  # noqa: S311 - not a secret
        self._old_from[handler] = time.monotonic() + self._max_age_seconds * jitter
        self._gone.clear()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        self._old_from.pop(handler, None)
        if not self._old_from:
            self._gone.set()
        super().connection_lost(handler, exc)

    def is_old(self, handler: Any) -> bool:
        """Return whether a connection has lived for as long as it should."""
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
