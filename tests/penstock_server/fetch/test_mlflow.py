"""Models in an MLflow registry: a real server on loopback, and a scripted one for what a real one never does."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from tests.clients.environments import mlflow as mlflow_python
from tests.penstock_server import onnx_models
from tests.penstock_server.fetch.processes import free_port, running
from tests.penstock_server.fetch.rig import MODEL, Pod, Web, sha256

from penstock_contract.environment import ExtraFile
from penstock_contract.termination import Reason

#: More than the kilobyte from which on MLflow puts weights into a file of their own.
WEIGHTS = np.arange(1000, dtype=np.float32)


@dataclass
class Mlflow:
    """A running server, and what MLflow made of the models: digests by path, in the order of their versions."""

    url: str
    fraud: list[dict[str, str]]
    heavy: dict[str, str]


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    python = str(mlflow_python())
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    url = f"http://127.0.0.1:{port}"
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
    # Processes of its own for jobs that nobody here asks for.
    quiet["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with running([*command, *stores], port, folder / "log", env=quiet, seconds=180):
        yield _registered(python, url, folder, quiet)


def _registered(python: str, url: str, folder: Path, env: dict[str, str]) -> Mlflow:
    files = {"one": onnx_models.identity("FP32", [None]), "two": onnx_models.logarithm(), "heavy": _heavy()}
    for name, model in files.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    script = str(Path(__file__).parent / "mlflow_models.py")
    named = [f"fraud={folder}/one.onnx", f"fraud={folder}/two.onnx", f"heavy={folder}/heavy.onnx"]
    done = subprocess.run(
        [python, script, url, *named],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second, heavy = json.loads(done.stdout.splitlines()[-1])
    return Mlflow(url=url, fraud=[first, second], heavy=heavy)


def _heavy() -> Any:
    return onnx_models.model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [onnx_models.tensor("x", "FP32", [1000])],
        [onnx_models.tensor("y", "FP32", [1000])],
        initializer=[numpy_helper.from_array(WEIGHTS, "w")],
    )


def server(pod: Pod, url: str, **keys: str) -> dict[str, str]:
    return pod.secret(MLFLOW_TRACKING_URI=url, **keys)


# --- a real server ---


def test_a_version_of_a_registered_model_is_fetched(pod: Pod, mlflow: Mlflow) -> None:
    for version in (1, 2):
        digest = mlflow.fraud[version - 1]["model.onnx"]
        assert pod.fetch(f"models:/fraud/{version}", digest, **server(pod, mlflow.url)) == 0
        assert sha256(pod.model.read_bytes()) == digest
    assert mlflow.fraud[0]["model.onnx"] != mlflow.fraud[1]["model.onnx"]


def test_an_alias_leads_to_its_version(pod: Pod, mlflow: Mlflow) -> None:
    digest = mlflow.fraud[0]["model.onnx"]
    assert pod.fetch("models:/fraud@champion", digest, **server(pod, mlflow.url)) == 0


def test_an_alias_that_has_moved_on_is_found_out_by_the_digest(pod: Pod, mlflow: Mlflow) -> None:
    digest = mlflow.fraud[1]["model.onnx"]
    message = pod.refused("models:/fraud@champion", digest, **server(pod, mlflow.url))
    assert message.reason is Reason.CHECKSUM_MISMATCH


def test_weights_that_mlflow_put_into_another_file_come_along(pod: Pod, mlflow: Mlflow) -> None:
    [weights] = set(mlflow.heavy) - set(mlflow.fraud[0])
    files = ExtraFile(path=weights, sha256=mlflow.heavy[weights])
    assert pod.fetch("models:/heavy/1", mlflow.heavy["model.onnx"], files, **server(pod, mlflow.url)) == 0
    session = onnxruntime.InferenceSession(str(pod.model), providers=["CPUExecutionProvider"])
    assert np.array_equal(session.run(None, {"x": np.zeros(1000, np.float32)})[0], WEIGHTS)


@pytest.mark.parametrize("uri", ["models:/fraud/9", "models:/nobody/1", "models:/fraud@nobody", "models:/nobody@x"])
def test_what_is_not_registered_is_said_not_to_be_there(pod: Pod, mlflow: Mlflow, uri: str) -> None:
    message = pod.refused(uri, **server(pod, mlflow.url))
    assert (message.reason, message.permanent) == (Reason.SOURCE_NOT_FOUND, True)
    assert message.message.startswith(f"there is no {uri} at http://127.0.0.1")
    assert "not found" in message.message


def test_a_file_that_the_version_does_not_have_is_said_not_to_be_there(pod: Pod, mlflow: Mlflow) -> None:
    message = pod.refused("models:/fraud/1#other.onnx", **server(pod, mlflow.url))
    assert message.reason is Reason.SOURCE_NOT_FOUND


# --- a scripted server ---

DOWNLOAD = "/api/2.0/mlflow/model-versions/get-download-uri"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def place(web: Web, uri: str) -> str:
    """Say where the files of every version are."""
    web.answer(DOWNLOAD, json.dumps({"artifact_uri": uri}).encode())
    return web.url


@pytest.mark.parametrize(
    ("keys", "header"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "t0k3n"}, "Bearer t0k3n"),
        ({"MLFLOW_TRACKING_USERNAME": "anna", "MLFLOW_TRACKING_PASSWORD": "pw"}, "Basic YW5uYTpwdw=="),
        ({}, None),
    ],
)
def test_the_server_and_its_proxy_get_the_credentials(
    pod: Pod, web: Web, keys: dict[str, str], header: str | None
) -> None:
    url = place(web, "mlflow-artifacts:/1/models/m-1/artifacts")
    web.answer(f"{ARTIFACTS}/1/models/m-1/artifacts/model.onnx", MODEL)
    assert pod.fetch("models:/risk%20team/3", **server(pod, url, **keys)) == 0
    assert {headers.get("Authorization") for _, headers in web.requests} == {header}
    assert web.requests[0][0] in {f"{DOWNLOAD}?name=risk+team&version=3", f"{DOWNLOAD}?name=risk%20team&version=3"}


def test_another_host_in_the_answer_does_not_get_the_credentials(pod: Pod, web: Web) -> None:
    url = place(web, f"{web.url.replace('127.0.0.1', 'localhost')}/elsewhere")
    web.answer("/elsewhere/model.onnx", MODEL)
    secret = server(pod, url, MLFLOW_TRACKING_TOKEN="t0k3n", token="other")
    assert pod.fetch("models:/fraud/3", **secret) == 0
    assert [headers.get("Authorization") for headers in web.asked("/elsewhere/model.onnx")] == [None]


def test_a_proxy_of_another_name_is_asked_through_the_server_itself(pod: Pod, web: Web) -> None:
    url = place(web, "mlflow-artifacts://evil.example/1/artifacts")
    web.answer(f"{ARTIFACTS}/1/artifacts/model.onnx", MODEL)
    assert pod.fetch("models:/fraud/3", **server(pod, url)) == 0


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("file:///mlruns/1", "which only the MLflow server can reach; start it with --serve-artifacts"),
        ("/mlruns/1", "which only the MLflow server can reach"),
        ("dbfs:/models/1", "which only the MLflow server can reach"),
        ("http://169.254.169.254/latest", "a link-local or metadata address"),
        ("wasbs://models@account.blob.core.windows.net/1", "az:// needs AZURE_STORAGE_ACCOUNT_NAME"),
        ("", "MLflow does not say where its files are"),
    ],
)
def test_files_where_we_cannot_or_must_not_go_are_told(pod: Pod, web: Web, uri: str, says: str) -> None:
    message = pod.refused("models:/fraud/3", **server(pod, place(web, uri)))
    assert message.permanent
    assert says in message.message


def test_an_alias_without_a_version_is_told(pod: Pod, web: Web) -> None:
    web.answer("/api/2.0/mlflow/registered-models/alias", b"{}")
    message = pod.refused("models:/fraud@champion", **server(pod, web.url))
    assert "names no version for this alias" in message.message


def test_what_the_server_says_against_the_request_is_told(pod: Pod, web: Web) -> None:
    web.answer(DOWNLOAD, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "name is\\nodd"}', status=400)
    message = pod.refused("models:/fraud/3", **server(pod, web.url))
    assert (message.reason, message.permanent) == (Reason.SOURCE_UNAVAILABLE, True)
    assert message.message == "models:/fraud/3: MLflow refuses the request: name is odd"


@pytest.mark.parametrize("url", ["", "sqlite:///mlflow.db", "http://"])
def test_without_the_url_of_a_server_there_is_no_registry(pod: Pod, url: str) -> None:
    message = pod.refused("models:/fraud/3", **server(pod, url, token="x"))
    assert message.reason is Reason.INVALID_CONFIGURATION
    assert "needs MLFLOW_TRACKING_URI, an http(s) URL" in message.message
