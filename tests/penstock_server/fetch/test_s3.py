"""Models in a real S3-compatible store: versitygw on loopback.

PENSTOCK_VERSITYGW names its binary; `make test` builds it. Without Make:
go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
"""

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.penstock_server import onnx_models

from penstock_contract.environment import FetchEnvironment
from penstock_contract.termination import Reason, TerminationMessage, parse
from penstock_server.fetch import __main__ as command
from penstock_server.fetch import download

MODEL = onnx_models.identity("FP32", [None]).SerializeToString()
ACCESS, SECRET = "penstock-test", "s3cr3t-of-the-test"


@dataclass
class Store:
    """A running store whose buckets are folders."""

    url: str
    folder: Path

    def put(self, key: str, content: bytes) -> str:
        path = self.folder / "models" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"s3://models/{key}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    binary = os.environ.get("PENSTOCK_VERSITYGW") or shutil.which("versitygw")
    if not binary:
        pytest.fail("versitygw is missing: set PENSTOCK_VERSITYGW to its binary, or run `make test`, which builds it")
    folder = tmp_path_factory.mktemp("store")
    (folder / "models").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = [binary, "--access", ACCESS, "--secret", SECRET, "--port", f"127.0.0.1:{port}", "posix", str(folder)]
    with (folder.parent / "versitygw.log").open("w") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(port, process)
        yield Store(f"http://127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert process.poll() is None, "versitygw ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "versitygw does not listen"
            time.sleep(0.05)
        else:
            return


@dataclass
class Pod:
    """One run of the fetching container against the store."""

    folder: Path
    store: Store

    def fetch(self, uri: str, digest: str, **secret: str) -> TerminationMessage | None:
        """Return None for success, else the last words."""
        credentials = {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.store.url,
            **secret,
        }
        mounted = self.folder / "secret"
        mounted.mkdir()
        for key, value in credentials.items():
            if value:
                (mounted / key).write_text(value)
        wanted = FetchEnvironment(
            uri=uri, sha256=digest, destination=str(self.folder / "model.onnx"), credentials_dir=str(mounted)
        )
        last_words = self.folder / "termination-log"
        last_words.touch()
        status = command.run({**wanted.to_env(), "PENSTOCK_TERMINATION_LOG": str(last_words)}, _silent)
        message = parse(last_words.read_text())
        assert (status == 0) == (message is None) == (self.folder / "model.onnx").exists()
        return message


def _silent(event: str, **fields: Any) -> None:
    """Log nothing."""


@pytest.fixture
def pod(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Pod:
    monkeypatch.setattr(download, "_DELAYS_SECONDS", (0.01,))
    monkeypatch.setattr(download, "_RETRY_SECONDS", 0.8)
    return Pod(tmp_path, store)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("key", ["model.onnx", "a/b c/ü+%20.onnx"])
def test_an_object_is_fetched_whatever_its_key(pod: Pod, key: str) -> None:
    assert pod.fetch(pod.store.put(key, MODEL), digest(MODEL)) is None
    assert (pod.folder / "model.onnx").read_bytes() == MODEL


def test_a_large_object_comes_whole(pod: Pod) -> None:
    # Two models in one: protobuf readers merge them, and so does the guard.
    large = MODEL + onnx_models.model([], [], [], doc_string="x" * 30_000_000).SerializeToString()
    assert pod.fetch(pod.store.put("large.onnx", large), digest(large)) is None


def test_an_object_that_is_not_there_is_said_not_to_be_there(pod: Pod) -> None:
    message = pod.fetch("s3://models/nothing.onnx", digest(MODEL))
    assert message == TerminationMessage(
        reason=Reason.SOURCE_NOT_FOUND,
        message="there is no s3://models/nothing.onnx: NoSuchKey: The specified key does not exist.",
        permanent=True,
    )


def test_a_bucket_that_is_not_there_is_said_not_to_be_there(pod: Pod) -> None:
    message = pod.fetch("s3://no-such-bucket/model.onnx", digest(MODEL))
    assert message is not None
    assert message.reason is Reason.SOURCE_NOT_FOUND


@pytest.mark.parametrize(
    "secret", [{"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, {"AWS_ACCESS_KEY_ID": "nobody"}, {"AWS_ACCESS_KEY_ID": ""}]
)
def test_wrong_or_no_credentials_are_told_and_not_shown(pod: Pod, secret: dict[str, str]) -> None:
    message = pod.fetch(pod.store.put("model.onnx", MODEL), digest(MODEL), **secret)
    assert message is not None
    assert (message.reason, message.permanent) == (Reason.SOURCE_FORBIDDEN, True)
    assert "s3://models/model.onnx may not be read with" in message.message
    assert SECRET not in message.message
    assert "wrong-secret" not in message.message


def test_a_store_that_is_down_is_unavailable(pod: Pod) -> None:
    message = pod.fetch("s3://models/model.onnx", digest(MODEL), AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert message is not None
    assert (message.reason, message.permanent) == (Reason.SOURCE_UNAVAILABLE, False)


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("http://169.254.169.254", Reason.SOURCE_FORBIDDEN),
        ("ftp://host", Reason.INVALID_CONFIGURATION),
        ("host:9000", Reason.INVALID_CONFIGURATION),
    ],
)
def test_an_endpoint_where_no_store_may_be_is_refused(pod: Pod, endpoint: str, reason: Reason) -> None:
    message = pod.fetch("s3://models/model.onnx", digest(MODEL), AWS_ENDPOINT_URL=endpoint)
    assert message is not None
    assert (message.reason, message.permanent) == (reason, True)
