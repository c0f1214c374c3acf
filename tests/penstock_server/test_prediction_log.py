"""The prediction log loses lines rather than requests, and counts what it loses."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.penstock_server.fetch import processes

from penstock_contract.environment import ServingEnvironment
from penstock_server import prediction_log
from penstock_server.observation import Observation
from penstock_server.prediction_log import PredictionLog, SinkFailed
from penstock_server.prediction_sinks import StandardOutput, StoredFolder, sink_of
from penstock_server.protocol import Array, InferRequest, RequestedOutput, TensorSpec

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
WORD = TensorSpec(name="word", datatype="BYTES", shape=(-1,))
Y = TensorSpec(name="y", datatype="FP16", shape=(-1, 1))


class Sink:
    """Keeps what is written; may be told to fail or to hang."""

    seconds = 0.01

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.fails = False
        self.free = threading.Event()
        self.free.set()

    def write(self, lines: Sequence[bytes]) -> None:
        self.free.wait(10)
        if self.fails:
            raise SinkFailed("the disk is full")
        self.lines += lines


Start = Callable[..., tuple[PredictionLog, Sink]]


@pytest.fixture
def said() -> list[dict[str, Any]]:
    """Return what was logged."""
    return []


@pytest.fixture
def start(said: list[dict[str, Any]]) -> Iterator[Start]:
    """Return a function that makes a prediction log whose thread runs until the test ends."""
    made: list[tuple[PredictionLog, Sink]] = []

    def begin(sample: float = 1.0, *, fails: bool = False, hangs: bool = False) -> tuple[PredictionLog, Sink]:
        sink = Sink()
        sink.fails = fails
        if hangs:
            sink.free.clear()
        log = PredictionLog(
            sink=sink, sample=sample, inputs=[X, WORD], outputs=[Y], identity={"revision": "m-1"},
            log=lambda event, **fields: said.append({"event": event, **fields}),
        )  # fmt: skip
        log.start()
        made.append((log, sink))
        return log, sink

    yield begin
    for log, sink in made:
        sink.free.set()
        log.close()


def observe(log: PredictionLog, rows: int = 1, name: str | None = None) -> None:
    inputs: dict[str, Array] = {
        "x": np.array([[1.5, np.nan]] * rows, np.float32),
        "word": np.array(["ü", b"\xff"][:rows], dtype=object),
    }
    request = InferRequest(id=name, inputs=inputs, outputs=(RequestedOutput(name="y"),), rows=rows)
    log.observe(request, [np.array([[0.5]] * rows, np.float16)])


def test_a_line_can_be_sent_to_a_model_again(start: Start) -> None:
    log, sink = start()
    observe(log, rows=2, name="a")
    log.close()
    (line,) = map(json.loads, sink.lines)
    assert line.pop("time") > 1.7e9
    assert line == {
        "event": "prediction",
        "revision": "m-1",
        "id": "a",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1.5, None, 1.5, None]},
            {"name": "word", "datatype": "BYTES", "shape": [2], "data": ["ü", "\\xff"]},
        ],
        "outputs": [{"name": "y", "datatype": "FP16", "shape": [2, 1], "data": [0.5, 0.5]}],
    }


@pytest.mark.parametrize(("sample", "least", "most"), [(0.0, 0, 0), (0.25, 150, 350), (1.0, 1000, 1000)])
def test_the_share_that_was_asked_for_is_logged(start: Start, sample: float, least: int, most: int) -> None:
    log, sink = start(sample)
    for _ in range(1000):
        observe(log)
    log.close()
    assert least <= len(sink.lines) == log.outcomes.written <= most


def test_what_a_slow_sink_cannot_take_is_dropped_and_counted(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "_WAITING_BYTES_MAX", 2200)
    log, sink = start(hangs=True)
    for _ in range(1000):
        observe(log)
    assert log.outcomes.dropped > 900
    sink.free.set()
    log.close()
    assert log.outcomes.written + log.outcomes.dropped == 1000


def test_a_request_that_is_too_large_is_counted_as_that(start: Start) -> None:
    log, sink = start()
    big = np.zeros((1, 300_000), np.float32)
    request = InferRequest(id=None, inputs={"x": big}, outputs=(), rows=1)
    log.observe(request, [])
    log.close()
    assert (log.outcomes.too_large, sink.lines) == (1, [])


def test_a_sink_that_fails_is_complained_about_once(start: Start, said: list[dict[str, Any]]) -> None:
    log, sink = start(fails=True)
    observe(log)
    until(lambda: bool(said))
    for _ in range(4):
        observe(log)
    log.close()
    assert (log.outcomes.failed, sink.lines) == (5, [])
    assert [entry["error"] for entry in said] == ["the disk is full"]


def test_what_a_sink_did_not_take_is_tried_again(start: Start, said: list[dict[str, Any]]) -> None:
    log, sink = start(fails=True)
    observe(log)
    until(lambda: bool(said))
    sink.fails = False
    observe(log)
    log.close()
    assert (log.outcomes.written, log.outcomes.failed, len(sink.lines)) == (2, 0, 2)


def until(holds: Callable[[], bool]) -> None:
    """Wait for another thread, two seconds at most."""
    ends = time.monotonic() + 2
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_standard_output_gets_whole_lines() -> None:
    stream = StringIO()
    StandardOutput(stream).write([b'{"a":"\xc3\xbc"}\n', b"{}\n"])
    assert stream.getvalue() == '{"a":"ü"}\n{}\n'
    stream.close()
    with pytest.raises(SinkFailed, match="closed file"):
        StandardOutput(stream).write([b"{}\n"])


@pytest.mark.parametrize("destination", ["", "disk", "s3:", "file:///tmp", "s3://logs?x=1"])
def test_what_is_no_destination_is_refused(destination: str) -> None:
    with pytest.raises(SinkFailed, match="write stdout, or a folder such as"):
        sink_of(destination, credentials_dir="", revision="m-1")


def test_a_destination_that_is_none_stops_nothing(said: list[dict[str, Any]]) -> None:
    serving = ServingEnvironment(model_name="m", revision="m-1", namespace="n", prediction_log="disk")
    observation = Observation(
        serving=serving, inputs=[X], outputs=[Y], errors=dict,
        log=lambda event, **fields: said.append({"event": event, **fields}),
    )  # fmt: skip
    assert len(observation.observers) == 1
    assert "'disk' is no destination" in said[0]["error"]


def test_a_store_without_credentials_that_were_mounted_says_so(tmp_path: Path) -> None:
    sink = sink_of("az://logs/fraud", credentials_dir=str(tmp_path), revision="m-1")
    with pytest.raises(SinkFailed, match=r"az://logs/fraud/m-1/.*: the Secret that .* has none of these keys"):
        sink.write([b"{}\n"])


def test_each_batch_is_an_object_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from obstore.store import LocalStore  # noqa: PLC0415 - what this test puts in the place of a store

    from penstock_server.fetch.object_source import StoreAccess  # noqa: PLC0415

    monkeypatch.setattr(StoreAccess, "connect", lambda *_: LocalStore(tmp_path))
    sink = StoredFolder(scheme="s3", bucket="logs", folder="fraud/m-1", credentials_dir="")
    sink.write([b'{"n":1}\n', b'{"n":2}\n'])
    sink.write([b'{"n":3}\n'])
    files = sorted((tmp_path / "fraud" / "m-1").rglob("*.jsonl.gz"))
    assert [gzip.decompress(file.read_bytes()) for file in files] == [b'{"n":1}\n{"n":2}\n', b'{"n":3}\n']


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Return the folder of a bucket in a real S3-compatible store, and the folder of the credentials for it."""
    stored, credentials = tmp_path / "store", tmp_path / "credentials"
    (stored / "logs").mkdir(parents=True)
    credentials.mkdir()
    port = processes.free_port()
    keys = {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-log"}
    for key, value in {**keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
        (credentials / key).write_text(value)
    store = [processes.binary("versitygw"), "--access", "writer", "--secret", "s3cr3t-of-the-log"]
    command = [*store, "--port", f"127.0.0.1:{port}", "posix", str(stored)]
    with processes.running(command, port, tmp_path / "store.log"):
        yield stored / "logs", credentials


def test_lines_arrive_in_a_real_store(bucket: tuple[Path, Path]) -> None:
    folder, credentials = bucket
    sink = sink_of("s3://logs/fraud", credentials_dir=str(credentials), revision="m-1")
    sink.write([b'{"n":1}\n'])
    sink.write([b'{"n":2}\n'])
    files = sorted((folder / "fraud" / "m-1").rglob("*.jsonl.gz"))
    assert [gzip.decompress(file.read_bytes()) for file in files] == [b'{"n":1}\n', b'{"n":2}\n']


def test_what_the_store_refuses_is_said_without_the_secret(bucket: tuple[Path, Path]) -> None:
    _, credentials = bucket
    (credentials / "AWS_SECRET_ACCESS_KEY").write_text("n0t-the-secret")
    sink = sink_of("s3://logs/fraud", credentials_dir=str(credentials), revision="m-1")
    with pytest.raises(SinkFailed, match=r"s3://logs/fraud/m-1/.*SignatureDoesNotMatch") as failed:
        sink.write([b"{}\n"])
    assert "n0t-the-secret" not in str(failed.value)


def test_small_requests_do_not_wait_by_the_million_for_a_sink_that_hangs(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "_WAITING_BYTES_MAX", 100_000)
    log, _ = start(hangs=True)
    for _ in range(1000):
        observe(log)
    # Some may have been taken to be written before the sink hung.
    assert log.outcomes.dropped > 0
    assert len(log._waiting) <= 100
