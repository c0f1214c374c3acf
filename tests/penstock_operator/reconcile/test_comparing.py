"""Answers to copied requests are read from pods beside the ticks and compared; nothing counts twice."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

from penstock_contract.outputs import PATH
from penstock_operator.core.comparison import Comparison, Tolerance
from penstock_operator.core.names import MANAGED_BY, OPERATOR, REVISION
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.core.serving_pods import ServingPod
from penstock_operator.reconcile.comparing import Comparing
from penstock_server.outputs_ring import OutputsRing
from penstock_server.protocol import InferRequest, RequestedOutput

SPLIT = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace="shop", name="fraud")
STABLE, SHADOW, OTHER = "fraud-a", "fraud-b", "fraud-c"
INTERVAL = 10.0
ONE = Tolerance.parse("1%")


class Pods:
    """Serving pods with the very rings that real ones have; ``say`` replaces what one answers."""

    def __init__(self) -> None:
        self.rings: dict[str, OutputsRing] = {}
        self.says: dict[str, bytes | None] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0

    async def get(self, namespace: str, pod: ServingPod, path: str) -> bytes | None:
        assert namespace == "shop"
        self.asked += 1
        await self.open.wait()
        if pod.name in self.says:
            return self.says[pod.name]
        parts = urlsplit(path)
        assert parts.path == PATH
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return self.rings[pod.name].take(int(query.get("after", "0")), query.get("boot", "")).body()


def pod(name: str, revision: str, ip: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {MANAGED_BY: OPERATOR, REVISION: revision}},
        "spec": {},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
    }


class Bench:
    def __init__(self, *shadows: str) -> None:
        self.cluster, self.pods, self.clock = FakeCluster(), Pods(), FakeClock()
        self.comparing = Comparing(
            cluster=self.cluster, pods=self.pods, monotonic=self.clock.monotonic, interval_seconds=INTERVAL
        )
        self.shadows = shadows or (SHADOW,)
        for number, revision in enumerate((STABLE, STABLE, *self.shadows)):
            self.add(f"{revision}-{number}", revision)

    def add(self, name: str, revision: str) -> None:
        self.pods.rings[name] = OutputsRing()
        self.cluster.put(pod(name, revision, f"10.0.0.{len(self.pods.rings)}"))

    def answer(self, name: str, pair: str, value: float, seconds: float = 0.01) -> None:
        request = InferRequest(id=None, inputs={}, outputs=(RequestedOutput(name="y"),), rows=1)
        self.pods.rings[name].note(pair, request, [np.array([value])], seconds)

    def both(self, pairs: range, *, stable: str = "fraud-a-0", shadow: str = "fraud-b-2", shift: float = 0.0) -> None:
        for number in pairs:
            self.answer(stable, f"pair-{number}", 1.0)
            self.answer(shadow, f"pair-{number}", 1.0 + shift, 0.02)

    async def look(self) -> dict[str, Comparison]:
        """Let the time for the next reading come, read, and take what was found."""
        self.clock.move_to(self.clock.now() + INTERVAL)
        self.comparing.take(SPLIT, stable=STABLE, shadows=self.shadows, tolerance=ONE)
        await self.settled()
        return self.comparing.take(SPLIT, stable=STABLE, shadows=self.shadows, tolerance=ONE)

    async def settled(self) -> None:
        here = self.comparing._splits.get(SPLIT)
        if here is not None and here.task is not None and self.pods.open.is_set():
            await asyncio.wait({here.task})
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def test_answers_of_both_sides_are_compared_over_all_pods() -> None:
    bench = Bench()
    await bench.look()
    bench.both(range(5))
    bench.both(range(5, 8), stable="fraud-a-1", shift=0.5)
    found = (await bench.look())[SHADOW]
    assert (found.n, found.disagreements) == (8, 3)
    assert found.score.mean == pytest.approx(3 * 0.5 / 8)
    assert found.latency.mean == pytest.approx(0.01)


async def test_what_was_taken_is_not_told_again_and_what_was_read_not_counted_again() -> None:
    bench = Bench()
    await bench.look()
    bench.both(range(5))
    assert (await bench.look())[SHADOW].n == 5
    assert sum(found.n for found in (await bench.look()).values()) == 0
    bench.both(range(5, 7))
    assert (await bench.look())[SHADOW].n == 2


async def test_the_first_look_counts_nothing() -> None:
    bench = Bench()
    bench.both(range(5))
    assert (await bench.look())[SHADOW].n == 0


async def test_an_answer_that_is_read_a_look_later_is_compared_then() -> None:
    bench = Bench()
    await bench.look()
    bench.answer("fraud-a-0", "pair-1", 1.0)
    assert (await bench.look())[SHADOW].n == 0
    bench.answer("fraud-b-2", "pair-1", 1.0)
    assert (await bench.look())[SHADOW].n == 1


async def test_a_pod_that_starts_anew_loses_only_what_it_had_not_told() -> None:
    bench = Bench()
    await bench.look()
    bench.both(range(5))
    await bench.look()
    bench.pods.rings["fraud-b-2"] = OutputsRing()
    bench.both(range(5, 8))
    assert (await bench.look())[SHADOW].n == 3


async def test_each_shadow_is_compared_with_stable() -> None:
    bench = Bench(SHADOW, OTHER)
    await bench.look()
    bench.both(range(4))
    for number in range(4):
        bench.answer("fraud-c-3", f"pair-{number}", 9.0)
    found = await bench.look()
    assert [(found[name].n, found[name].disagreements) for name in (SHADOW, OTHER)] == [(4, 0), (4, 4)]


@pytest.mark.parametrize("said", [None, b"", b"{}", b"[" * 100_000, b'{"schema": "penstock.outputs/v1"}'])
async def test_a_pod_that_says_nothing_or_nonsense_stops_no_other(quiet: None, said: bytes | None) -> None:
    bench = Bench()
    await bench.look()
    bench.pods.says["fraud-a-1"] = said
    bench.both(range(3))
    assert (await bench.look())[SHADOW].n == 3


async def test_a_tick_never_waits_for_a_pod_that_hangs() -> None:
    bench = Bench()
    bench.pods.open.clear()
    async with asyncio.timeout(1):
        for _ in range(3):
            await bench.look()
    assert bench.pods.asked == 3  # once each
    bench.comparing.forget(SPLIT)
    await bench.settled()


async def test_pods_are_read_at_their_own_pace_however_often_they_are_asked_for() -> None:
    bench = Bench()
    for _ in range(10):
        bench.comparing.take(SPLIT, stable=STABLE, shadows=(SHADOW,), tolerance=ONE)
        await bench.settled()
    assert bench.pods.asked == 3
