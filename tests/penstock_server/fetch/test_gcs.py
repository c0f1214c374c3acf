"""Models in Google's object store: fake-gcs-server on loopback.

PENSTOCK_FAKE_GCS_SERVER names its binary; `make test` builds it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.penstock_server.fetch.processes import binary, free_port, running
from tests.penstock_server.fetch.rig import MODEL, Pod, Web, breaking, sha256

from penstock_contract.environment import ExtraFile
from penstock_contract.termination import Reason


@dataclass
class Store:
    """A running store whose buckets are folders."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder, port = tmp_path_factory.mktemp("gcs"), free_port()
    data = folder / "data" / "models"
    (data / "fraud").mkdir(parents=True)
    (data / "fraud" / "model.onnx").write_bytes(MODEL)
    (data / "fraud" / "labels.txt").write_text("no\nyes\n")
    (data / "fraud" / "profile.json").write_text("{}")
    command = [binary("fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    url = f"http://127.0.0.1:{port}"
    stores = ["-backend", "memory", "-data", str(folder / "data"), "-public-host", f"127.0.0.1:{port}"]
    with running([*command, *stores, "-external-url", url], port, folder / "log"):
        yield Store(url, folder)


def key_file(**fields: object) -> str:
    return json.dumps({"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True, **fields})


def test_a_model_and_what_lies_beside_it_are_fetched(pod: Pod, store: Store) -> None:
    secret = pod.secret(GOOGLE_SERVICE_ACCOUNT_KEY=key_file(), GOOGLE_ENDPOINT_URL=store.url)
    labels = ExtraFile(path="labels.txt", sha256=sha256(b"no\nyes\n"))
    assert pod.fetch("gs://models/fraud/model.onnx", sha256(MODEL), labels, **secret) == 0
    assert pod.model.read_bytes() == MODEL
    assert pod.beside("labels.txt").read_text() == "no\nyes\n"
    assert pod.beside("profile.json").read_text() == "{}"


def test_the_key_file_may_say_where_the_store_is(pod: Pod, store: Store) -> None:
    secret = pod.secret(**{"gcloud-application-credentials.json": key_file(gcs_base_url=store.url)})
    assert pod.fetch("gs://models/fraud/model.onnx", **secret) == 0


def test_a_public_bucket_needs_no_key(pod: Pod, store: Store) -> None:
    assert pod.fetch("gs://models/fraud/model.onnx", **pod.secret(GOOGLE_ENDPOINT_URL=store.url)) == 0


@pytest.mark.parametrize("uri", ["gs://models/fraud/none.onnx", "gs://nothing/model.onnx"])
def test_what_is_not_there_is_said_not_to_be_there(pod: Pod, store: Store, uri: str) -> None:
    message = pod.refused(uri, **pod.secret(GOOGLE_ENDPOINT_URL=store.url))
    assert (message.reason, message.permanent) == (Reason.SOURCE_NOT_FOUND, True)
    assert f"there is no {uri}" in message.message


@pytest.mark.parametrize("key", ["{}", "[]", "not JSON", '{"type": "authorized_user"}'])
def test_a_key_that_is_none_is_told(pod: Pod, key: str) -> None:
    message = pod.refused("gs://models/m.onnx", **pod.secret(GOOGLE_SERVICE_ACCOUNT_KEY=key))
    assert message.reason is Reason.INVALID_CONFIGURATION
    assert "must be the JSON key file of a Google service account" in message.message


def test_a_key_file_does_not_lead_to_a_metadata_service(pod: Pod) -> None:
    key = key_file(gcs_base_url="http://169.254.169.254")
    message = pod.refused("gs://models/m.onnx", **pod.secret(GOOGLE_SERVICE_ACCOUNT_KEY=key))
    assert message.reason is Reason.SOURCE_FORBIDDEN


def test_a_private_key_is_shown_nowhere(pod: Pod, web: Web) -> None:
    key = key_file(private_key="-----BEGIN PRIVATE KEY-----secret")
    web.answer("/models/m.onnx", b"-----BEGIN PRIVATE KEY-----secret", status=400)
    secret = pod.secret(GOOGLE_SERVICE_ACCOUNT_KEY=key, GOOGLE_ENDPOINT_URL=web.url)
    message = pod.refused("gs://models/m.onnx", **secret)
    assert "BEGIN PRIVATE KEY" not in message.message + json.dumps(pod.lines)


def test_an_object_that_breaks_off_goes_on_where_it_ended(pod: Pod, web: Web) -> None:
    large = MODEL + b"\x32\x80\x80\xc0\x01" + b"x" * 3_145_728  # a doc_string of three megabytes
    web.behave("/models/m.onnx", breaking(large, every=2_000_000))
    assert pod.fetch("gs://models/m.onnx", sha256(large), **pod.secret(GOOGLE_ENDPOINT_URL=web.url)) == 0
    first, *_, last = web.asked("/models/m.onnx")
    assert "Range" not in first
    assert last["If-Match"] == '"v1"'
    assert int(last["Range"].removeprefix("bytes=").removesuffix("-")) > 1_000_000


def test_a_store_that_knows_no_ranges_is_read_from_the_start_again(pod: Pod, web: Web) -> None:
    large = MODEL + b"\x32\x80\x80\xc0\x01" + b"x" * 3_145_728
    attempts = iter([2_000_000])

    def reply(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        return breaking(large, every=next(attempts, len(large)), ranges=False)(path, headers)

    web.behave("/models/m.onnx", reply)
    assert pod.fetch("gs://models/m.onnx", sha256(large), **pod.secret(GOOGLE_ENDPOINT_URL=web.url)) == 0


def test_an_object_that_is_replaced_meanwhile_is_fetched_anew(pod: Pod, web: Web) -> None:
    large = MODEL + b"\x32\x80\x80\xc0\x01" + b"x" * 3_145_728
    attempts = 0

    def reply(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            return breaking(b"o" * len(large), every=2_000_000, tag='"old"')(path, headers)
        if "If-Match" in headers:
            return 412, {}, b""
        return breaking(large, every=len(large), tag='"new"')(path, headers)

    web.behave("/models/m.onnx", reply)
    assert pod.fetch("gs://models/m.onnx", sha256(large), **pod.secret(GOOGLE_ENDPOINT_URL=web.url)) == 0
    assert attempts == 3
