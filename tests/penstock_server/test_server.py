"""Start and stop in their order, where a process would be hard to catch at the right moment."""

import asyncio
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


def make(path: Path, events: list[str], **changes: Any) -> Server:
    serving = ServingEnvironment(
        model_path=str(path),
        model_name="m",
        revision="m-1",
        namespace="shop",
        http_port=0,
        management_port=0,
        **changes,
    )
    settings = Settings(serving=serving, host="127.0.0.1", person=False, termination_log=Path("/dev/null"))

    def log(event: str, **_: Any) -> None:
        events.append(event)

    return Server(settings, log)


async def test_a_stop_while_the_model_loads_ends_without_a_drain(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    may_load, load, events = threading.Event(), Session.load, list[str]()

    def slow(path: Path, *, threads: int) -> Session:
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


async def test_a_model_that_cannot_be_loaded_ends_the_server_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="there is no file"):
        await make(tmp_path / "none.onnx", []).run()
