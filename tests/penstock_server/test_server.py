"""Start and stop in their order, where a process would be hard to catch at the right moment."""

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import eventually

from penstock_contract.environment import ServingEnvironment
from penstock_server.server import CannotServe, Server
from penstock_server.session import Session
from penstock_server.settings import Settings

Save = Callable[[ModelProto], Path]


def make(path: Path, events: list[str], ports: list[int] | None = None, **changes: Any) -> Server:
    serving = ServingEnvironment(
        model_path=str(path),
        model_name="m",
        revision="m-1",
        namespace="shop",
        http_port=0,
        management_port=0,
        grpc_port=0,
        **changes,
    )
    settings = Settings(serving=serving, host="127.0.0.1", person=False, termination_log=Path("/dev/null"))

    def log(event: str, **fields: Any) -> None:
        events.append(event)
        if event == "ready" and ports is not None:
            ports.append(fields["port"])

    return Server(settings, log)


async def test_a_stop_while_the_model_loads_ends_without_a_drain(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    may_load, load, events = threading.Event(), Session.load, list[str]()

    def slow(path: Path, *, threads: int, bounded: bool) -> Session:
        may_load.wait(5)
        return load(path, threads=threads)

    monkeypatch.setattr(Session, "load", slow)
    server = make(save(onnx_models.identity("FP32", [1])), events, drain_seconds=3600)
    running = asyncio.ensure_future(server.run())
    await eventually(lambda: "loading" in events)
    server._ask_to_stop()
    may_load.set()
    await asyncio.wait_for(running, 5)
    assert events == ["loading", "loaded", "warmed-up"]


async def test_who_asks_twice_does_not_wait_for_a_long_run(save: Save) -> None:
    events = list[str]()
    server = make(save(onnx_models.counter()), events, drain_seconds=3600, request_timeout_seconds=3600)
    running = asyncio.ensure_future(server.run())
    await eventually(lambda: "ready" in events)
    assert server._model_server._inference is not None
    body = b'{"inputs":[{"name":"rounds","shape":[1],"datatype":"INT64","data":[1152921504606846976]}]}'
    asked = asyncio.ensure_future(server._model_server._inference.answer(body))
    await eventually(lambda: server._admission.in_flight == 1)
    server._ask_to_stop()
    server._ask_to_stop()
    await asyncio.wait_for(running, 5)
    assert (await asked).status == 504
    assert events[-2:] == ["draining", "stopped"]
    assert gc.get_freeze_count() == 0, "what is frozen is never freed, and others may live in this process"


async def test_a_request_whose_body_is_on_its_way_when_the_drain_ends_is_answered(save: Save) -> None:
    events, ports = list[str](), list[int]()
    server = make(save(onnx_models.identity("FP32", [1])), events, ports, drain_seconds=0)
    running = asyncio.ensure_future(server.run())
    await eventually(lambda: "ready" in events)
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
    body = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}'
    writer.write(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:9])
    await eventually(lambda: server._model_server._connections is not None and not _idle(server))
    server._ask_to_stop()
    await eventually(lambda: "draining" in events)
    await asyncio.sleep(0.01)
    writer.write(body[9:])
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in answer
    await asyncio.wait_for(running, 5)
    writer.close()


def _idle(server: Server) -> bool:
    connections = server._model_server._connections
    assert connections is not None
    return connections._idle.is_set()


async def test_a_model_that_cannot_be_loaded_ends_the_server_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="there is no file"):
        await make(tmp_path / "none.onnx", []).run()
