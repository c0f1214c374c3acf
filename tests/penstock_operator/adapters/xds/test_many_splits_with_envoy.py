"""Two hundred splits behind one router: they come, go and move without touching each other, with a real Envoy."""

import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import aiohttp
import pytest
from tests.penstock_operator.adapters.xds.plain import Revisions
from tests.penstock_operator.adapters.xds.rig import LOOPBACK, Load, Rig, free_port, load, until

from penstock_operator.adapters.xds.route_table import REVISION_HEADER
from penstock_operator.core.routes import SplitRoute

pytestmark = pytest.mark.envoy

SPLITS = 200
ROUNDS = 5


@pytest.fixture
async def models() -> AsyncIterator[Revisions]:
    models = Revisions()
    await models.start("model-a", "model-b")
    yield models
    models.stop()


def split(rig: Rig, models: Revisions, name: str, weight: int = 0, port: int = 0) -> SplitRoute:
    backends = models.backend("model-a", 100 - weight), models.backend("model-b", weight)
    return rig.route(*backends, split=name, port=port or free_port())


async def listeners(rig: Rig, admin_port: int) -> dict[str, str]:
    """Return when each listener that is not on its way out was last changed."""
    url = f"http://{LOOPBACK}:{admin_port}/config_dump?resource=dynamic_listeners"
    async with rig.client.get(url) as response:
        found = (await response.json())["configs"]
        return {one["name"]: one["active_state"]["last_updated"] for one in found if "active_state" in one}


async def test_splits_among_two_hundred_come_go_and_move_without_touching_others(rig: Rig, models: Revisions) -> None:
    router = await rig.router()
    many = [split(rig, models, f"split-{number}") for number in range(SPLITS)]
    begin = time.perf_counter()
    rig.publish(*many)
    assert (await rig.acknowledged(60)).complete
    all_at_once = time.perf_counter() - begin
    await until(lambda: rig.ready(router))
    await until(partial(warm, rig))
    before = await listeners(rig, router.admin_port)
    assert len(before) == SPLITS

    milliseconds: dict[str, list[float]] = {"one comes": [], "one moves": [], "one goes": []}
    async with AsyncExitStack() as clients:
        ports = [one.port for one in (many[0], *many[7 : 7 + ROUNDS])]
        loads = [await clients.enter_async_context(load(rig.url(port=port), clients=1)) for port in ports]
        for number in range(7, 7 + ROUNDS):
            new = split(rig, models, "new")
            moved = split(rig, models, f"split-{number}", weight=50, port=many[number].port)
            milliseconds["one comes"].append(await changed(rig, *many, new))
            await until(partial(answers, rig, new.port))
            async with load(rig.url(port=new.port), clients=1) as of_new:
                many[number] = moved
                milliseconds["one moves"].append(await changed(rig, *many, new))
                await until(partial(reached, loads[number - 6], "model-b"))
                await until(partial(reached, of_new, "model-a"))
            loads.append(of_new)
            milliseconds["one goes"].append(await changed(rig, *many))
    assert [seen.failures for seen in loads] == [[] for _ in loads]
    assert loads[0].requests > 20
    # Nobody else's requests moved.
    assert [set(seen.answers) for seen in (loads[0], *loads[1 + ROUNDS :])] == [{"model-a"}] * (1 + ROUNDS)
    # Nobody else's listener was touched, not even that of those that moved.
    assert await listeners(rig, router.admin_port) == before
    shown = ", ".join(f"{what} {statistics.median(took):.0f} ms" for what, took in milliseconds.items())
    print(f"\nof {SPLITS} splits: all at once {all_at_once:.2f} s, {shown}")  # noqa: T201 - the figure is the point
    assert all(statistics.median(took) < 1000 for took in milliseconds.values())


async def test_a_router_that_starts_among_two_hundred_splits_serves_all_of_them(rig: Rig, models: Revisions) -> None:
    many = [split(rig, models, f"split-{number}") for number in range(SPLITS)]
    router = await rig.router()
    rig.publish(*many)
    assert (await rig.acknowledged(60)).complete
    await until(lambda: rig.ready(router), 30)
    for one in (many[0], many[SPLITS // 2], many[-1]):
        assert await answers(rig, one.port)


async def changed(rig: Rig, *routes: SplitRoute) -> float:
    """Publish, and return after how many milliseconds the router runs it."""
    begin = time.perf_counter()
    rig.publish(*routes)
    assert (await rig.acknowledged()).complete
    return (time.perf_counter() - begin) * 1000


async def warm(rig: Rig) -> bool:
    """Return whether the router may send to every revision of every split."""
    counters = await rig.counters()
    return len(counters) == 2 * SPLITS and all(counted.healthy_hosts for counted in counters.values())


def reached(seen: Load, revision: str) -> bool:
    return seen.answers[revision] > 0


async def answers(rig: Rig, port: int) -> bool:
    try:
        async with rig.client.post(rig.url(port=port)) as response:
            return response.status == 200 and response.headers[REVISION_HEADER] == "model-a"
    except aiohttp.ClientError:
        return False
