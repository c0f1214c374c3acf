"""Full lists: when they are made, and what a gap in a watch leads to."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from tests.fakes.virtual_time import in_virtual_time

from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.adapters.resync import Resync
from penstock_operator.adapters.watch_sink import CacheSink
from penstock_operator.core.objects import Kind, Manifest
from penstock_operator.ports import ClusterUnavailable


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        in_virtual_time(test(*args, **kwargs))

    return run


class Lists:
    """Counts lists and fails on demand."""

    def __init__(self) -> None:
        self.made: list[tuple[float, Kind, str | None]] = []
        self.failing: set[Kind] = set()

    async def list_into(self, kind: Kind, namespace: str | None) -> int:
        self.made.append((asyncio.get_running_loop().time() - 1000, kind, namespace))
        if kind in self.failing:
            raise ClusterUnavailable("down")
        return 0

    def times(self, kind: Kind) -> list[float]:
        return [at for at, listed, _ in self.made if listed is kind]


@virtual
async def test_everything_is_listed_before_the_watches_start() -> None:
    lists = Lists()
    resync = Resync(lists.list_into, namespaces=(), interval_seconds=300)
    assert not resync.listed.is_set()
    await resync.until_listed()
    assert {kind for _, kind, _ in lists.made} == set(Kind)
    assert {namespace for *_, namespace in lists.made} == {None}
    assert resync.listed.is_set()


@virtual
async def test_a_namespaced_operator_lists_its_namespaces_only() -> None:
    lists = Lists()
    await Resync(lists.list_into, namespaces=("a", "b"), interval_seconds=300).until_listed()
    assert {namespace for *_, namespace in lists.made} == {"a", "b"}


@virtual
async def test_a_kind_that_cannot_be_listed_is_tried_again_and_the_others_are_not() -> None:
    lists = Lists()
    lists.failing = {Kind.POD}
    resync = Resync(lists.list_into, namespaces=(), interval_seconds=300)
    waiting = asyncio.create_task(resync.until_listed())
    await asyncio.sleep(120)
    assert not waiting.done()
    assert len(lists.times(Kind.SERVICE)) == 1
    assert 8 <= len(lists.times(Kind.POD)) <= 25, "with growing pauses up to 15 s"
    lists.failing.clear()
    await asyncio.wait_for(waiting, 16)


@virtual
async def test_a_second_list_comes_soon_and_then_one_in_each_interval() -> None:
    lists = Lists()
    running = asyncio.create_task(Resync(lists.list_into, namespaces=(), interval_seconds=300).run())
    await asyncio.sleep(20 * 1.2 + 3 * 300 * 1.2 + 1)
    first, *others = lists.times(Kind.POD)
    assert 16 <= first <= 24
    assert 3 <= len(others) <= 4
    running.cancel()


@virtual
async def test_a_burst_of_gaps_in_one_watch_makes_one_list_of_that_kind() -> None:
    lists = Lists()
    resync = Resync(lists.list_into, namespaces=(), interval_seconds=300)
    running = asyncio.create_task(resync.run())
    await asyncio.sleep(1)
    for _ in range(100):
        resync.request(Kind.POD)
    await asyncio.sleep(5)
    assert [kind for _, kind, _ in lists.made] == [Kind.POD]
    running.cancel()


@virtual
async def test_a_failed_comparison_is_made_with_the_next_ones() -> None:
    lists = Lists()
    lists.failing = {Kind.POD}
    resync = Resync(lists.list_into, namespaces=(), interval_seconds=300)
    running = asyncio.create_task(resync.run())
    resync.request(Kind.POD)
    await asyncio.sleep(2)
    lists.failing.clear()
    await asyncio.sleep(30)
    assert len(lists.times(Kind.POD)) >= 2
    running.cancel()


def pod(version: int) -> Manifest:
    return {"metadata": {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": str(version)}}


def test_a_known_object_in_the_first_list_of_a_watch_tells_of_a_gap() -> None:
    gaps: list[Kind] = []
    sink = CacheSink(ObjectCache(), on_gap=gaps.append, clock=lambda: 5.0)
    sink.deliver(Kind.POD, None, pod(1))
    sink.deliver(Kind.POD, "MODIFIED", pod(2))
    assert gaps == []
    sink.deliver(Kind.POD, None, pod(2))
    assert gaps == [Kind.POD]
    assert sink.last_event == {Kind.POD: 5.0}


def test_a_deletion_reaches_the_cache() -> None:
    cache = ObjectCache()
    sink = CacheSink(cache, on_gap=lambda _: None)
    sink.deliver(Kind.POD, "ADDED", pod(1))
    assert cache.count(Kind.POD) == 1
    sink.deliver(Kind.POD, "DELETED", pod(2))
    assert cache.count(Kind.POD) == 0
