"""Models that cost next to nothing, where a test needs very many requests or very many revisions."""

import asyncio

from tests.penstock_operator.adapters.xds.rig import LOOPBACK, free_port

from penstock_operator.core.routes import Backend

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Plain(asyncio.Protocol):
    """A model that answers in a few microseconds: requests without bodies, one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


class Revisions:
    """Revisions whose models are plain."""

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}
        self._servers: list[asyncio.Server] = []

    async def start(self, *names: str) -> None:
        for name in names:
            self._ports[name] = free_port()
            self._servers.append(await asyncio.get_running_loop().create_server(Plain, LOOPBACK, self._ports[name]))

    def stop(self) -> None:
        for server in self._servers:
            server.close()

    def backend(self, name: str, weight: int, keys_from: int | None = None) -> Backend:
        return Backend(revision=name, host=LOOPBACK, port=self._ports[name], weight=weight, keys_from=keys_from)
