"""HTTP itself: paths, parse errors, sizes, connections; every error has the protocol's form."""

import contextlib
import json
import socket
from http.client import HTTPConnection, HTTPResponse

import pytest
from tests.conformance.exchange import TIMEOUT_SECONDS, Target

GOOD = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}).encode()


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1", "/v2/x", "/v2/health", "/v2/health/", "/v2/health/live/", "/v2/health/LIVE", "/V2", "//v2"),
        *("/v2/models/identity_fp32/", "/v2/models/identity_fp32/infer/", "/v2/models/identity_fp32/predict"),
        *("/v2/models/identity_fp32/versions", "/v2/models/identity_fp32/versions/", "/v2/models//infer"),
        *("/v2/models/identity_fp32/versions/3/x", "/v2/../etc/passwd", "/v2/%2e%2e/", "/%00", "/v2/models/%ff/ready"),
        *("/v1/models/identity_fp32:predict", "/favicon.ico", "/v2/" + "a" * 4000),
    ],
    ids=lambda path: path[:40],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_nowhere_is_not_found(fp32: Target, method: str, path: str) -> None:
    path = path.replace("identity_fp32", fp32.model)
    fp32.ask(method, path, b"{}" if method == "POST" else None).error(404, 405)


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\r\n\r\nnonsense\r\n\r\n", id="no request line"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100 + b"\r\n\r\n", id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 without a word"),
        pytest.param(head("GET"), id="a method alone"),
        pytest.param(head("GET /v2 HTTP/9.9", "Host: x"), id="a version of the future"),
        pytest.param(head("GET /v2 HTTX/1.1", "Host: x"), id="another protocol"),
        pytest.param(head("GET /v2 x HTTP/1.1", "Host: x"), id="a space in the path"),
        pytest.param(head("G(T /v2 HTTP/1.1", "Host: x"), id="a method that is no token"),
        pytest.param(head("GET /v2 HTTP/1.1", "no colon"), id="a header without a colon"),
        pytest.param(head("GET /v2 HTTP/1.1", "Host: x", "bad name: 1"), id="a header name with a space"),
        pytest.param(head("GET /v2 HTTP/1.1", "Host: x", "X: a\0b"), id="a header with a nul"),
        pytest.param(head("GET /v2 HTTP/1.1", "Host: x", "X: " + "a" * 100_000), id="a header too long"),
        pytest.param(head("GET /" + "a" * 100_000 + " HTTP/1.1", "Host: x"), id="a path too long"),
        pytest.param(head("POST /v2 HTTP/1.1", "Host: x", "Content-Length: -1"), id="a negative length"),
        pytest.param(head("POST /v2 HTTP/1.1", "Host: x", "Content-Length: x"), id="a length that is no number"),
        pytest.param(head("POST /v2 HTTP/1.1", "Host: x", "Content-Length: 1", "Content-Length: 2"), id="two lengths"),
        pytest.param(
            head("POST /v2 HTTP/1.1", "Host: x", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
            id="a length and chunks",
        ),
        pytest.param(head("POST /v2 HTTP/1.1", "Host: x", "Transfer-Encoding: rot13"), id="an unknown encoding"),
    ],
)
def test_what_the_parser_gives_up_on_is_told_in_json(fp32: Target, text: bytes) -> None:
    fp32.say(text).error(400, 404, 405, 408, 411, 413, 414, 431, 501, 505)


def test_a_chunk_that_cannot_be_read_is_told_in_json(fp32: Target) -> None:
    text = (
        head(f"POST {fp32.path('infer')} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n"
    )
    fp32.say(text).error(400)


def test_a_body_in_chunks_is_taken(fp32: Target) -> None:
    parts = [GOOD[:10], GOOD[10:11], GOOD[11:]]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    text = head(f"POST {fp32.path('infer')} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked") + chunks
    assert fp32.say(text).answer()["outputs"][0]["data"] == [1.0, 2.0]


def test_a_client_that_waits_for_leave_to_send_gets_it(fp32: Target) -> None:
    length = f"Content-Length: {len(GOOD)}"
    text = head(f"POST {fp32.path('infer')} HTTP/1.1", "Host: x", length, "Expect: 100-continue")
    with socket.create_connection((fp32.host, fp32.port), timeout=TIMEOUT_SECONDS) as plain:
        plain.sendall(text)
        assert plain.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        plain.sendall(GOOD)
        response = HTTPResponse(plain)
        response.begin()
        assert (response.status, json.loads(response.read())["outputs"][0]["data"]) == (200, [1.0, 2.0])
        response.close()


@pytest.mark.parametrize("size", [33 * 1024 * 1024, 2**40])
def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(fp32: Target, size: int) -> None:
    text = head(f"POST {fp32.path('infer')} HTTP/1.1", "Host: x", f"Content-Length: {size}", "Expect: 100-continue")
    fp32.say(text).error(413)


def test_a_body_that_grows_too_large_is_refused(fp32: Target) -> None:
    body = b" " * (32 * 1024 * 1024 + 1)
    text = head(f"POST {fp32.path('infer')} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}")
    with socket.create_connection((fp32.host, fp32.port), timeout=TIMEOUT_SECONDS) as plain:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have seen enough
            plain.sendall(text + body)
        response = HTTPResponse(plain)
        response.begin()
        assert response.status == 413
        assert json.loads(response.read())["error"]
        response.close()


def test_a_client_that_closes_in_the_middle_of_its_body_harms_nobody(fp32: Target) -> None:
    with socket.create_connection((fp32.host, fp32.port), timeout=TIMEOUT_SECONDS) as plain:
        plain.sendall(head(f"POST {fp32.path('infer')} HTTP/1.1", "Host: x", "Content-Length: 1000") + GOOD)
    assert fp32.infer(GOOD).status == 200


def test_a_connection_is_kept_for_the_next_request(fp32: Target) -> None:
    connection = HTTPConnection(fp32.host, fp32.port, timeout=TIMEOUT_SECONDS)
    connection.connect()
    local = connection.sock.getsockname()
    for _ in range(3):
        connection.request("POST", fp32.path("infer"), GOOD)
        response = connection.getresponse()
        assert (response.status, len(response.read()) > 0) == (200, True)
        assert connection.sock is not None
        assert connection.sock.getsockname() == local
    connection.close()


def test_a_refusal_keeps_the_connection_as_well(fp32: Target) -> None:
    connection = HTTPConnection(fp32.host, fp32.port, timeout=TIMEOUT_SECONDS)
    connection.connect()
    local = connection.sock.getsockname()
    for body, status in ((b"{}", 400), (GOOD, 200)):
        connection.request("POST", fp32.path("infer"), body)
        response = connection.getresponse()
        assert (response.status, len(response.read()) > 0) == (status, True)
    assert connection.sock.getsockname() == local
    connection.close()


def test_requests_sent_one_behind_the_other_are_answered_in_order(fp32: Target) -> None:
    requests = []
    for name in ("1", "2", "3"):
        body = json.dumps({"id": name, **json.loads(GOOD)}).encode()
        close = "close" if name == "3" else "keep-alive"
        requests.append(
            head(
                f"POST {fp32.path('infer')} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", f"Connection: {close}"
            )
            + body
        )
    with socket.create_connection((fp32.host, fp32.port), timeout=TIMEOUT_SECONDS) as plain:
        plain.sendall(b"".join(requests))
        received = b""
        while part := plain.recv(65536):
            received += part
    assert [received.find(f'"id":"{name}"'.encode()) for name in ("1", "2", "3")] == sorted(
        received.find(f'"id":"{name}"'.encode()) for name in ("1", "2", "3")
    )
    assert received.count(b"HTTP/1.1 200") == 3


def test_a_request_of_http_1_0_is_answered_and_the_connection_ends(fp32: Target) -> None:
    with socket.create_connection((fp32.host, fp32.port), timeout=TIMEOUT_SECONDS) as plain:
        plain.sendall(head("GET /v2/health/live HTTP/1.0"))
        received = b""
        while part := plain.recv(65536):
            received += part
    assert received.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))
    assert json.loads(received.partition(b"\r\n\r\n")[2])["live"] is True


def test_a_client_that_asks_for_the_end_of_the_connection_gets_it(fp32: Target) -> None:
    reply = fp32.ask("GET", "/v2/health/live", headers={"Connection": "close"})
    assert (reply.status, reply.headers.get("connection", "close").lower()) == (200, "close")


@pytest.mark.parametrize("header", ["X-Forwarded-For: ' OR 1=1", "Cookie: " + "a" * 3000, "Accept: image/png"])
def test_headers_that_do_not_concern_the_server_do_no_harm(fp32: Target, header: str) -> None:
    name, _, value = header.partition(": ")
    assert fp32.infer(GOOD, headers={name: value}).status == 200


def test_an_error_does_not_say_what_the_server_is_made_of(fp32: Target) -> None:
    reply = fp32.ask("GET", "/nowhere")
    reply.error(404)
    assert "aiohttp" not in str(reply).lower()
    assert "traceback" not in str(reply).lower()
