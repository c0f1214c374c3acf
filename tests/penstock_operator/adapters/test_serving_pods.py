"""Pods are asked within bounds, and nothing bad comes of one that is gone, slow, huge or strange."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from penstock_operator.adapters.serving_pods import HttpServingPods
from penstock_operator.core.serving_pods import ServingPod, ready_serving_pods

POD = ServingPod(name="fraud-a-1", ip="127.0.0.1", revision="fraud-a")
LIMIT = 4096


class FakePod:
    """Answers as it is told."""

    def __init__(self) -> None:
        self.body = b"counts"
        self.status = 200
        self.headers: dict[str, str] = {}
        self.silent = False
        self.at_once = 0
        self.most_at_once = 0
        self.asked: list[tuple[str, str | None]] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, request.headers.get("Accept-Encoding")))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(60 if self.silent else 0)
        finally:
            self.at_once -= 1
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@pytest.fixture
async def fake() -> AsyncIterator[FakePod]:
    pod = FakePod()
    app = web.Application()
    app.router.add_get("/{path:.*}", pod.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pod.port = runner.addresses[0][1]
    yield pod
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def get(fake: FakePod, session: aiohttp.ClientSession, path: str = "/v1/profile") -> bytes | None:
    pods = HttpServingPods(session, port=fake.port, timeout_seconds=0.3, bytes_max=LIMIT)
    return await pods.get("shop", POD, path)


async def test_a_pod_answers_with_plain_bytes(fake: FakePod, session: aiohttp.ClientSession) -> None:
    assert await get(fake, session, "/v1/outputs?after=7") == b"counts"
    assert fake.asked == [("/v1/outputs?after=7", "identity")]


@pytest.mark.parametrize("status", [204, 302, 404, 503])
async def test_only_status_200_is_an_answer(fake: FakePod, session: aiohttp.ClientSession, status: int) -> None:
    fake.status, fake.body = status, b""
    assert await get(fake, session) is None


async def test_a_body_may_be_as_large_as_the_bound_and_no_larger(fake: FakePod, session: aiohttp.ClientSession) -> None:
    fake.body = b"x" * LIMIT
    assert await get(fake, session) == fake.body
    fake.body = b"x" * (LIMIT + 1)
    assert await get(fake, session) is None


async def test_a_compressed_body_is_not_unpacked(fake: FakePod, session: aiohttp.ClientSession) -> None:
    fake.body, fake.headers = gzip.compress(b"x" * 10_000_000), {"Content-Encoding": "gzip"}
    assert await get(fake, session) is None


async def test_a_silent_pod_costs_only_its_time(fake: FakePod, session: aiohttp.ClientSession) -> None:
    fake.silent = True
    assert await get(fake, session) is None


async def test_a_pod_that_is_gone_is_no_error(fake: FakePod, session: aiohttp.ClientSession) -> None:
    pods = HttpServingPods(session, port=1, timeout_seconds=0.3)
    assert await pods.get("shop", POD, "/v1/profile") is None


async def test_no_more_pods_than_the_bound_are_asked_at_once(fake: FakePod, session: aiohttp.ClientSession) -> None:
    pods = HttpServingPods(session, port=fake.port, parallel=3)
    answers = await asyncio.gather(*(pods.get("shop", POD, f"/{number}") for number in range(20)))
    assert answers == [b"counts"] * 20
    assert fake.most_at_once <= 3


def manifest(name: str, *, ready: str = "True", ip: str | None = "10.0.0.1", **metadata: object) -> dict[str, object]:
    labels = {"penstock.dev/revision": "fraud-a"}
    status = {"conditions": [{"type": "Ready", "status": ready}], **({"podIP": ip} if ip else {})}
    return {"metadata": {"name": name, "labels": labels, **metadata}, "status": status}


def test_pods_that_serve_are_ready_have_an_address_and_stay() -> None:
    pods = [
        manifest("serves"),
        manifest("starts", ready="False"),
        manifest("new", ip=None),
        manifest("leaves", deletionTimestamp="2026-01-01T00:00:00Z"),
        manifest("stranger", labels=None),
    ]
    assert ready_serving_pods(pods) == [ServingPod(name="serves", ip="10.0.0.1", revision="fraud-a")]
