"""A TCP connection to a server that a test can cut and mend."""

import asyncio
import contextlib
import gc
import socket
import threading
import warnings
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import yaml


class Cable:
    """Forwards a port of its own to another one. While cut, connections are refused and the open ones are closed.

    Runs in a thread, so that a test may block while it forwards.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cable", daemon=True)
        self._server: asyncio.Server | None = None
        self._forwards: set[asyncio.Task[Any]] = set()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        self.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        # Connections that were being accepted when the cable was cut for good have no owner who could close them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def cut(self) -> None:
        """Close everything and refuse what comes."""
        self._run(self._cut())

    def mend(self) -> None:
        """Forward again."""
        self._run(self._mend())

    def kubeconfig(self, original: Path, copy: Path) -> Path:
        """Write a copy of a kubeconfig that goes through the cable."""
        content = yaml.safe_load(original.read_text())
        for cluster in content["clusters"]:
            url = urlsplit(cluster["cluster"]["server"])
            cluster["cluster"]["server"] = f"{url.scheme}://127.0.0.1:{self.port}"
        copy.write_text(yaml.safe_dump(content))
        return copy

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _mend(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        # A connection that was accepted just now has its task a few turns later; an aborted one closes its socket in
        # the next turn.
        for _ in range(5):
            await asyncio.sleep(0.01)
            for task in self._forwards:
                task.cancel()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._forwards.add(task)
        there = None
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._target_port)
            await asyncio.gather(_pipe(reader, there), _pipe(there_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # nobody there, or cut
        finally:
            self._forwards.discard(task)
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.transport.abort()
