"""Whatever a client of an object store does, its connections end at allowed addresses only."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.penstock_server.fetch.rig import MODEL, Pod, Web

from penstock_contract.termination import Reason
from penstock_server.fetch.checking_proxy import CheckingProxy

DATE = {"Last-Modified": "Sat, 21 Nov 2026 12:00:00 GMT"}


@pytest.fixture
async def proxy() -> AsyncIterator[tuple[CheckingProxy, int]]:
    made = CheckingProxy()
    async with made.running() as url:
        yield made, int(url.rpartition(":")[2])


async def ask(port: int, request: bytes) -> bytes:
    """Send bytes, and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_plain_request_is_passed_on_as_the_store_expects_it(proxy: tuple[CheckingProxy, int], web: Web) -> None:
    host = web.url.removeprefix("http://")
    web.answer("/b/k", b"content")
    request = f"GET {web.url}/b/k?x=1 HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: no\r\nX-Kept: yes\r\n\r\n"
    answer = await ask(proxy[1], request.encode())
    assert answer.startswith(b"HTTP/1.0 200")
    assert answer.endswith(b"\r\n\r\ncontent")
    [(path, headers)] = web.requests
    assert path == "/b/k?x=1"
    assert headers == {"Host": host, "X-Kept": "yes", "Connection": "close"}


async def test_a_tunnel_carries_what_is_sent(proxy: tuple[CheckingProxy, int], web: Web) -> None:
    """As for TLS, of which the proxy sees nothing."""
    host = web.url.removeprefix("http://")
    web.answer("/b/k", b"content")
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
    writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\n\r\n"
    writer.write(f"GET /b/k HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    assert (await reader.read()).endswith(b"content")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "request_line",
    [
        "CONNECT 169.254.169.254:443 HTTP/1.1",
        "GET http://169.254.169.254/latest/meta-data HTTP/1.1",
        "GET http://[fd00:ec2::254]/ HTTP/1.1",
        "GET http://2852039166/ HTTP/1.1",
        "CONNECT 0.0.0.0:80 HTTP/1.1",
    ],
)
async def test_an_address_that_is_refused_is_not_connected(proxy: tuple[CheckingProxy, int], request_line: str) -> None:
    answer = await ask(proxy[1], f"{request_line}\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert proxy[0].refused is not None
    assert proxy[0].refused.reason is Reason.SOURCE_FORBIDDEN


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 502 "),
        (b"GET http://host:port/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 403 "),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 "),
        (b"x" * 200_000, b""),
    ],
)
async def test_what_cannot_be_done_ends_the_connection_only(
    proxy: tuple[CheckingProxy, int], request_bytes: bytes, answer: bytes
) -> None:
    try:
        told = await ask(proxy[1], request_bytes)
    except ConnectionError:
        told = b""  # it hung up before everything was sent
    assert told.startswith(answer) or not answer
    assert (await ask(proxy[1], b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    ("uri", "keys"),
    [
        ("s3://models/m.onnx", {"AWS_ENDPOINT_URL": "{web}"}),
        ("gs://models/m.onnx", {"GOOGLE_ENDPOINT_URL": "{web}"}),
        ("az://models/m.onnx", {"AZURE_ENDPOINT_URL": "{web}", "AZURE_STORAGE_ACCOUNT_NAME": "account"}),
    ],
)
def test_a_store_that_redirects_to_a_metadata_service_is_not_followed(
    pod: Pod, web: Web, uri: str, keys: dict[str, str]
) -> None:
    web.answer("/models/m.onnx", status=307, headers={"Location": "http://169.254.169.254/latest/meta-data"})
    secret = pod.secret(**{name: value.format(web=web.url) for name, value in keys.items()})
    message = pod.refused(uri, **secret)
    assert (message.reason, message.permanent) == (Reason.SOURCE_FORBIDDEN, True)
    assert "169.254.169.254 is 169.254.169.254, a link-local or metadata address" in message.message


def test_a_store_that_redirects_to_another_host_gets_no_credentials_there(pod: Pod, web: Web) -> None:
    other = web.url.replace("127.0.0.1", "localhost")
    web.answer("/models/m.onnx", status=307, headers={"Location": f"{other}/there"})
    web.answer("/there", MODEL, headers={**DATE, "ETag": '"v1"'})
    keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-test", "AWS_ENDPOINT_URL": web.url}
    assert pod.fetch("s3://models/m.onnx", **pod.secret(**keys)) == 0
    assert "Authorization" in web.asked("/models/m.onnx")[0]
    assert "Authorization" not in web.asked("/there")[0]
