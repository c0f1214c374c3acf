"""Envoy's text as counters, and that nothing bad comes of routers that are gone or talk nonsense."""

import itertools
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from penstock_operator.adapters.router_stats import HttpRouterStats, parse_counters
from penstock_operator.adapters.xds.naming import Purpose
from penstock_operator.core.manifests.router_bootstrap import BOOT_HEADER, LATENCY_EDGES_MS
from penstock_operator.core.routes import LatencyCounts, RouterPod

TEXT = """\
cluster.shop/fraud_v1/fraud-a.membership_healthy: 2
cluster.shop/fraud_v1/fraud-a.membership_total: 3
cluster.shop/fraud_v1/fraud-a.upstream_rq_2xx: 90
cluster.shop/fraud_v1/fraud-a.upstream_rq_3xx: 1
cluster.shop/fraud_v1/fraud-a.upstream_rq_4xx: 4
cluster.shop/fraud_v1/fraud-a.upstream_rq_5xx: 5
cluster.shop/fraud_v1/fraud-a.upstream_rq_timeout: 2
cluster.shop/fraud_v1/fraud-b.membership_healthy: 0
cluster.other/fraud/fraud-a.upstream_rq_2xx: 7
cluster.shop/fraud_v1/fraud-a.upstream_rq_time: B0.5(0,10) B49.5(1,60) B99.5(2,90) B8.64e+07(3,98)
"""
POD = RouterPod(name="router-a", ip="127.0.0.1")


def test_counters_are_read_by_split_and_revision() -> None:
    counters = parse_counters(TEXT, "shop")[Purpose.SPREAD]
    assert counters.keys() == {("fraud.v1", "fraud-a"), ("fraud.v1", "fraud-b")}
    fraud = counters["fraud.v1", "fraud-a"]
    assert (fraud.requests, fraud.errors, fraud.healthy_hosts) == (100, 9, 2)


def test_buckets_hold_what_is_below_their_edge_and_timeouts_are_the_slowest() -> None:
    latency = parse_counters(TEXT, "shop")[Purpose.SPREAD]["fraud.v1", "fraud-a"].latency
    assert latency == LatencyCounts(le=(0.001, 0.05, 0.1), counts=(10, 50, 30, 8 + 2))


def test_a_revision_without_requests_has_all_buckets_empty() -> None:
    latency = parse_counters(TEXT, "shop")[Purpose.SPREAD]["fraud.v1", "fraud-b"].latency
    assert latency.le == tuple(edge / 1000 for edge in LATENCY_EDGES_MS)
    assert set(latency.counts) == {0}
    assert len(latency.counts) == len(latency.le) + 1


def test_copies_and_matched_requests_are_counted_apart() -> None:
    text = """\
cluster.shop/fraud/fraud-a.upstream_rq_2xx: 90
cluster.shop/fraud/fraud-b/mirrored.upstream_rq_2xx: 20
cluster.shop/fraud/fraud-b/mirrored.upstream_rq_5xx: 9
cluster.shop/fraud/fraud-b/mirrored.upstream_rq_pending_overflow: 7
cluster.shop/fraud/fraud-b/matched.upstream_rq_4xx: 3
"""
    counters = parse_counters(text, "shop")
    key = ("fraud", "fraud-b")
    assert counters[Purpose.SPREAD].keys() == {("fraud", "fraud-a")}
    mirrored, matched = counters[Purpose.MIRRORED][key], counters[Purpose.MATCHED][key]
    assert (mirrored.requests, mirrored.errors, mirrored.dropped) == (29, 9, 7)
    assert (matched.requests, matched.errors, matched.dropped) == (3, 3, 0)


@pytest.mark.parametrize(
    "text",
    [
        "cluster.shop/a/b/c.upstream_rq_2xx: 1",
        "cluster.shop/a/b/mirrored/c.upstream_rq_2xx: 1",
        "cluster.xds.membership_healthy: 1",
        "cluster.shop/a/b.upstream_rq_2xx: many",
        "cluster.shop/a/b.upstream_rq_time: B0.5(0,1) B1.5(0,2)",
    ],
)
def test_text_that_is_not_of_our_routers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|no name|not a valid Purpose|invalid literal|bucket"):
        parse_counters(text, "shop")


def test_usual_limits_are_edges() -> None:
    usual = {1, 2, 3, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000}
    assert usual <= set(LATENCY_EDGES_MS)
    ratios = [after / before for before, after in itertools.pairwise(LATENCY_EDGES_MS[6:])]
    assert max(ratios) < 1.34


class FakeRouter:
    """Answers as it is told."""

    def __init__(self) -> None:
        self.text = TEXT
        self.boot = "boot-1"
        self.status = 200
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        assert request.path == "/stats"
        return web.Response(text=self.text, status=self.status, headers={BOOT_HEADER: self.boot})


@pytest.fixture
async def router() -> AsyncIterator[FakeRouter]:
    fake = FakeRouter()
    app = web.Application()
    app.router.add_get("/{path:.*}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.port = runner.addresses[0][1]
    yield fake
    await runner.cleanup()


async def test_a_router_is_read_with_its_boot(router: FakeRouter) -> None:
    async with aiohttp.ClientSession() as session:
        (sample,) = await HttpRouterStats(session, port=router.port).read("shop", [POD])
    assert (sample.pod, sample.boot) == ("router-a", "boot-1")
    assert sample.counters == parse_counters(TEXT, "shop")[Purpose.SPREAD]


async def test_routers_that_are_gone_are_absent_and_others_are_read(router: FakeRouter) -> None:
    gone = RouterPod(name="router-b", ip="127.0.0.77")
    async with aiohttp.ClientSession() as session:
        samples = await HttpRouterStats(session, port=router.port).read("shop", [gone, POD])
    assert [sample.pod for sample in samples] == ["router-a"]


@pytest.mark.parametrize("fault", [{"status": 503}, {"text": "cluster.shop/a/b.upstream_rq_2xx: x"}, {"boot": ""}])
async def test_a_router_that_makes_no_sense_is_absent(router: FakeRouter, fault: dict[str, object]) -> None:
    for name, value in fault.items():
        setattr(router, name, value)
    async with aiohttp.ClientSession() as session:
        assert await HttpRouterStats(session, port=router.port).read("shop", [POD]) == []
