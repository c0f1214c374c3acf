"""Copies of requests: who gets them, what they cost the client, how they are counted, with a real Envoy."""

import asyncio
import statistics
import time
from dataclasses import replace
from typing import Any

import pytest
from tests.penstock_operator.adapters.xds.rig import (
    LOOPBACK,
    NAMESPACE,
    Model,
    Rig,
    RouterProcess,
    free_port,
    load,
    until,
)

from penstock_contract.outputs import PAIR_HEADER
from penstock_operator.adapters.router_stats import HttpRouterStats
from penstock_operator.adapters.xds.route_table import REQUEST_ID_HEADER, REVISION_HEADER
from penstock_operator.core.routes import Backend, CookieKey, HeaderKey, HeaderMatch, MatchKind, Mirror, RouterSample

pytestmark = pytest.mark.envoy


def copy(revision: str, percent: int = 100) -> tuple[Mirror, ...]:
    return (Mirror(revision=revision, percent=percent, compare=True),)


async def post(rig: Rig, **headers: str) -> tuple[int, dict[str, str]]:
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    async with rig.client.post(rig.url(), headers=sent, data=b"{}") as response:
        await response.read()
        return response.status, {name.lower(): value for name, value in response.headers.items()}


async def sample(rig: Rig, router: RouterProcess | None = None) -> RouterSample:
    router = router or rig.routers[0]
    (read,) = await HttpRouterStats(rig.client, port=router.stats_port).read(NAMESPACE, [router.as_pod])
    return read


async def shadowed(rig: Rig, percent: int = 100) -> tuple[Model, Model]:
    stable, shadow = await rig.model("fraud-a"), await rig.model("fraud-b")
    await rig.router()
    await rig.serve(rig.route(stable.backend(100), shadow.backend(0), mirrors=copy("fraud-b", percent)))
    await rig.healthy("fraud-b")
    return stable, shadow


async def test_a_shadow_gets_a_copy_of_each_request_and_clients_hear_of_stable_only(rig: Rig) -> None:
    stable, shadow = await shadowed(rig)
    shadow.status = 500
    seen = [await post(rig) for _ in range(20)]
    await until(lambda: shadow.answered == 20)
    assert stable.answered == 20
    assert {(status, headers[REVISION_HEADER]) for status, headers in seen} == {(200, "fraud-a")}


async def test_a_request_and_its_copy_have_the_same_ids_and_the_client_is_told_the_request_id(rig: Rig) -> None:
    stable, shadow = await shadowed(rig)
    answers = [await post(rig), await post(rig, x_request_id="mine-7", x_penstock_pair="forged")]
    await until(lambda: shadow.answered == 2)
    ids = [headers[REQUEST_ID_HEADER] for _, headers in answers]
    assert ids[1] == "mine-7"
    for model in (stable, shadow):
        assert sorted(headers[REQUEST_ID_HEADER] for headers in model.seen) == sorted(ids)
    pairs = [{headers[PAIR_HEADER] for headers in model.seen} for model in (stable, shadow)]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) == 2
    assert "forged" not in pairs[0]


async def test_requests_that_are_not_copied_have_no_pair_and_keep_their_id(rig: Rig) -> None:
    stable = await rig.model("fraud-a")
    await rig.router()
    await rig.serve(rig.route(stable.backend(100)))
    await post(rig, x_penstock_pair="forged", x_request_id="mine-7")
    await post(rig)
    assert [PAIR_HEADER in headers for headers in stable.seen] == [False, False]
    assert [headers.get(REQUEST_ID_HEADER) for headers in stable.seen] == ["mine-7", None]


async def test_copies_that_nobody_compares_have_no_pair(rig: Rig) -> None:
    stable, shadow = await rig.model("fraud-a"), await rig.model("fraud-b")
    await rig.router()
    mirrors = (Mirror(revision="fraud-b", percent=100),)
    await rig.serve(rig.route(stable.backend(100), shadow.backend(0), mirrors=mirrors))
    await post(rig, x_penstock_pair="forged")
    await until(lambda: shadow.answered == 1)
    assert all(PAIR_HEADER not in headers and REQUEST_ID_HEADER in headers for headers in stable.seen + shadow.seen)


async def test_a_share_is_copied_and_exactly_those_requests_have_a_pair(rig: Rig) -> None:
    stable, shadow = await shadowed(rig, 20)
    for _ in range(600):
        await post(rig)
    paired = [headers[PAIR_HEADER] for headers in stable.seen if PAIR_HEADER in headers]
    await until(lambda: shadow.answered == len(paired))
    assert {headers[PAIR_HEADER] for headers in shadow.seen} == set(paired)
    # Four standard deviations of a share of 600 are 0.065.
    assert abs(len(paired) / 600 - 0.2) < 0.07


async def test_no_request_fails_while_mirrors_and_matches_come_and_go(rig: Rig) -> None:
    stable, shadow = await rig.model("fraud-a"), await rig.model("fraud-b")
    await rig.router()
    plain = rig.route(stable.backend(100), shadow.backend(0))
    await rig.serve(plain)
    matches = (HeaderMatch(header="x-beta", kind=MatchKind.PRESENT, revision="fraud-b"),)
    async with load(rig.url()) as seen:
        for _ in range(4):
            changes: list[dict[str, Any]] = [{"mirrors": copy("fraud-b")}, {"matches": matches}, {}]
            for more in changes:
                await rig.serve(replace(plain, **more))
                await asyncio.sleep(0.05)
    assert seen.failures == []
    assert seen.answers.keys() == {"fraud-a"}


async def test_copies_are_taken_from_all_revisions_alike_and_each_shadow_gets_its_share(rig: Rig) -> None:
    stable, candidate = await rig.model("fraud-a"), await rig.model("fraud-b")
    few, many = await rig.model("fraud-c"), await rig.model("fraud-d")
    await rig.router()
    await rig.serve(
        rig.route(
            *(stable.backend(50), candidate.backend(50), few.backend(0), many.backend(0)),
            mirrors=copy("fraud-c", 10) + copy("fraud-d", 40),
        )
    )
    for _ in range(1000):
        await post(rig)
    await asyncio.sleep(0.2)
    copied = [sum(PAIR_HEADER in headers for headers in model.seen) for model in (stable, candidate)]
    assert sum(copied) == many.answered
    assert abs(many.answered / 1000 - 0.4) < 0.07
    assert abs(few.answered / 1000 - 0.1) < 0.04
    assert abs(copied[0] / sum(copied) - 0.5) < 0.11


@pytest.mark.parametrize("stickiness", [HeaderKey(name="x-account"), CookieKey(name="penstock", ttl_seconds=60)],
                         ids=["header", "cookie"])  # fmt: skip
async def test_keys_and_copies_go_together(rig: Rig, stickiness: HeaderKey | CookieKey) -> None:
    stable, shadow = await rig.model("fraud-a"), await rig.model("fraud-b")
    candidate = await rig.model("fraud-c")
    await rig.router()
    backends = stable.backend(50), candidate.backend(50, keys_from=0), shadow.backend(0)
    await rig.serve(rig.route(*backends, stickiness=stickiness, mirrors=copy("fraud-b", 50)))
    key = {"x_account": "a-1", "cookie": "penstock=a-1"}
    revisions = {(await post(rig, **key))[1][REVISION_HEADER] for _ in range(60)}
    assert len(revisions) == 1
    await until(lambda: shadow.answered > 10)


async def test_requests_that_a_header_sent_somewhere_are_counted_apart_and_not_copied(rig: Rig) -> None:
    stable, candidate = await rig.model("fraud-a"), await rig.model("fraud-b")
    await rig.router()
    matches = (HeaderMatch(header="x-beta", kind=MatchKind.PRESENT, revision="fraud-b"),)
    await rig.serve(rig.route(stable.backend(100), candidate.backend(0), matches=matches, mirrors=copy("fraud-b")))
    candidate.status = 500
    for _ in range(3):
        await post(rig)
    for _ in range(5):
        await post(rig, x_beta="yes")
    await until(lambda: candidate.answered == 8)
    await asyncio.sleep(0.05)
    read = await sample(rig)
    key = ("fraud", "fraud-b")
    assert read.counters["fraud", "fraud-a"].requests == 3
    assert (read.counters[key].requests, read.counters[key].errors) == (0, 0)
    assert (read.matched[key].requests, read.matched[key].errors) == (5, 5)
    assert (read.mirrored[key].requests, read.mirrored[key].errors) == (3, 3)
    assert read.counters[key].healthy_hosts == read.mirrored[key].healthy_hosts == 1


async def milliseconds(rig: Rig, requests: int = 150) -> float:
    """Return the median time of an answer."""
    taken = []
    for _ in range(requests):
        begin = time.perf_counter()
        assert (await post(rig))[0] == 200
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


async def test_a_shadow_that_hangs_or_is_dead_costs_the_client_nothing(rig: Rig) -> None:
    stable, shadow = await rig.model("fraud-a"), await rig.model("fraud-b")
    dead = Backend(revision="fraud-c", host=LOOPBACK, port=free_port(), weight=0)
    await rig.router()
    backends = stable.backend(100), shadow.backend(0), dead
    await rig.serve(rig.route(*backends))
    await rig.healthy("fraud-b")
    figures: dict[str, float] = {}
    shadow.delay_seconds = 60
    for what, mirrors in (
        ("alone", ()), ("hanging", copy("fraud-b")), ("dead", copy("fraud-c")), ("alone again", ())
    ):  # fmt: skip
        await rig.serve(rig.route(*backends, mirrors=mirrors))
        await milliseconds(rig, 20)
        figures[what] = await milliseconds(rig)
    print("\nmedian of an answer: " + ", ".join(f"{what} {ms:.2f} ms" for what, ms in figures.items()))  # noqa: T201 - the figure is the point
    # A shadow that is waited for would cost a thousand times as much.
    assert max(figures["hanging"], figures["dead"]) < max(figures["alone"], figures["alone again"]) * 3 + 2


async def test_copies_for_a_shadow_that_hangs_are_bounded_and_those_not_sent_are_nobodys_errors(rig: Rig) -> None:
    _, shadow = await shadowed(rig)
    shadow.delay_seconds = 60
    body = b"x" * (256 * 1024)
    before = await memory(rig)

    async def send() -> int:
        async with rig.client.post(rig.url(), data=body) as response:
            return response.status

    for _ in range(20):
        assert set(await asyncio.gather(*(send() for _ in range(25)))) == {200}
    mirrored = (await sample(rig)).mirrored["fraud", "fraud-b"]
    grown = await memory(rig) - before
    print(f"\n500 copies of 256 KiB for a shadow that hangs: {grown / 2**20:.0f} MiB more, {mirrored.dropped} dropped")  # noqa: T201
    assert 150 < mirrored.dropped == mirrored.errors < 500
    assert shadow.answered <= 256
    # All of them would be 125 MiB.
    assert grown < 60 * 2**20


async def memory(rig: Rig) -> int:
    async with rig.client.get(f"http://{LOOPBACK}:{rig.routers[0].admin_port}/memory") as response:
        return int((await response.json(content_type=None))["allocated"])
