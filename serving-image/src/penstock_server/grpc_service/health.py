"""The standard health service: whether calls are welcome."""

import asyncio

from penstock_server.grpc_service.http2.call import Bytes, Conversation, Streaming, Unary
from penstock_server.grpc_service.messages import HEALTH, SERVICE, calls_of
from penstock_server.grpc_service.parsing import parse
from penstock_server.grpc_service.status import Refused
from penstock_server.refusal import Refusal

_Asked, _Told = calls_of(HEALTH)["Check"]
#: The server as a whole, and the service that it is there for.
_NAMES = ("", SERVICE)


class Health:
    """Says of both names that they serve, or not; tells those who watch of changes."""

    def __init__(self) -> None:
        self._serving = False
        self._ended = False
        self._changed = asyncio.Event()

    def unary(self) -> dict[str, Unary]:
        """Return the calls of one answer."""
        return {f"/{HEALTH}/Check": self._check}

    def streaming(self) -> dict[str, Streaming]:
        """Return the calls of several answers."""
        return {f"/{HEALTH}/Watch": self._watch}

    def tell(self, *, serving: bool) -> None:
        """Say from now on that calls are welcome, or that they are not."""
        self._serving = serving
        self._wake()

    def end(self) -> None:
        """Let nobody watch any more."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _check(self, body: Bytes, _: float | None) -> bytes:
        service = parse(_Asked, body).service
        if service not in _NAMES:
            raise Refused(Refusal(status=404, message=f"there is no service {service!r}; there is {SERVICE}"))
        return self._told(service)

    async def _watch(self, conversation: Conversation) -> None:
        service = parse(_Asked, await conversation.receive() or b"").service
        last = b""
        while not self._ended:
            changed, told = self._changed, self._told(service)
            if told != last:
                conversation.send(told)
                last = told
            await changed.wait()
        raise Refused(Refusal(status=503, message="the server is shutting down"))

    def _told(self, service: str) -> bytes:
        name = "SERVICE_UNKNOWN" if service not in _NAMES else "SERVING" if self._serving else "NOT_SERVING"
        encoded: bytes = _Told(status=name).SerializeToString()
        return encoded
