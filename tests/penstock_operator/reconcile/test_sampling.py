"""Reading routers: once for all splits, each tick to each split once, and nothing before the first base."""

from collections.abc import Sequence

from tests.fakes.clock import FakeClock

from penstock_operator.core.routes import LatencyCounts, RevisionCounters, RouterPod, RouterSample
from penstock_operator.reconcile.sampling import Sampler

PODS = [RouterPod(name="r-0", ip="10.0.0.1"), RouterPod(name="r-1", ip="10.0.0.2")]


class Stats:
    def __init__(self) -> None:
        self.requests = {"fraud": 0, "churn": 0}
        self.healthy = 2
        self.away: set[str] = set()
        self.reads = 0

    async def read(self, namespace: str, pods: Sequence[RouterPod]) -> Sequence[RouterSample]:
        assert namespace == "shop"
        self.reads += 1
        counters = {
            (split, "a"): RevisionCounters(
                requests=requests,
                errors=0,
                latency=LatencyCounts(le=(1.0,), counts=(requests, 0)),
                healthy_hosts=self.healthy,
            )
            for split, requests in self.requests.items()
        }
        return [RouterSample(pod=pod.name, boot="1", counters=counters) for pod in pods if pod.name not in self.away]


class Bench:
    def __init__(self) -> None:
        self.stats, self.clock = Stats(), FakeClock()
        self.sampler = Sampler(stats=self.stats, clock=self.clock, monotonic=self.clock.monotonic)

    async def refresh(self, *, after: float = 1.0, requests: int = 0, pods: Sequence[RouterPod] = PODS) -> None:
        self.clock.move_to(self.clock.now() + after)
        for split in self.stats.requests:
            self.stats.requests[split] += requests
        await self.sampler.refresh("shop", pods, max_age_seconds=0.9)

    def taken(self, split: str = "fraud") -> list[int]:
        return [tick.counts["a"].requests for tick in self.sampler.take("shop", split)]


async def test_the_first_read_is_the_base_and_no_evidence() -> None:
    bench = Bench()
    await bench.refresh(requests=1000)

    assert bench.taken() == []


async def test_a_tick_is_what_all_routers_counted_since_the_last_and_is_taken_once() -> None:
    bench = Bench()
    await bench.refresh(requests=1000)
    await bench.refresh(requests=10)
    await bench.refresh(requests=20)

    assert bench.taken() == [20, 40]
    assert bench.taken() == []


async def test_each_split_takes_its_own_ticks_of_one_read() -> None:
    bench = Bench()
    await bench.refresh()
    await bench.refresh(requests=10)

    assert bench.taken("fraud") == bench.taken("churn") == [20]
    assert bench.stats.reads == 2


async def test_what_was_read_just_now_is_not_read_again() -> None:
    bench = Bench()
    await bench.refresh()
    await bench.refresh(after=0.5, requests=10)
    assert (bench.stats.reads, bench.taken()) == (1, [])

    await bench.refresh(after=0.5)
    assert (bench.stats.reads, bench.taken()) == (2, [20])


async def test_ticks_that_nobody_takes_do_not_pile_up() -> None:
    bench = Bench()
    for _ in range(100):
        await bench.refresh(requests=1)

    assert len(bench.taken()) == 30


async def test_a_revision_is_warm_when_every_router_may_send_to_it() -> None:
    bench = Bench()
    assert bench.sampler.warm("shop", "fraud") == frozenset()
    await bench.refresh()
    assert bench.sampler.warm("shop", "fraud") == {"a"}
    assert bench.sampler.warm("shop", "unknown") == frozenset()

    bench.stats.away = {"r-1"}
    await bench.refresh()
    assert bench.sampler.warm("shop", "fraud") == frozenset()

    bench.stats.away, bench.stats.healthy = set(), 0
    await bench.refresh()
    assert bench.sampler.warm("shop", "fraud") == frozenset()


async def test_without_routers_nothing_is_warm() -> None:
    bench = Bench()
    await bench.refresh(pods=[])

    assert bench.sampler.warm("shop", "fraud") == frozenset()


async def test_what_was_forgotten_is_not_taken() -> None:
    bench = Bench()
    await bench.refresh()
    await bench.refresh(requests=10)
    bench.sampler.forget("shop", "fraud")

    assert bench.taken() == []
