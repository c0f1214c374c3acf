"""Two hundred splits behind one router: they come, go and move without touching each other, with a real Envoy."""

import statistics
import time
from collections.abc import AsyncIterator

import pytest
from tests.penstock_operator.adapters.xds.plain import Revisions
from tests.penstock_operator.adapters.xds.rig import LOOPBACK, Rig, free_port, load, until

from penstock_operator.adapters.xds.route_table import REVISION_HEADER
from penstock_operator.core.routes import SplitRoute

pytestmark = pytest.mark.envoy

SPLITS = 200


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
    await until(lambda: answers(rig, many[0].port))
    before = await listeners(rig, router.admin_port)
    assert len(before) == SPLITS

    milliseconds: dict[str, list[float]] = {"one comes": [], "one moves": [], "one goes": []}
    async with load(rig.url(port=many[0].port), clients=2) as seen:
        for round_ in range(5):
            new = split(rig, models, "new")
            moved = split(rig, models, f"split-{7 + round_}", weight=50, port=many[7 + round_].port)
            for what, routes in (
                ("one comes", [*many, new]),
                ("one moves", [*many[: 7 + round_], moved, *many[8 + round_ :], new]),
                ("one goes", [*many[: 7 + round_], moved, *many[8 + round_ :]]),
            ):
                begin = time.perf_counter()
                rig.publish(*routes)
                assert (await rig.acknowledged()).complete
                milliseconds[what].append((time.perf_counter() - begin) * 1000)
            many[7 + round_] = moved
    assert seen.failures == []
    assert seen.requests > 20
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


async def answers(rig: Rig, port: int) -> bool:
    async with rig.client.post(rig.url(port=port)) as response:
        return response.status == 200 and response.headers[REVISION_HEADER] == "model-a"
