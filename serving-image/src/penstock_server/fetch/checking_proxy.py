"""A proxy on loopback that lets a client reach allowed addresses only.

Clients of object stores resolve names and follow redirects by themselves, so looking at the endpoint beforehand says
little about where they end up. Through this proxy every connection of theirs is checked, and goes to the very address
that was checked. TLS stays between the client and the store.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.parse import urlsplit

from penstock_server.fetch import addresses
from penstock_server.fetch.failure import FetchFailed, unavailable

_HEAD_BYTES_MAX = 1 << 16
_CHUNK_BYTES = 1 << 18
_CONNECT_SECONDS_MAX = 5.0
_HTTP_PORT = 80
#: What is meant for the proxy, or would keep a connection open for another host.
_HOP_HEADERS = (b"proxy-", b"connection:", b"keep-alive:")

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class CheckingProxy:
    """Speaks as much of HTTP as a client needs that sends requests without bodies."""

    def __init__(self) -> None:
        self.refused: FetchFailed | None = None
        """Why a connection was not made, the last time."""
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Yield the proxy's URL; it ends with the context, and so do its connections."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # A connection that breaks is the client's or the store's to tell; here it merely ends.
        with contextlib.suppress(
            OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError
        ):
            async with _closing(writer):
                await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *headers = head.split(b"\r\n")
        method, _, rest = first.partition(b" ")
        target = rest.rpartition(b" ")[0].decode("latin-1")
        try:
            parts = urlsplit(f"//{target}" if method == b"CONNECT" else target)
            store = await _connected(parts.hostname or "", parts.port or _HTTP_PORT)
        except (FetchFailed, ValueError) as error:
            self.refused = error if isinstance(error, FetchFailed) else None
            await _reply(writer, HTTPStatus.FORBIDDEN)
            return
        except OSError:
            await _reply(writer, HTTPStatus.BAD_GATEWAY)
            return
        async with _closing(store[1]):
            if method == b"CONNECT":
                await _reply(writer, HTTPStatus.OK)
            else:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                kept = [line for line in headers if line and not line.lower().startswith(_HOP_HEADERS)]
                version = rest.rpartition(b" ")[2]
                request = [
                    method + b" " + path.encode("latin-1") + b" " + version,
                    *kept,
                    b"Connection: close",
                    b"",
                    b"",
                ]
                store[1].write(b"\r\n".join(request))
            await _both_ways((reader, writer), store)


async def _connected(host: str, port: int) -> _Connection:
    """Connect to an address of the host, all of which are allowed; raise FetchFailed, or OSError if none answers."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise unavailable(f"cannot resolve {host}: {error.strerror or error}") from error
    for *_, sockaddr in found:
        addresses.check(host, str(sockaddr[0]))
    last: OSError = ConnectionRefusedError(f"{host} has no address")
    for family, *_, sockaddr in found:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS_MAX):
                return await asyncio.open_connection(str(sockaddr[0]), port, family=family, limit=_CHUNK_BYTES)
        except OSError as error:
            last = error
    raise last


async def _both_ways(client: _Connection, store: _Connection) -> None:
    upward = asyncio.create_task(_copy(client[0], store[1]))
    try:
        await _copy(store[0], client[1])
    finally:
        upward.cancel()
        await asyncio.gather(upward, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _reply(writer: asyncio.StreamWriter, status: HTTPStatus) -> None:
    length = b"" if status == HTTPStatus.OK else b"Content-Length: 0\r\nConnection: close\r\n"
    writer.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() + length + b"\r\n")
    await writer.drain()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
