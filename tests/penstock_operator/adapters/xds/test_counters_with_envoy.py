"""What a real Envoy counts, for whom, and that the operator reads it right."""

import asyncio
import itertools

import pytest
from tests.penstock_operator.adapters.xds.rig import LOOPBACK, NAMESPACE, Rig, RouterProcess, free_port, until

from penstock_operator.adapters.router_stats import HttpRouterStats
from penstock_operator.core.routes import Backend, RevisionCounters, RouterSample

pytestmark = pytest.mark.envoy


async def post(rig: Rig, **headers: str) -> int:
    async with rig.client.post(
        rig.url(), headers={name.replace("_", "-"): text for name, text in headers.items()}
    ) as response:
        await response.read()
        return response.status


async def counters(rig: Rig, revision: str, *, latencies: int = 0) -> RevisionCounters:
    """Return the counters once Envoy has merged so many latencies."""

    async def merged() -> bool:
        found = (await rig.counters()).get(("fraud", revision))
        return found is not None and sum(found.latency.counts) >= latencies

    await until(merged)
    return (await rig.counters())["fraud", revision]


async def test_answers_of_a_revision_are_counted_by_their_class(rig: Rig) -> None:
    good = await rig.model("fraud-a")
    await rig.router()
    await rig.serve(rig.route(good.backend(100)))
    for status, times in {200: 5, 302: 1, 404: 2, 429: 1, 500: 3}.items():
        good.status = status
        for _ in range(times):
            await post(rig)
    counted = await counters(rig, "fraud-a", latencies=12)
    assert (counted.requests, counted.errors) == (12, 6)
    assert sum(counted.latency.counts) == 12


async def test_latencies_are_counted_below_their_edges(rig: Rig) -> None:
    good = await rig.model("fraud-a")
    await rig.router()
    await rig.serve(rig.route(good.backend(100)))
    for seconds in (0.0, 0.052, 0.105, 0.26):
        await post(rig, x_delay_seconds=str(seconds))
    latency = (await counters(rig, "fraud-a", latencies=4)).latency
    below = dict(zip(latency.le, itertools.accumulate(latency.counts), strict=False))
    # Delays only ever get longer, and by far less than the next edge here.
    assert [below[edge] for edge in (0.05, 0.1, 0.25, 1.0)] == [1, 2, 3, 4]


async def test_a_revision_that_refuses_connections_is_charged(rig: Rig) -> None:
    dead = Backend(revision="fraud-a", host=LOOPBACK, port=free_port(), weight=100)
    await rig.router()
    rig.publish(rig.route(dead))
    assert (await rig.acknowledged()).complete
    assert [await post(rig) for _ in range(3)] == [503, 503, 503]
    counted = await counters(rig, "fraud-a")
    assert (counted.requests, counted.errors, counted.healthy_hosts) == (3, 3, 0)


async def test_a_revision_without_pods_is_charged(rig: Rig) -> None:
    rig.names.addresses["fraud-a.shop.svc"] = []
    await rig.router()
    rig.publish(rig.route(Backend(revision="fraud-a", host="fraud-a.shop.svc", port=80, weight=100)))
    assert (await rig.acknowledged()).complete
    assert await post(rig) == 503
    counted = await counters(rig, "fraud-a")
    assert (counted.requests, counted.errors) == (1, 1)


async def test_a_request_that_the_router_gave_up_on_is_an_error_and_the_slowest(rig: Rig) -> None:
    good = await rig.model("fraud-a")
    await rig.router()
    await rig.serve(rig.route(good.backend(100), timeout=0.1))
    assert await post(rig, x_delay_seconds="0.5") == 504
    counted = await counters(rig, "fraud-a", latencies=1)
    assert (counted.requests, counted.errors) == (1, 1)
    assert counted.latency.counts[-1] == 1


async def test_a_revision_is_charged_for_its_own_requests_only(rig: Rig) -> None:
    good, bad = await rig.model("fraud-a"), await rig.model("fraud-b")
    bad.status = 500
    await rig.router()
    await rig.serve(rig.route(good.backend(50), bad.backend(50)))
    statuses = [await post(rig) for _ in range(60)]
    stable, candidate = await counters(rig, "fraud-a"), await counters(rig, "fraud-b")
    assert (stable.requests, stable.errors) == (statuses.count(200), 0)
    assert (candidate.requests, candidate.errors) == (statuses.count(500), statuses.count(500))


async def test_a_restarted_router_has_another_boot(rig: Rig) -> None:
    router = await rig.router()
    rig.publish()
    before = await sample(rig, router)
    assert (await sample(rig, router)).boot == before.boot
    await router.stop()
    await router.start()
    assert (await sample(rig, router)).boot != before.boot


async def sample(rig: Rig, router: RouterProcess) -> RouterSample:
    await until(lambda: rig.ready(router))
    (read,) = await HttpRouterStats(rig.client, port=router.stats_port).read(NAMESPACE, [router.as_pod])
    return read


async def test_a_client_that_hangs_up_is_not_held_against_the_revision(rig: Rig) -> None:
    good = await rig.model("fraud-a")
    await rig.router()
    await rig.serve(rig.route(good.backend(100)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await post(rig, x_delay_seconds="0.5")
    await asyncio.sleep(0.5)
    assert await post(rig) == 200
    counted = await counters(rig, "fraud-a", latencies=1)
    assert (counted.requests, counted.errors) == (1, 0)
