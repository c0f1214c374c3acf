"""Models in a real store of Azure's kind: Microsoft's own Azurite on loopback."""

from collections.abc import Iterator

import pytest
from tests.clients.environments import azurite
from tests.penstock_server import onnx_models
from tests.penstock_server.fetch.azure_account import Account
from tests.penstock_server.fetch.processes import free_port, running
from tests.penstock_server.fetch.rig import MODEL, Pod, sha256

from penstock_contract.environment import ExtraFile
from penstock_contract.termination import Reason

NAME, KEY = "penstocktest", "c2VjcmV0LW9mLXRoZS10ZXN0LWFjY291bnQ="
OTHER_KEY = "YW5vdGhlci1zZWNyZXQtYWx0b2dldGhlci1oZXJl"
LABELS = b"no\nyes\n"
NEXT_CENTURY, LAST_CENTURY = "2100-01-01T00:00:00Z", "1999-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder, port = tmp_path_factory.mktemp("azurite"), free_port()
    where = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command = [str(azurite()), *where, "--inMemoryPersistence", "--disableTelemetry", "--silent"]
    with running(command, port, folder / "log", env={"AZURITE_ACCOUNTS": f"{NAME}:{KEY}"}, seconds=60):
        made = Account(name=NAME, key=KEY, url=f"http://127.0.0.1:{port}/{NAME}")
        made.make_container("models")
        made.make_container("open", public=True)
        for container in ("models", "open"):
            made.put(container, "fraud/model.onnx", MODEL)
        made.put("models", "fraud/labels.txt", LABELS)
        made.put("models", "fraud/profile.json", b"{}")
        yield made


URI = "az://models/fraud/model.onnx"


def secret(pod: Pod, account: Account, **keys: str) -> dict[str, str]:
    return pod.secret(AZURE_STORAGE_ACCOUNT_NAME=NAME, AZURE_ENDPOINT_URL=account.url, **keys)


def test_a_model_and_what_lies_beside_it_are_fetched(pod: Pod, account: Account) -> None:
    labels = ExtraFile(path="labels.txt", sha256=sha256(LABELS))
    signed = secret(pod, account, AZURE_STORAGE_ACCOUNT_KEY=KEY)
    assert pod.fetch(URI, sha256(MODEL), labels, **signed) == 0
    assert pod.model.read_bytes() == MODEL
    assert pod.beside("labels.txt").read_bytes() == LABELS
    assert pod.beside("profile.json").read_text() == "{}"


def test_a_blob_is_fetched_whatever_its_name(pod: Pod, account: Account) -> None:
    uri = account.put("models", "a/b c/ü+%20.onnx", MODEL)
    assert pod.fetch(uri, **secret(pod, account, AZURE_STORAGE_ACCOUNT_KEY=KEY)) == 0


def test_a_large_blob_comes_whole(pod: Pod, account: Account) -> None:
    # Two models in one: protobuf readers merge them, and so does the guard.
    large = MODEL + onnx_models.model([], [], [], doc_string="x" * 20_000_000).SerializeToString()
    uri = account.put("models", "large.onnx", large)
    assert pod.fetch(uri, sha256(large), **secret(pod, account, AZURE_STORAGE_ACCOUNT_KEY=KEY)) == 0


def test_a_signature_given_away_is_as_good_as_the_key(pod: Pod, account: Account) -> None:
    token = account.signature("models", until=NEXT_CENTURY)
    assert pod.fetch(URI, **secret(pod, account, AZURE_STORAGE_SAS_TOKEN=token)) == 0


def test_a_public_container_needs_no_key(pod: Pod, account: Account) -> None:
    assert pod.fetch("az://open/fraud/model.onnx", **secret(pod, account)) == 0


@pytest.mark.parametrize(
    ("uri", "code"),
    [("az://models/none.onnx", "BlobNotFound"), ("az://nothing/model.onnx", "ContainerNotFound")],
)
def test_what_is_not_there_is_said_not_to_be_there(pod: Pod, account: Account, uri: str, code: str) -> None:
    message = pod.refused(uri, **secret(pod, account, AZURE_STORAGE_ACCOUNT_KEY=KEY))
    assert (message.reason, message.permanent) == (Reason.SOURCE_NOT_FOUND, True)
    assert f"there is no {uri}: {code}: " in message.message


def test_a_wrong_key_is_told_and_not_shown(pod: Pod, account: Account) -> None:
    message = pod.refused(URI, **secret(pod, account, AZURE_STORAGE_ACCOUNT_KEY=OTHER_KEY))
    assert (message.reason, message.permanent) == (Reason.SOURCE_FORBIDDEN, True)
    assert f"{URI} may not be read with" in message.message
    assert OTHER_KEY not in message.message


def test_a_signature_that_is_over_is_told_and_not_shown(pod: Pod, account: Account) -> None:
    token = account.signature("models", until=LAST_CENTURY)
    message = pod.refused(URI, **secret(pod, account, AZURE_STORAGE_SAS_TOKEN=token))
    assert (message.reason, message.permanent) == (Reason.SOURCE_FORBIDDEN, True)
    assert token.rpartition("sig=")[2] not in message.message


def test_a_private_container_is_not_open(pod: Pod, account: Account) -> None:
    message = pod.refused(URI, **secret(pod, account))
    assert f"{URI}" in message.message
    # What a stranger may not read is not there for him.
    assert message.reason in {Reason.SOURCE_FORBIDDEN, Reason.SOURCE_NOT_FOUND}


def test_a_model_with_another_digest_is_refused(pod: Pod, account: Account) -> None:
    message = pod.refused(URI, sha256(b"another"), **secret(pod, account, AZURE_STORAGE_ACCOUNT_KEY=KEY))
    assert message.permanent
    assert sha256(MODEL) in message.message
