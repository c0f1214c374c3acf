"""The API client against a small HTTP server: errors, the fence, metrics."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from penstock_operator.adapters.api_client import Access, ApiClient, Conflict
from penstock_operator.ports import ClusterUnavailable, NotLeading, RequestRejected

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Scripted:
    """An API server that answers what the test says, and remembers what was asked."""

    def __init__(self) -> None:
        self.answer: Handler = self.ok
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    async def ok(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Thing"})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.raw_path, dict(request.headers), body))
        return await self.answer(request)

    def says(self, status: int, headers: dict[str, str] | None = None, **body: Any) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.json_response({"kind": "Status", "code": status, **body}, status=status, headers=headers)

        self.answer = answer


class Heard:
    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []

    def requested(self, verb: str, resource: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.requests.append((verb, resource, code))


@pytest.fixture
def script() -> Scripted:
    return Scripted()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def server(script: Scripted) -> AsyncIterator[BaseTestServer]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", script.handle)
    async with TestServer(app) as running:
        yield running


def access(url: str, token: str | None = None) -> Access:
    from kubernetes.aio.client.configuration import Configuration  # noqa: PLC0415 - heavy

    configuration = Configuration(host=url)
    if token:
        configuration.api_key["BearerToken"] = token
    return Access(configuration=configuration)


@pytest.fixture
async def client(server: BaseTestServer, heard: Heard) -> AsyncIterator[ApiClient]:
    url = str(server.make_url("")).rstrip("/")
    async with ApiClient(access(url, "bearer secret"), may_write=lambda: True, observer=heard) as opened:
        yield opened


async def test_an_answer_is_returned_as_it_is(client: ApiClient) -> None:
    assert await client.request("get", "/api/v1/things/a", resource="things") == {"kind": "Thing"}


async def test_server_side_apply_is_sent_as_such(client: ApiClient, script: Scripted) -> None:
    query = {"fieldManager": "penstock", "force": "true"}
    await client.request("apply", "/api/v1/things/a", resource="things", body={"a": 1}, query=query)
    method, path, headers, body = script.requests[0]
    assert (method, path, body) == ("PATCH", "/api/v1/things/a?fieldManager=penstock&force=true", b'{"a": 1}')
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert headers["Authorization"] == "Bearer secret"


async def test_a_label_selector_survives_the_url(client: ApiClient, script: Scripted) -> None:
    query = {"labelSelector": "app.kubernetes.io/managed-by=penstock"}
    await client.request("list", "/api/v1/things", resource="things", query=query)
    assert "managed-by%3Dpenstock" in script.requests[0][1]


async def test_an_absent_object_is_none(client: ApiClient, script: Scripted) -> None:
    script.says(404, reason="NotFound", details={"name": "a", "kind": "things"})
    assert await client.request("get", "/api/v1/things/a", resource="things") is None


async def test_an_absent_namespace_is_a_refusal(client: ApiClient, script: Scripted) -> None:
    script.says(404, reason="NotFound", message='namespaces "x" not found', details={"kind": "namespaces"})
    with pytest.raises(RequestRejected, match='namespaces "x" not found'):
        await client.request("create", "/api/v1/namespaces/x/things", resource="things", body={})


@pytest.mark.parametrize("status", [400, 401, 403, 405, 422])
async def test_a_refusal_carries_the_servers_words(client: ApiClient, script: Scripted, status: int) -> None:
    script.says(status, reason="Forbidden", message="exceeded quota: pods")
    with pytest.raises(RequestRejected, match="exceeded quota: pods") as caught:
        await client.request("apply", "/api/v1/things/a", resource="things", body={})
    assert (caught.value.status, caught.value.reason) == (status, "Forbidden")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_trouble_of_the_server_passes(client: ApiClient, script: Scripted, status: int) -> None:
    script.says(status, {"Retry-After": "7"}, message="busy")
    with pytest.raises(ClusterUnavailable, match="busy") as caught:
        await client.request("get", "/api/v1/things/a", resource="things")
    assert caught.value.retry_after_seconds == 7


async def test_the_delay_may_be_in_the_body(client: ApiClient, script: Scripted) -> None:
    script.says(429, details={"retryAfterSeconds": 3})
    with pytest.raises(ClusterUnavailable) as caught:
        await client.request("get", "/api/v1/things/a", resource="things")
    assert caught.value.retry_after_seconds == 3


async def test_an_unreadable_delay_is_none(client: ApiClient, script: Scripted) -> None:
    script.says(503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
    with pytest.raises(ClusterUnavailable) as caught:
        await client.request("get", "/api/v1/things/a", resource="things")
    assert caught.value.retry_after_seconds is None


async def test_a_conflict_is_a_reason_to_look_again(client: ApiClient, script: Scripted) -> None:
    script.says(409, message="the object has been modified")
    with pytest.raises(Conflict, match="modified"):
        await client.request("replace", "/api/v1/things/a", resource="things", body={})


async def test_an_answer_that_is_no_json_is_trouble_of_something_in_between(
    client: ApiClient, script: Scripted
) -> None:
    async def proxy_page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>bad gateway</html>", status=200)

    script.answer = proxy_page
    with pytest.raises(ClusterUnavailable, match="bad gateway"):
        await client.request("get", "/api/v1/things/a", resource="things")


async def test_a_server_that_does_not_answer_in_time_is_unavailable(client: ApiClient, script: Scripted) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    script.answer = hang
    with pytest.raises(ClusterUnavailable, match="get /api/v1/things/a"):
        await client.request("get", "/api/v1/things/a", resource="things", timeout_seconds=0.05)


async def test_a_server_that_is_not_there_is_unavailable(heard: Heard) -> None:
    async with ApiClient(access("http://127.0.0.1:1"), may_write=lambda: True, observer=heard) as client:
        with pytest.raises(ClusterUnavailable):
            await client.request("get", "/api/v1/things/a", resource="things")
    assert heard.requests == [("get", "things", "error")]


@pytest.mark.parametrize("verb", ["create", "apply", "patch", "replace", "delete"])
async def test_without_the_lease_no_write_leaves_the_process(
    server: BaseTestServer, script: Scripted, heard: Heard, verb: Any
) -> None:
    url = str(server.make_url("")).rstrip("/")
    async with ApiClient(access(url), may_write=lambda: False, observer=heard) as client:
        with pytest.raises(NotLeading):
            await client.request(verb, "/api/v1/things/a", resource="things", body={})
        assert await client.request("get", "/api/v1/things/a", resource="things") == {"kind": "Thing"}
    assert [method for method, *_ in script.requests] == ["GET"]


async def test_every_request_is_counted_with_its_outcome(client: ApiClient, script: Scripted, heard: Heard) -> None:
    await client.request("get", "/api/v1/things/a", resource="things")
    script.says(403, message="no")
    with pytest.raises(RequestRejected):
        await client.request("delete", "/api/v1/things/a", resource="things")
    assert heard.requests == [("get", "things", "200"), ("delete", "things", "403")]


@pytest.mark.parametrize(
    ("configured", "sent"),
    [("bearer abc", "Bearer abc"), ("Bearer abc", "Bearer abc"), ("abc", "Bearer abc"), ("bearer abc\n", "Bearer abc")],
)
async def test_a_token_is_sent_as_a_bearer_token_however_it_is_configured(configured: str, sent: str) -> None:
    assert await access("http://x", configured).authorization() == sent


async def test_a_client_certificate_needs_no_header() -> None:
    assert await access("http://x").authorization() is None


async def test_a_user_with_a_password_is_sent_as_basic_authentication() -> None:
    async def no_token(_: str) -> None:
        return None

    configuration = SimpleNamespace(
        get_api_key_with_prefix=no_token, username="a", get_basic_auth_token=lambda: "Basic YTpi"
    )
    assert await Access(configuration=configuration).authorization() == "Basic YTpi"
