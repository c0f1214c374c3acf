"""Health: what probes and clients that wait for a server read."""

from collections.abc import Callable

import pytest
from tests.conformance.exchange import Target

Served = Callable[[str], Target]


def test_a_server_that_runs_is_live(fp32: Target) -> None:
    assert fp32.ask("GET", "/v2/health/live").answer()["live"] is True


def test_a_server_that_serves_is_ready(fp32: Target) -> None:
    assert fp32.ask("GET", "/v2/health/ready").answer()["ready"] is True


def test_the_ready_answer_also_says_live_as_the_specification_prints_it(fp32: Target) -> None:
    assert fp32.ask("GET", "/v2/health/ready").answer()["live"] is True


def test_a_model_that_is_served_is_ready_by_name(fp32: Target) -> None:
    assert fp32.ask("GET", fp32.path("ready")).answer() == {"name": fp32.model, "ready": True}


def test_a_version_that_is_served_is_ready(fp32: Target) -> None:
    assert fp32.ask("GET", fp32.path("ready", version=fp32.version)).answer()["ready"] is True


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2", "/v2/"])
def test_a_head_request_is_answered_without_a_body(fp32: Target, path: str) -> None:
    reply = fp32.ask("HEAD", path)
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_a_query_does_not_change_what_is_asked(fp32: Target, path: str) -> None:
    assert fp32.ask("GET", f"{path}?probe=1&x=%20").status == 200


@pytest.mark.parametrize("call", ["ready", "", "infer"])
@pytest.mark.parametrize("model", ["unknown", "identity_fp3", "IDENTITY_FP32", "%20", "..%2f..%2fetc"])
def test_an_unknown_model_is_not_found(fp32: Target, call: str, model: str) -> None:
    method = "POST" if call == "infer" else "GET"
    body = b"{}" if call == "infer" else None
    path = f"/v2/models/{model}" + (f"/{call}" if call else "")
    fp32.ask(method, path, body).error(404)


@pytest.mark.parametrize("call", ["ready", "", "infer"])
@pytest.mark.parametrize("version", ["99", "3.0", "latest", "-1"])
def test_an_unknown_version_is_not_found(fp32: Target, call: str, version: str) -> None:
    method = "POST" if call == "infer" else "GET"
    body = b"{}" if call == "infer" else None
    fp32.ask(method, fp32.path(call, version=version), body).error(404)


@pytest.mark.parametrize("call", ["ready", "", "infer"])
def test_a_version_of_a_model_without_versions_is_not_found(served: Served, call: str) -> None:
    target = served("scalar")
    if target.version:
        pytest.skip("this server gives every model a version")
    method = "POST" if call == "infer" else "GET"
    target.ask(method, target.path(call, version="1"), b"{}" if call == "infer" else None).error(404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, path)
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")
        for path in ("/v2/health/live", "/v2/health/ready", "/v2", "/v2/models/identity_fp32/ready")
        if (method, path) != ("POST", "/v2/models/identity_fp32/ready")
    ],
)
def test_a_method_that_a_call_does_not_take_is_refused(fp32: Target, method: str, path: str) -> None:
    path = path.replace("identity_fp32", fp32.model)
    reply = fp32.ask(method, path, b"" if method in {"POST", "PUT", "PATCH"} else None)
    reply.error(405)
    assert "GET" in reply.headers["allow"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_inference_takes_nothing_but_post(fp32: Target, method: str) -> None:
    reply = fp32.ask(method, fp32.path("infer"))
    reply.error(405)
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("method", ["BREW", "PROPFIND", "get"])
def test_a_method_that_nobody_knows_is_refused(fp32: Target, method: str) -> None:
    fp32.ask(method, "/v2").error(400, 405, 501)
