"""What is judged: a server of ours for each model of the suite, or somebody else's server that has loaded them all."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from onnx import ModelProto, helper, numpy_helper
from tests.conformance.exchange import Target
from tests.conformance.values import DATATYPES
from tests.penstock_server import onnx_models

from penstock_contract.environment import ServingEnvironment

READY_SECONDS_MAX = 30.0
#: Names of models that have a version here; the others have none, and answers must not mention one.
VERSIONS = {"identity_fp32": "3", "everything": "1", "sum_and_difference": "2024-11-21.rc1"}
ODD_NAME = "odd näme (1)"


def slow_to_warm_up() -> ModelProto:
    """Goes round its loop for many seconds whatever it is asked, so that its warm-up does too."""
    made = onnx_models.counter()
    squeeze = next(node for node in made.graph.node if node.op_type == "Squeeze")
    squeeze.output[0] = "asked"
    many = numpy_helper.from_array(np.array(1_000_000_000, np.int64))
    extra = helper.make_node("Constant", [], ["extra"], value=many)
    trips = helper.make_node("Add", ["asked", "extra"], ["trips"])
    nodes = list(made.graph.node)
    position = nodes.index(squeeze) + 1
    del made.graph.node[:]
    made.graph.node.extend([extra, *nodes[:position], trips, *nodes[position:]])
    return made


def everything() -> ModelProto:
    """An input of every datatype, each given back by an output."""
    names = [name.lower() for name in DATATYPES]
    return onnx_models.model(
        [helper.make_node("Identity", [f"x_{name}"], [f"y_{name}"]) for name in names],
        [onnx_models.tensor(f"x_{name}", name.upper(), [None, 2]) for name in names],
        [onnx_models.tensor(f"y_{name}", name.upper(), [None, 2]) for name in names],
    )


#: The models of the suite by name; a server that is to be judged must have those that a check asks for.
MODELS: Mapping[str, Callable[[], ModelProto]] = {
    **{
        f"identity_{name.lower()}": lambda name=name: onnx_models.identity(name, [None, 2])  # type: ignore[misc]
        for name in DATATYPES
    },
    "fixed": lambda: onnx_models.identity("FP32", [2, 3]),
    "scalar": lambda: onnx_models.identity("FP32", []),
    "cube": lambda: onnx_models.identity("INT32", [None, 2, 2]),
    "text": lambda: onnx_models.identity("BYTES", [None]),
    "sum_and_difference": onnx_models.sum_and_difference,
    "everything": everything,
    "counter": onnx_models.counter,
    "lookup": onnx_models.lookup,
    "logarithm": onnx_models.logarithm,
    "zipmap": onnx_models.zipmap,
    "sequence": onnx_models.sequence,
    "slow_to_warm_up": slow_to_warm_up,
    ODD_NAME: lambda: onnx_models.identity("FP32", [None, 2]),
}


def free_port() -> int:
    """Return a port that nobody listened on a moment ago, for a server that says its own too late."""
    with socket.create_server(("127.0.0.1", 0)) as plain:
        port: int = plain.getsockname()[1]
        return port


@dataclass
class Running:
    """One process of ours with the lines that it wrote."""

    process: subprocess.Popen[bytes]
    output: Path
    target: Target

    def event(self, name: str) -> dict[str, Any]:
        """Return the line of an event; wait for it."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            lines = self.output.read_text().splitlines()
            for line in lines:
                if f'"event": "{name}"' in line:
                    found: dict[str, Any] = json.loads(line)
                    return found
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"it never said {name!r}:\n" + "\n".join(lines))
            time.sleep(0.02)

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


class Servers:
    """Starts a server of ours for each model that is asked for, once; all with the same settings, as text."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._settings = {f"PENSTOCK_{name.upper()}": value for name, value in (settings or {}).items()}
        self._shared: dict[str, Running] = {}
        self._started: list[Running] = []

    def target(self, model: str) -> Target:
        """Return the model on a server that all checks share."""
        if model not in self._shared:
            self._shared[model] = self.start(model)
        return self._shared[model].target

    def start(self, model: str, *, until: str = "ready", http_port: int = 0, **settings: Any) -> Running:
        """Start a server of the caller's own, and wait until it says ``until``."""
        number = len(self._started)
        folder = self._folder / str(number)
        folder.mkdir()
        file = folder / "model.onnx"
        file.write_bytes(MODELS[model]().SerializeToString())
        wanted: dict[str, Any] = {
            "model_path": str(file),
            "model_name": model,
            "model_version": VERSIONS.get(model, ""),
            "revision": "conformance",
            "namespace": "conformance",
            "http_port": http_port,
            "management_port": 0,
            "grpc_port": 0,
            "drain_seconds": 0.0,
            "request_timeout_seconds": 10.0,
            **settings,
        }
        serving = ServingEnvironment(**wanted)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        environment |= {**serving.to_env(), **self._settings, "PENSTOCK_TERMINATION_LOG": str(folder / "last-words")}
        output = folder / "output"
        with output.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-m", "penstock_server", "--host", "127.0.0.1"],
                stdout=written,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        running = Running(process, output, Target(host="127.0.0.1", port=http_port, model=model))
        self._started.append(running)
        said = {"grpc_port": wanted["grpc_port"], **running.event(until)}
        running.target = Target(
            host="127.0.0.1",
            port=said.get("port", http_port),
            model=model,
            version=wanted["model_version"],
            grpc=f"127.0.0.1:{said['grpc_port']}" if said.get("grpc_port") else "",
        )
        return running

    def close(self) -> None:
        """End all of them; a server that ended by itself or that cannot be ended by a signal is an error."""
        ended = [running for running in self._started if running.process.poll() is not None]
        for running in self._started:
            running.stop()
        unexpected = [one for one in ended if one.process.returncode not in {0, -signal.SIGKILL}]
        assert not unexpected, "\n".join(one.output.read_text() for one in unexpected)


class Elsewhere:
    """A server that somebody else runs, with the models under their names."""

    def __init__(self, url: str, grpc: str, names: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"--server must be like http://127.0.0.1:8080, not {url!r}")
        self._host, self._port, self._grpc, self._names = parts.hostname, parts.port or 80, grpc, names

    def target(self, model: str) -> Target:
        """Return the model, with the version that the server says it has."""
        name = self._names.get(model, re.sub(r"[^A-Za-z0-9_.-]", "_", model))
        target = Target(host=self._host, port=self._port, model=name, grpc=self._grpc)
        reply = target.ask("GET", target.path())
        if reply.status != 200:
            raise AssertionError(f"the server has no model {name!r}: {reply.body!r}; write it with --write-models")
        versions = reply.json().get("versions") or [""]
        return Target(host=self._host, port=self._port, model=name, version=versions[-1], grpc=self._grpc)

    def close(self) -> None:
        """Nothing of it is ours to end."""
