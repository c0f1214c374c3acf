"""Prometheus and documents on the web, asked on loopback: whatever they do, an answer comes in time."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from penstock_operator.adapters.guarded_http import guarded_session
from penstock_operator.adapters.prometheus import HttpPrometheus
from penstock_operator.adapters.secrets import Credentials, SecretUnusable
from penstock_operator.adapters.web_source import WebSource
from penstock_operator.core.questions import Answer, Question

ONE = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.5"]}]}}'


class Server:
    """Answers as it is told."""

    def __init__(self) -> None:
        self.body = ONE
        self.status = 200
        self.hangs = False
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append((request.path_qs, dict(request.headers), form))
        if self.hangs:
            await asyncio.Event().wait()
        location = {"Location": "https://elsewhere.example.com/"} if self.status in {301, 307} else {}
        return web.Response(body=self.body, status=self.status, headers=location)


@asynccontextmanager
async def running(server: Server, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    test_server = TestServer(app, port=0)
    await test_server.start_server(ssl=tls)
    yield f"{'https' if tls else 'http'}://localhost:{test_server.port}"
    await test_server.close()


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def question(text: str = "up", *, pointer: str = "/a", secret: str | None = None) -> Question:
    return Question(source="Web", namespace="shop", text=text, pointer=pointer, secret_name=secret)


async def test_prometheus_is_asked_for_one_moment_with_the_query_in_the_body(
    server: Server, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("open sesame\n")
    async with running(server) as url:
        prometheus = HttpPrometheus(session, url=f"{url}/prefix/", token_file=token)
        assert await prometheus.answer(question('up{a="b"}')) == Answer(value=0.5)
    ((path, headers, form),) = server.asked
    assert path == "/prefix/api/v1/query"
    assert form == {"query": 'up{a="b"}', "timeout": "4500ms"}
    assert headers["Authorization"] == "Bearer open sesame"


async def test_without_an_address_prometheus_is_a_problem_that_names_the_setting(
    session: aiohttp.ClientSession,
) -> None:
    assert "prometheus.url" in (await HttpPrometheus(session, url="").answer(question())).problem


async def test_a_prometheus_that_is_down_is_a_problem(session: aiohttp.ClientSession) -> None:
    found = await HttpPrometheus(session, url="http://127.0.0.1:1").answer(question())
    assert "cannot be asked" in found.problem


async def test_a_prometheus_that_hangs_is_a_problem_within_its_time(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.hangs = True
    async with running(server) as url:
        found = await HttpPrometheus(session, url=url, timeout_seconds=0.2).answer(question())
    assert found.problem == "Prometheus did not answer within 0.2 s"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b'{"status":"error","errorType":"bad_data","error":"no such function"}', "no such function"),
        (502, b"<html>", "no Prometheus (status 502)"),
        (307, b"", "no Prometheus (status 307)"),
        (200, b" " * 300_000, "more than can be one number"),
    ],
    ids=["refused", "a gateway", "a redirect", "huge"],
)
async def test_what_is_no_answer_is_a_problem(
    status: int, body: bytes, words: str, server: Server, session: aiohttp.ClientSession
) -> None:
    server.status, server.body = status, body
    async with running(server) as url:
        assert words in (await HttpPrometheus(session, url=url).answer(question())).problem
    assert len(server.asked) == 1


async def test_a_token_that_is_gone_is_a_problem(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    prometheus = HttpPrometheus(session, url="http://127.0.0.1:1", token_file=tmp_path / "none")
    assert "No such file" in (await prometheus.answer(question())).problem


class Safe:
    """Secrets in memory."""

    def __init__(self, kept: dict[str, Credentials]) -> None:
        self._kept = kept

    async def credentials(self, namespace: str, name: str) -> Credentials:
        assert namespace == "shop"
        if name not in self._kept:
            raise SecretUnusable(f"there is no Secret {name} in this namespace")
        return self._kept[name]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def trusting(authority: trustme.CA) -> Credentials:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Credentials(headers={"X-Key": "open sesame"}, trust=context)


@asynccontextmanager
async def source(kept: dict[str, Credentials], **options: float) -> AsyncIterator[WebSource]:
    async with guarded_session(loopback=True) as session:
        yield WebSource(session, Safe(kept), loopback=True, **options)


async def test_a_number_in_a_document_is_read_with_the_secret(
    server: Server, tls: ssl.SSLContext, trusting: Credentials
) -> None:
    server.body = b'{"a": {"b": 3}}'
    async with running(server, tls) as url, source({"s": trusting}) as asked:
        found = await asked.answer(question(f"{url}/stats/fraud-b?x=1", pointer="/a/b", secret="s"))
    assert found == Answer(value=3.0)
    ((path, headers, _),) = server.asked
    assert (path, headers["X-Key"]) == ("/stats/fraud-b?x=1", "open sesame")


async def test_a_server_that_nobody_vouches_for_is_not_believed(server: Server, tls: ssl.SSLContext) -> None:
    async with running(server, tls) as url, source({}) as asked:
        assert "not trusted" in (await asked.answer(question(url))).problem
    assert server.asked == []


async def test_a_redirect_is_not_followed(server: Server, tls: ssl.SSLContext, trusting: Credentials) -> None:
    server.status = 301
    async with running(server, tls) as url, source({"s": trusting}) as asked:
        assert (await asked.answer(question(url, secret="s"))).problem == "the server answers with status 301"


async def test_a_server_that_hangs_or_floods_is_a_problem(
    server: Server, tls: ssl.SSLContext, trusting: Credentials
) -> None:
    async with running(server, tls) as url, source({"s": trusting}, timeout_seconds=0.5) as asked:
        server.body = b" " * 300_000
        assert "larger than 256 KiB" in (await asked.answer(question(url, secret="s"))).problem
        server.hangs = True
        assert "did not answer within 0.5 s" in (await asked.answer(question(url, secret="s"))).problem


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/", "must be https"),
        ("https://user:pass@example.com/", "without a user"),
        ("https://169.254.169.254/latest", "link-local or metadata"),
        ("https://[::ffff:169.254.169.254]/", "link-local or metadata"),
        ("https://[fe80::1]/", "link-local or metadata"),
        ("https://127.0.0.1/", "not the address of a server elsewhere"),
        ("https://0.0.0.0/", "not the address of a server elsewhere"),
        ("https://localhost/", "not the address of a server elsewhere"),
    ],
)
async def test_addresses_that_are_nobodys_business_are_not_asked(url: str, words: str) -> None:
    async with guarded_session() as session:
        assert words in (await WebSource(session, Safe({})).answer(question(url))).problem


async def test_a_secret_that_may_not_be_read_says_so() -> None:
    async with source({}) as asked:
        found = await asked.answer(question("https://localhost:1/", secret="gone"))
    assert found.problem == "there is no Secret gone in this namespace"
