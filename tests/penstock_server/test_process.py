"""The command as a process: on a laptop, in a pod, and how it ends."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto
from tests.penstock_server import onnx_models

from penstock_contract.environment import ServingEnvironment
from penstock_contract.termination import Reason, parse

IDENTITY = onnx_models.identity("FP32", [None, 2])
GOOD = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}]}
READY_SECONDS_MAX = 20

Save = Callable[[ModelProto], Path]


@dataclass
class Running:
    """A server process; ``url`` and ``management_url`` are known once it said that it serves."""

    process: subprocess.Popen[str]
    said: list[str]
    url: str = ""
    management_url: str = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Read its output until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            found = re.search(pattern, line)
            if found:
                return found
        raise AssertionError(f"it ended without saying {pattern!r}:\n{''.join(self.said)}")

    def end(self) -> int:
        """Wait for its end and return its exit status."""
        assert self.process.stdout is not None
        self.said += self.process.stdout.readlines()
        return self.process.wait(10)

    def infer(self, message: Any, model: str = "m") -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/v2/models/{model}/infer", json.dumps(message).encode())
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def status(self, url: str) -> int:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                code: int = response.status
        except urllib.error.HTTPError as error:
            with error:
                code = error.code
        return code


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts the command; what still runs at the end is killed."""
    started: list[Running] = []

    def run(arguments: Sequence[str | Path], env: dict[str, str] | None = None) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock_server", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(env or {})},
        )
        running = Running(process, [])
        started.append(running)
        # A server that hangs fails its test instead of stopping all of them.
        guard = threading.Timer(READY_SECONDS_MAX * 2, process.kill)
        guard.daemon = True
        guard.start()
        return running

    yield run
    for running in started:
        running.process.kill()
        running.process.wait()
        if running.process.stdout is not None:
            running.process.stdout.close()


@pytest.fixture
def laptop(start: Start, save: Save) -> Callable[..., Running]:
    """Return a function that serves a model from the command line on free ports."""

    def run(model: ModelProto, *arguments: str) -> Running:
        running = start([save(model), "--port", "0", "--management-port", "0", *arguments])
        running.url = running.until(r"is served at (http://[^/]+)").group(1)
        running.management_url = running.until(r"metrics: (http://[^/]+)").group(1)
        return running

    return run


@pytest.fixture
def in_pod(start: Start, tmp_path: Path) -> Callable[..., Running]:
    """Return a function that starts the server from an environment, as in a pod."""

    def run(path: Path, **settings: Any) -> Running:
        (tmp_path / "termination-log").touch()
        serving = ServingEnvironment(
            model_path=str(path),
            model_name="m",
            revision="m-1",
            namespace="shop",
            http_port=0,
            management_port=0,
            grpc_port=0,
            **settings,
        )
        (tmp_path / "home").mkdir()
        own = {"PENSTOCK_TERMINATION_LOG": str(tmp_path / "termination-log"), "HOME": str(tmp_path / "home")}
        return start([], {**serving.to_env(), **own})

    return run


def ready(running: Running) -> Running:
    """Wait until a server in a pod says that it is ready."""
    found = running.until(r'"ready".*"port": (\d+), "management_port": (\d+)')
    running.url, running.management_url = (f"http://127.0.0.1:{port}" for port in found.groups())
    return running


def test_on_a_laptop_it_says_where_and_how_to_ask(laptop: Callable[..., Running]) -> None:
    running = laptop(IDENTITY, "--name", "m", "--version", "3")
    command = shlex.split(running.until(r"(curl .*)").group(1))
    assert command[:2] == ["curl", "-s"]
    assert command[2] == running.url + "/v2/models/m/infer"
    answer = running.infer(json.loads(command[4]))
    assert answer["model_version"] == "3"
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.0, 0.0]}]
    assert any("x FP32 [-1, 2]" in line for line in running.said)


def test_on_a_laptop_the_name_is_that_of_the_file_and_ctrl_c_ends_it_at_once(laptop: Callable[..., Running]) -> None:
    running = laptop(IDENTITY)
    assert running.infer(GOOD, "model")["model_name"] == "model"
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 0
    assert "Traceback" not in "".join(running.said)


def test_the_sample_for_a_wide_model_is_made_by_a_program(laptop: Callable[..., Running]) -> None:
    running = laptop(onnx_models.identity("FP32", [None, 3000]), "--name", "m")
    program = running.until(r"(python3 -c .*) \| curl").group(1)
    made = subprocess.run(shlex.split(program), capture_output=True, check=True)
    assert running.infer(json.loads(made.stdout))["outputs"][0]["shape"] == [1, 3000]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "PENSTOCK_MODEL_NAME is not set (on a laptop, name the model: penstock-server MODEL.onnx)")],
)
def test_without_a_model_and_without_an_environment_it_says_what_to_do(
    start: Start, arguments: list[str], says: str
) -> None:
    running = start(arguments)
    assert running.end() == 1
    assert says in "".join(running.said)


def test_a_model_that_is_not_there_is_told_in_one_line(start: Start, tmp_path: Path) -> None:
    running = start([tmp_path / "none.onnx", "--port", "0", "--management-port", "0"])
    assert running.end() == 1
    assert running.said[-1].startswith("penstock-server: SourceNotFound: there is no file")


def test_a_port_that_is_taken_is_told_in_one_line(start: Start, save: Save) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        running = start([save(IDENTITY), "--port", port, "--management-port", "0"])
        assert running.end() == 1
    assert running.said[-1].startswith(f"penstock-server: InvalidConfiguration: cannot listen on 127.0.0.1 port {port}")
    assert running.said[-1].rstrip().endswith("; choose another with PENSTOCK_HTTP_PORT or --port")


def test_a_model_that_cannot_be_loaded_leaves_the_runtimes_own_words(
    in_pod: Callable[..., Running], save: Save, tmp_path: Path
) -> None:
    running = in_pod(save(onnx_models.unknown_operator()))
    assert running.end() == 1
    message = parse((tmp_path / "termination-log").read_text())
    assert message is not None
    assert (message.reason, message.permanent) == (Reason.UNKNOWN_OPERATOR, True)
    assert "No Op registered for Frobnicate" in message.message
    assert "Traceback" not in "".join(running.said)


def test_in_a_pod_every_line_is_json_and_nothing_is_left_behind(
    in_pod: Callable[..., Running], save: Save, tmp_path: Path
) -> None:
    running = ready(in_pod(save(IDENTITY), drain_seconds=0))
    assert running.infer(GOOD)["outputs"][0]["data"] == [1.0, 2.5]
    assert [running.status(running.management_url + path) for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
    running.process.terminate()
    assert running.end() == 0
    events = [json.loads(line) for line in running.said]
    assert [event["event"] for event in events] == ["loading", "loaded", "warmed-up", "ready", "draining", "stopped"]
    assert {event["revision"] for event in events} == {"m-1"}
    assert (tmp_path / "termination-log").read_text() == ""
    # ONNX Runtime's telemetry would have left the identity of this machine there.
    assert list((tmp_path / "home").iterdir()) == []


def test_a_warm_up_that_fails_is_a_warning(in_pod: Callable[..., Running], save: Save) -> None:
    model = onnx_models.lookup()
    # A table without entries: every lookup fails, also those of the warm-up.
    model.graph.node[0].attribute[0].t.Clear()
    model.graph.node[0].attribute[0].t.data_type = 1
    model.graph.node[0].attribute[0].t.dims.append(0)
    running = ready(in_pod(save(model), drain_seconds=0))
    assert any('"warm-up-failed"' in line and "out of data bounds" in line for line in running.said)


def test_a_server_that_drains_answers_on_and_then_ends_by_itself(in_pod: Callable[..., Running], save: Save) -> None:
    running = ready(in_pod(save(IDENTITY), drain_seconds=1))
    connection = HTTPConnection("127.0.0.1", int(running.url.rpartition(":")[2]), timeout=10)
    connection.request("POST", "/v2/models/m/infer", json.dumps(GOOD))
    assert connection.getresponse().read()
    running.process.terminate()
    running.until('"draining"')
    assert running.status(running.management_url + "/readyz") == 503
    assert running.status(running.management_url + "/healthz") == 200
    connection.request("POST", "/v2/models/m/infer", json.dumps(GOOD))
    response = connection.getresponse()
    assert (response.status, response.headers["Connection"]) == (200, "close")
    response.read()
    assert running.infer(GOOD)["outputs"][0]["data"] == [1.0, 2.5]
    assert running.end() == 0
    assert running.process.returncode == 0
    connection.close()


def test_a_request_that_runs_when_the_drain_ends_is_still_answered(in_pod: Callable[..., Running], save: Save) -> None:
    running = ready(in_pod(save(onnx_models.counter()), drain_seconds=0, request_timeout_seconds=20))
    rounds = 1_000_000  # several tenths of a second
    answers: list[dict[str, Any]] = []
    message = {"inputs": [{"name": "rounds", "shape": [1], "datatype": "INT64", "data": [rounds]}]}
    asking = threading.Thread(target=lambda: answers.append(running.infer(message)))
    asking.start()
    deadline = time.monotonic() + 5
    while not _in_flight(running):
        assert time.monotonic() < deadline, answers
    running.process.terminate()
    assert running.end() == 0
    asking.join()
    assert [answer["outputs"][0]["name"] for answer in answers] == ["y"]


def _in_flight(running: Running) -> bool:
    with urllib.request.urlopen(running.management_url + "/metrics", timeout=10) as response:
        text = response.read().decode()
    return re.search(r"^penstock_requests_in_flight\{.*\} 1\.0$", text, re.MULTILINE) is not None


def test_a_second_signal_ends_the_drain(in_pod: Callable[..., Running], save: Save) -> None:
    running = ready(in_pod(save(IDENTITY), drain_seconds=3600))
    running.process.terminate()
    running.until('"draining"')
    running.process.terminate()
    assert running.end() == 0
