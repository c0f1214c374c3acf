"""A model server on loopback, in the test's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import settings
from onnx import ModelProto

from penstock_server.admission import Admission
from penstock_server.app import ModelServer
from penstock_server.descriptions import Identity
from penstock_server.inference import Inference
from penstock_server.lifecycle import Event, Lifecycle
from penstock_server.management import ManagementServer
from penstock_server.metrics import Metrics
from penstock_server.session import Session

# How long an example takes says more of the machine, which other tests share, than of the code.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


@dataclass
class Served:
    """A running server with its inner parts within reach."""

    url: str
    management_url: str
    client: aiohttp.ClientSession
    lifecycle: Lifecycle
    metrics: Metrics
    admission: Admission
    model_server: ModelServer
    inference: Inference | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    async def infer(self, message: Any, path: str = "/v2/models/m/infer") -> tuple[int, dict[str, Any]]:
        """Post a message; return the status and the body."""
        async with self.client.post(self.url + path, json=message) as response:
            return response.status, await response.json()

    async def metric(self, line_start: str) -> float:
        """Return the value of the only series whose line starts so."""
        async with self.client.get(self.management_url + "/metrics") as response:
            lines = [line for line in (await response.text()).splitlines() if line.startswith(line_start)]
        assert len(lines) == 1, lines
        return float(lines[0].rpartition(" ")[2])


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
def save(tmp_path: Path) -> Callable[[ModelProto], Path]:
    """Return a function that writes a model into a file."""

    def write(model: ModelProto) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


@pytest.fixture
def load(save: Callable[[ModelProto], Path]) -> Callable[[ModelProto], Session]:
    """Return a function that makes a session of a model."""
    return lambda model: Session.load(save(model), threads=1)


@pytest.fixture
async def serve(load: Callable[[ModelProto], Session]) -> AsyncIterator[Serve]:
    """Return a function that serves a model (None: one that is still loading) until the test ends."""
    closing: list[Callable[[], Awaitable[None]]] = []

    async def start(
        model: ModelProto | None,
        *,
        version: str = "",
        concurrency_max: int = 4,
        queue_max: int = 8,
        timeout_seconds: float = 5.0,
        max_connection_age_seconds: float = 60.0,
    ) -> Served:
        lifecycle = Lifecycle()
        metrics = Metrics({"revision": "m-1", "model": "m", "model_version": version})
        admission = Admission(concurrency_max=concurrency_max, queue_max=queue_max)
        metrics.watch(
            in_flight=lambda: admission.in_flight, queued=lambda: admission.queued, ready=lambda: lifecycle.ready
        )
        model_server = ModelServer(
            identity=Identity(model_name="m", model_version=version, server_version="9"),
            lifecycle=lifecycle,
            metrics=metrics,
            max_connection_age_seconds=max_connection_age_seconds,
        )
        errors: list[dict[str, Any]] = []

        def log(event: str, **fields: Any) -> None:
            errors.append({"event": event, **fields})

        management = ManagementServer(lifecycle=lifecycle, metrics=metrics, noted=model_server.noted)
        urls = [await _listen(server.web_server(log), closing) for server in (model_server, management)]
        client = aiohttp.ClientSession()
        closing.append(client.close)
        served = Served(urls[0], urls[1], client, lifecycle, metrics, admission, model_server, errors=errors)
        if model is not None:
            served.inference = Inference(
                session=load(model),
                model_name="m",
                model_version=version,
                admission=admission,
                concurrency_max=concurrency_max,
                timeout_seconds=timeout_seconds,
                metrics=metrics,
            )
            model_server.serve_with(served.inference)
            lifecycle.handle(Event.LOADED)
            closing.insert(0, _closer(served.inference))
        return served

    yield start
    for close in reversed(closing):
        await close()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds that another task or thread brings about; give up after two seconds."""
    async with asyncio.timeout(2):
        while not holds():  # noqa: ASYNC110 - what is observed is a plain number, on purpose
            await asyncio.sleep(0.002)


def _closer(inference: Inference) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        await asyncio.to_thread(inference.close)

    return close


async def _listen(server: web.Server, closing: list[Callable[[], Awaitable[None]]]) -> str:
    runner = web.ServerRunner(server, shutdown_timeout=0.2)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    closing.append(runner.cleanup)
    return f"http://127.0.0.1:{listening.getsockname()[1]}"
