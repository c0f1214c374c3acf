"""The gRPC port of a whole server: on uvloop, with signals, and where it is off or taken."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import ModelProto
from tests.penstock_server import onnx_models
from tests.penstock_server.grpc.conftest import FOR_EVER, raw_input

from penstock_contract.environment import GRPC_OFF, ServingEnvironment
from penstock_server.grpc_service.messages import CALLS, SERVICE

Save = Callable[[ModelProto], Path]


class Running:
    """A server as in a pod."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ready: dict[str, Any] = {}

    async def said(self, event: str) -> dict[str, Any]:
        """Wait until it says something."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            async for line in self.process.stdout:
                if (found := json.loads(line))["event"] == event:
                    return dict(found)
        raise AssertionError(f"it ended without {event!r}")

    def call(self, channel: grpc.aio.Channel, name: str, **fields: Any) -> grpc.aio.UnaryUnaryCall[Any, Any]:
        asked, answered = CALLS[name]
        method = channel.unary_unary(
            f"/{SERVICE}/{name}", request_serializer=asked.SerializeToString, response_deserializer=answered.FromString
        )
        return method(asked(**fields), timeout=20)

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.ready['grpc_port']}")


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(save: Save, tmp_path: Path) -> AsyncIterator[Start]:
    """Return a function that starts a server which ends with the test."""
    started: list[Running] = []

    async def run(model: ModelProto, **settings: Any) -> Running:
        serving = ServingEnvironment(
            model_path=str(save(model)),
            model_name="m",
            revision="m-1",
            namespace="shop",
            **{"http_port": 0, "management_port": 0, "grpc_port": 0, "drain_seconds": 0.0, **settings},
        )
        (tmp_path / "last-words").touch()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "penstock_server",
            "--host",
            "127.0.0.1",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **serving.to_env(), "PENSTOCK_TERMINATION_LOG": str(tmp_path / "last-words")},
        )
        running = Running(process)
        started.append(running)
        return running

    yield run
    for running in started:
        if running.process.returncode is None:
            running.process.kill()
        await running.process.communicate()


async def test_a_server_that_is_asked_to_stop_answers_what_it_has_begun(start: Start) -> None:
    running = await start(onnx_models.counter(), request_timeout_seconds=2.0, drain_seconds=0.2)
    running.ready = await running.said("ready")
    async with running.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        long = running.call(channel, "ModelInfer", **raw_input("rounds", "INT64", np.array([FOR_EVER])))
        assert (await running.call(channel, "ServerReady")).ready  # and with it, the long call has arrived
        running.process.send_signal(signal.SIGTERM)
        await running.said("draining")
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        short = await running.call(channel, "ModelInfer", **raw_input("rounds", "INT64", np.array([1])))
        assert short.model_name == "m"
        assert await long.code() is StatusCode.DEADLINE_EXCEEDED
        assert await long.details() == "no result within 2 s, waiting included; what ran was terminated"
    assert await asyncio.wait_for(running.process.wait(), 10) == 0


async def test_grpc_can_be_off(start: Start) -> None:
    running = await start(onnx_models.identity("FP32", [None]), grpc_port=GRPC_OFF)
    assert "grpc_port" not in await running.said("ready")


async def test_a_taken_port_is_told(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = await start(onnx_models.identity("FP32", [None]), grpc_port=port)
        words = await running.said("cannot-serve")
    assert words["reason"] == "InvalidConfiguration"
    assert words["message"].startswith(f"cannot listen for gRPC on 127.0.0.1 port {port}: ")
    assert await running.process.wait() == 1
