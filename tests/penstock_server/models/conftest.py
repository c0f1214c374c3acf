"""A real ``penstock-server`` for one model, and a client that knows nothing of it but the protocol."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from penstock_server.protocol import DTYPES, Array

_SECONDS_MAX = 20
_DATATYPES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass
class Answered:
    """The answer to one request, its outputs by name in the order of the answer."""

    outputs: dict[str, dict[str, Any]]

    def __getitem__(self, name: str) -> Array:
        output = self.outputs[name]
        return np.array(output["data"], DTYPES[output["datatype"]]).reshape(output["shape"])

    def classes(self, name: str) -> Any:
        """Return the class labels that stand with an output."""
        return json.loads(self.outputs[name]["parameters"]["classes"])


@dataclass
class Served:
    """One model behind its own server process."""

    process: subprocess.Popen[str]
    url: str

    def metadata(self) -> Any:
        """Return what the server says of the model."""
        with urllib.request.urlopen(self.url, timeout=_SECONDS_MAX) as response:
            return json.load(response)

    def infer(self, inputs: Mapping[str, Array], outputs: list[str] | None = None) -> Answered:
        """Ask for outputs, all of them by default."""
        status, answer = self.ask(inputs, outputs)
        assert status == 200, answer
        return Answered({output["name"]: output for output in answer["outputs"]})

    def ask(self, inputs: Mapping[str, Array], outputs: list[str] | None = None) -> tuple[int, Any]:
        """Return the status and body of an answer that need not be a good one."""
        message: dict[str, Any] = {
            "inputs": [
                {"name": name, "shape": array.shape, "datatype": _DATATYPES[array.dtype], "data": array.tolist()}
                for name, array in inputs.items()
            ]
        }
        if outputs is not None:
            message["outputs"] = [{"name": name} for name in outputs]
        request = urllib.request.Request(f"{self.url}/infer", json.dumps(message).encode())
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS_MAX) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


ServeFile = Callable[[Path], Served]
ServeModel = Callable[[ModelProto], Served]


@pytest.fixture(scope="module")
def serve_file() -> Iterator[ServeFile]:
    """Return a function that serves a model's file until the module's tests are over, each file once."""
    started: dict[Path, Served] = {}

    def serve(path: Path) -> Served:
        if path not in started:
            process = subprocess.Popen(
                [sys.executable, "-m", "penstock_server", str(path), "--port", "0", "--management-port", "0"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            started[path] = Served(process, "")
            started[path].url = _served_at(process)
        return started[path]

    yield serve
    for served in started.values():
        served.process.terminate()
        with served.process:
            served.process.wait(_SECONDS_MAX)


@pytest.fixture
def serve_model(tmp_path: Path, serve_file: ServeFile) -> ServeModel:
    """Return a function that serves a model."""

    def serve(model: ModelProto) -> Served:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return serve_file(path)

    return serve


def strings(values: Any) -> Array:
    """Return an array of BYTES."""
    return np.array(values, np.object_)


def _served_at(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        found = re.search(r"is served at (http://\S+)/infer", line)
        if found:
            return found[1]
    raise AssertionError("".join(said))
