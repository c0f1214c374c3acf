"""Models in Azure's object store: what is asked of it and how its answers are understood, by a scripted server."""

import pytest
from tests.penstock_server.fetch.rig import MODEL, Pod, Web

from penstock_contract.termination import Reason

ACCOUNT = "penstocktest"
KEY = "c2VjcmV0LW9mLXRoZS10ZXN0LWFjY291bnQ="
BLOB = f"/{ACCOUNT}/models/fraud/model.onnx"
URI = "az://models/fraud/model.onnx"
MARKS = {"ETag": '"0x8DCAFE"', "Last-Modified": "Sat, 21 Nov 2026 12:00:00 GMT"}


def account(pod: Pod, web: Web, **keys: str) -> dict[str, str]:
    return pod.secret(AZURE_STORAGE_ACCOUNT_NAME=ACCOUNT, AZURE_ENDPOINT_URL=f"{web.url}/{ACCOUNT}", **keys)


def problem(code: str, message: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return f'\ufeff<?xml version="1.0" encoding="utf-8"?>{body}'.encode()


def test_a_blob_is_asked_for_with_the_key_of_its_account(pod: Pod, web: Web) -> None:
    web.answer(BLOB, MODEL, headers=MARKS)
    assert pod.fetch(URI, **account(pod, web, AZURE_STORAGE_ACCOUNT_KEY=KEY)) == 0
    [asked] = web.asked(BLOB)
    assert asked["Authorization"].startswith(f"SharedKey {ACCOUNT}:")


def test_a_blob_is_asked_for_with_a_shared_access_signature(pod: Pod, web: Web) -> None:
    web.answer(BLOB, MODEL, headers=MARKS)
    assert pod.fetch(URI, **account(pod, web, AZURE_STORAGE_SAS_TOKEN="sv=2026&sig=s3cr3t")) == 0
    assert web.requests[0][0].partition("?")[2] == "sv=2026&sig=s3cr3t"


def test_without_keys_a_blob_is_asked_for_as_a_public_one(pod: Pod, web: Web) -> None:
    web.answer(BLOB, MODEL, headers=MARKS)
    assert pod.fetch(URI, **account(pod, web)) == 0
    [asked] = web.asked(BLOB)
    assert "Authorization" not in asked


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (404, "BlobNotFound", Reason.SOURCE_NOT_FOUND),
        (404, "ContainerNotFound", Reason.SOURCE_NOT_FOUND),
        (403, "AuthenticationFailed", Reason.SOURCE_FORBIDDEN),
        (401, "NoAuthenticationInformation", Reason.SOURCE_FORBIDDEN),
        (503, "ServerBusy", Reason.SOURCE_UNAVAILABLE),
    ],
)
def test_what_the_store_says_is_told_in_its_words(pod: Pod, web: Web, status: int, code: str, reason: Reason) -> None:
    passing = "\nRequestId:46b64803-34b0-4190-b728-29141e58653f\nTime:2026-11-21T15:42:39.738Z"
    web.answer(BLOB, problem(code, f"Words of the store.{passing}"), status=status)
    message = pod.refused(URI, **account(pod, web, AZURE_STORAGE_ACCOUNT_KEY=KEY))
    assert message.reason is reason
    assert URI in message.message
    assert message.message.endswith(f"{code}: Words of the store.")
    assert KEY not in message.message


def test_an_account_must_be_named(pod: Pod) -> None:
    message = pod.refused(URI, **pod.secret(AZURE_STORAGE_ACCOUNT_KEY=KEY))
    assert message.reason is Reason.INVALID_CONFIGURATION
    assert "az:// needs AZURE_STORAGE_ACCOUNT_NAME" in message.message


def test_a_key_that_is_none_is_told(pod: Pod, web: Web) -> None:
    message = pod.refused(URI, **account(pod, web, AZURE_STORAGE_ACCOUNT_KEY="not base64!"))
    assert message.reason is Reason.INVALID_CONFIGURATION
    assert "the Secret cannot be used" in message.message
    assert "not base64!" not in message.message


def test_an_endpoint_where_no_store_may_be_is_refused(pod: Pod) -> None:
    secret = pod.secret(AZURE_STORAGE_ACCOUNT_NAME=ACCOUNT, AZURE_ENDPOINT_URL="http://169.254.169.254/x")
    assert pod.refused(URI, **secret).reason is Reason.SOURCE_FORBIDDEN


def test_what_differs_at_each_attempt_is_not_told(pod: Pod, web: Web) -> None:
    """It would make a change of status of each attempt."""
    web.answer(BLOB, b"busy", status=500)
    message = pod.refused(URI, **account(pod, web))
    assert "Server returned non-2xx status code: 500" in message.message
    assert " in " not in message.message
