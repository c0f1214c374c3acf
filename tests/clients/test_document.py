"""Schemathesis, which makes up requests from the OpenAPI document that the server gives of itself."""

import subprocess
from pathlib import Path

import pytest
from tests.clients.environments import programs_of
from tests.conformance.exchange import Target
from tests.conformance.subjects import Servers

from penstock_server import openapi

SECONDS_MAX = 8


@pytest.mark.parametrize("model", ["identity_fp32", "sum_and_difference", "text"])
def test_requests_made_up_from_the_document_are_answered_as_it_says(
    servers: Servers, tmp_path: Path, model: str
) -> None:
    target = servers.target(model)
    command = [
        *(str(programs_of("schemathesis") / "schemathesis"), "run"),
        f"http://{target.host}:{target.port}{openapi.DOCUMENT_PATH}",
        *("--max-time", str(SECONDS_MAX), "--seed", "1", "--mode", "all", "--phases", "examples,coverage,fuzzing"),
        # That data has as many elements as its shape says is beyond a schema: a valid request may be refused.
        *("--exclude-checks", "positive_data_acceptance", "--continue-on-failure", "--no-color"),
        *("--suppress-health-check", "all", "--warnings", "off"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS_MAX * 6, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_path_of_the_document_is_there(everything: Target) -> None:
    document = everything.ask("GET", openapi.DOCUMENT_PATH).answer()
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            body = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            reply = everything.infer(body, path=path) if method == "post" else everything.ask("GET", path)
            assert reply.status == 200, (method, path, reply)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_page_comes_with_its_policy(arithmetic: Target, method: str) -> None:
    reply = arithmetic.ask(method, openapi.PAGE_PATH)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; script-src 'sha256-")
    assert reply.body == (openapi.page() if method == "GET" else b"")
