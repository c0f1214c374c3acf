"""The gRPC port on loopback, in the test's own event loop, and a client of gRPC's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import ModelProto

from penstock_server.admission import Admission
from penstock_server.descriptions import Identity
from penstock_server.grpc_service.listener import GrpcListener
from penstock_server.grpc_service.messages import CALLS, SERVICE
from penstock_server.grpc_service.service import InferenceService
from penstock_server.inference import Inference
from penstock_server.lifecycle import Event, Lifecycle
from penstock_server.metrics import Metrics
from penstock_server.outputs_ring import OutputsRing
from penstock_server.protocol import Array
from penstock_server.session import Session
from penstock_server.sockets import listening_socket
from penstock_server.unfinished_bodies import UnfinishedBodies

#: More rounds than anybody waits for.
FOR_EVER = 1 << 60


@dataclass
class Served:
    """A running server with its inner parts within reach."""

    listener: GrpcListener
    service: InferenceService
    channel: grpc.aio.Channel
    lifecycle: Lifecycle
    metrics: Metrics
    admission: Admission
    inference: Inference | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    noted: OutputsRing = field(default_factory=OutputsRing)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.port}"

    async def reconnect(self, *options: tuple[str, int]) -> None:
        """Go on with another connection of the client."""
        await self.channel.close(None)
        self.channel = grpc.aio.insecure_channel(self.address, options=options)

    def start(self, call: str, within: float | None = 10, **fields: Any) -> grpc.aio.UnaryUnaryCall[Any, Any]:
        """Return a call that is on its way."""
        asked, answered = CALLS[call]
        method = self.channel.unary_unary(
            f"/{SERVICE}/{call}", request_serializer=asked.SerializeToString, response_deserializer=answered.FromString
        )
        return method(asked(**fields), timeout=within)

    def start_bytes(self, path: str, body: bytes) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
        """Return a call on its way that may be anything."""
        return self.channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)(body)

    async def call(self, call: str, within: float | None = 10, **fields: Any) -> Any:
        """Return the answer."""
        return await self.start(call, within, **fields)

    async def fails(self, call: str, within: float | None = 10, **fields: Any) -> tuple[grpc.StatusCode, str]:
        """Return the code and the message of a call that must fail."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(call, within, **fields)
        return caught.value.code(), caught.value.details() or ""

    def metric(self, line_start: str) -> float:
        """Return the value of the only series whose line starts so."""
        lines = [line for line in self.metrics.exposition().decode().splitlines() if line.startswith(line_start)]
        assert len(lines) == 1, lines
        return float(lines[0].rpartition(" ")[2])


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(load: Callable[[ModelProto], Session]) -> AsyncIterator[Serve]:
    """Return a function that serves a model (None: one that is still loading) until the test ends."""
    served: list[Served] = []

    async def start(
        model: ModelProto | None,
        *,
        version: str = "",
        concurrency_max: int = 4,
        queue_max: int = 8,
        timeout_seconds: float = 5.0,
        connection_seconds_max: float = 60.0,
        observers: Sequence[Any] = (),
    ) -> Served:
        lifecycle = Lifecycle()
        metrics = Metrics({"revision": "m-1", "model": "m", "model_version": version})
        admission = Admission(concurrency_max=concurrency_max, queue_max=queue_max)
        errors: list[dict[str, Any]] = []
        noted = OutputsRing()

        def log(event: str, **fields: Any) -> None:
            errors.append({"event": event, **fields})

        service = InferenceService(
            identity=Identity(model_name="m", model_version=version, server_version="9"),
            lifecycle=lifecycle,
            metrics=metrics,
            noted=noted,
        )
        listener = await GrpcListener.start(
            service,
            listening_socket("127.0.0.1", 0),
            call_seconds_max=timeout_seconds,
            connection_seconds_max=connection_seconds_max,
            unfinished=UnfinishedBodies(),
            log=log,
        )
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}")
        one = Served(listener, service, channel, lifecycle, metrics, admission, errors=errors, noted=noted)
        served.append(one)
        if model is not None:
            one.inference = Inference(
                session=load(model),
                model_name="m",
                model_version=version,
                admission=admission,
                concurrency_max=concurrency_max,
                timeout_seconds=timeout_seconds,
                metrics=metrics,
                observers=observers,
            )
            service.serve_with(one.inference)
            lifecycle.handle(Event.LOADED)
            listener.ready()
        return one

    yield start
    for one in served:
        await one.channel.close(None)
        await one.listener.close()
        if one.inference is not None:
            await asyncio.to_thread(one.inference.close)


def raw_input(name: str, datatype: str, array: Array) -> dict[str, Any]:
    """Return the fields of a request with one raw tensor of numbers."""
    return {
        "model_name": "m",
        "inputs": [{"name": name, "datatype": datatype, "shape": array.shape}],
        "raw_input_contents": [array.tobytes()],
    }


def rounds(count: int) -> dict[str, Any]:
    """Return the fields of a request that keeps ``onnx_models.counter`` busy."""
    return raw_input("rounds", "INT64", np.array([count]))
