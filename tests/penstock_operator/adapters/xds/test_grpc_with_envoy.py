"""gRPC behind the router: the same ways, the same weights, its own errors; real Envoy, real servers."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest
from tests.penstock_operator.adapters.xds.processes import Servers, plus
from tests.penstock_operator.adapters.xds.rig import LOOPBACK, Rig, free_port, until

from penstock_operator.adapters.router_stats import HttpRouterStats
from penstock_operator.core.routes import Backend, HeaderMatch, MatchKind, Mirror, RouterSample

pytestmark = pytest.mark.envoy

_READY = "/inference.GRPCInferenceService/ServerReady"
_INFER = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Two:
    """Two revisions; a test gives them weights."""

    stable: Backend
    candidate: Backend

    def weighed(self, weight: int) -> tuple[Backend, Backend]:
        return replace(self.stable, weight=100 - weight), replace(self.candidate, weight=weight)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    servers = Servers(tmp_path_factory.mktemp("models"), grpc=True)
    yield Two(
        stable=servers.start("fraud-a", "127.0.0.2", plus(1), weight=100),
        candidate=servers.start("fraud-b", "127.0.0.3", plus(2), weight=0),
    )
    servers.stop()


def _as_it_is(body: bytes) -> bytes:
    return body


class Client:
    """Calls without messages' types: bodies as bytes."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"{LOOPBACK}:{port}")

    async def call(self, method: str, body: bytes = b"", **metadata: str) -> tuple[grpc.StatusCode, str]:
        """Return how a call ended, and which revision answered it."""
        sent = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
        call = self._channel.unary_unary(method, _as_it_is, _as_it_is)(body, metadata=sent, timeout=10)
        code = await call.code()
        # An answer of the router's own comes without a body, and all of it is in the end.
        told = {**dict(await call.initial_metadata() or ()), **dict(await call.trailing_metadata() or ())}
        return code, str(told.get("x-penstock-revision", ""))

    async def close(self) -> None:
        await self._channel.close(None)


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[Client]:
    client = Client(rig.port)
    yield client
    await client.close()


async def sample(rig: Rig) -> RouterSample:
    router = rig.routers[0]
    (read,) = await HttpRouterStats(rig.client, port=router.stats_port).read("shop", [router.as_pod])
    return read


async def serve(rig: Rig, *backends: Backend, **more: Any) -> None:
    await rig.router()
    rig.publish(rig.route(*backends, **more))
    assert (await rig.acknowledged()).complete
    await rig.healthy(*(backend.revision for backend in backends), seconds=60)


async def test_calls_are_spread_by_weight_and_counted_with_requests_of_http(rig: Rig, two: Two, client: Client) -> None:
    await serve(rig, *two.weighed(25))
    ended = [await client.call(_READY) for _ in range(400)]
    assert {code for code, _ in ended} == {grpc.StatusCode.OK}
    answered = Counter(revision for _, revision in ended)
    assert abs(answered["fraud-b"] / 400 - 0.25) < 0.09
    for _ in range(40):
        async with rig.client.get(rig.url("/v2/health/ready")) as response:
            assert response.status == 200
            answered[response.headers["x-penstock-revision"]] += 1
    counted = (await sample(rig)).counters
    assert {key[1]: found.requests for key, found in counted.items()} == dict(answered)
    assert {found.errors for found in counted.values()} == {0}
    await until(lambda: _latencies(rig, 440))


async def _latencies(rig: Rig, wanted: int) -> bool:
    return sum(sum(found.latency.counts) for found in (await sample(rig)).counters.values()) == wanted


async def test_a_call_that_fails_is_an_error_of_its_revision(rig: Rig, two: Two, client: Client) -> None:
    await serve(rig, *two.weighed(0))
    codes = [(await client.call(_INFER, b""))[0] for _ in range(3)]
    assert grpc.StatusCode.OK not in codes
    assert (await client.call(_READY))[0] is grpc.StatusCode.OK
    counted = (await sample(rig)).counters["fraud", "fraud-a"]
    assert (counted.requests, counted.errors) == (4, 3)


async def test_a_revision_that_refuses_calls_is_charged(rig: Rig, two: Two, client: Client) -> None:
    await serve(rig, replace(two.stable, grpc_port=free_port()))
    code, revision = await client.call(_READY)
    assert (code, revision) == (grpc.StatusCode.UNAVAILABLE, "fraud-a")
    counted = (await sample(rig)).counters["fraud", "fraud-a"]
    assert (counted.requests, counted.errors) == (1, 1)


async def test_matches_and_copies_are_for_calls_too_and_are_counted_apart(rig: Rig, two: Two, client: Client) -> None:
    matches = (HeaderMatch(header="x-beta", kind=MatchKind.PRESENT, revision="fraud-b"),)
    mirrors = (Mirror(revision="fraud-b", percent=100),)
    await serve(rig, *two.weighed(0), matches=matches, mirrors=mirrors)
    assert await client.call(_READY, x_beta="yes") == (grpc.StatusCode.OK, "fraud-b")
    assert await client.call(_READY) == (grpc.StatusCode.OK, "fraud-a")
    key = ("fraud", "fraud-b")

    async def copied() -> bool:
        return (await sample(rig)).mirrored[key].requests == 1

    await until(copied)
    read = await sample(rig)
    assert read.counters["fraud", "fraud-a"].requests == 1
    assert (read.counters[key].requests, read.matched[key].requests) == (0, 1)


async def test_a_copied_call_that_fails_is_an_error_of_the_shadow_only(rig: Rig, two: Two, client: Client) -> None:
    mirrors = (Mirror(revision="fraud-b", percent=100),)
    await serve(rig, *two.weighed(0), mirrors=mirrors)
    for _ in range(3):
        assert (await client.call(_INFER, b""))[0] is grpc.StatusCode.INVALID_ARGUMENT, "the client sees what it was"
    assert (await client.call(_READY))[0] is grpc.StatusCode.OK

    async def counted() -> bool:
        return (await sample(rig)).mirrored["fraud", "fraud-b"].requests == 4

    await until(counted)
    assert (await sample(rig)).mirrored["fraud", "fraud-b"].errors == 3


async def test_a_shadow_that_hangs_or_is_dead_costs_a_call_nothing(rig: Rig, two: Two, client: Client) -> None:
    """Somebody takes the connections and never reads; then nobody is there at all."""
    await rig.router()
    mirrors = (Mirror(revision="fraud-b", percent=100, compare=True),)
    with socket.create_server(("127.0.0.3", free_port()), backlog=16) as hanging:
        for port in (hanging.getsockname()[1], free_port()):
            shadow = replace(two.candidate, weight=0, grpc_port=port)
            rig.publish(rig.route(two.stable, shadow, mirrors=mirrors))
            assert (await rig.acknowledged()).complete
            await rig.healthy("fraud-a", seconds=60)
            began = asyncio.get_running_loop().time()
            ended = [await client.call(_READY) for _ in range(100)]
            assert set(ended) == {(grpc.StatusCode.OK, "fraud-a")}
            # Each copy is given up after the route's 30 s only: not one call has waited for one.
            assert asyncio.get_running_loop().time() - began < 20


async def test_calls_of_what_is_not_led_say_so(rig: Rig, two: Two, client: Client) -> None:
    await serve(rig, two.stable)
    assert (await client.call("/inference.Other/Call"))[0] is grpc.StatusCode.UNIMPLEMENTED
    rig.publish(rig.route(replace(two.stable, grpc_port=None)))
    assert (await rig.acknowledged()).complete
    assert (await client.call(_READY))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_no_call_fails_while_weights_change(rig: Rig, two: Two, client: Client) -> None:
    await serve(rig, *two.weighed(50))
    codes: Counter[grpc.StatusCode] = Counter()
    going = True

    async def load() -> None:
        while going:
            codes[(await client.call(_READY))[0]] += 1

    tasks = [asyncio.create_task(load()) for _ in range(2)]
    for weight in (10, 60, 100, 40, 0):
        rig.publish(rig.route(*two.weighed(weight)))
        assert (await rig.acknowledged()).complete
        await asyncio.sleep(0.1)
    going = False
    await asyncio.gather(*tasks)
    assert codes.keys() == {grpc.StatusCode.OK}
    assert codes.total() > 50
