"""The work queue, in virtual time."""

import asyncio
import functools
import itertools
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tests.fakes.people import Unobserved
from tests.fakes.virtual_time import in_virtual_time

from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.ports import ClusterUnavailable, NotLeading, RequestRejected
from penstock_operator.queue import Pace, WorkQueue


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        in_virtual_time(test(*args, **kwargs))

    return run


def ref(name: str = "fraud", kind: Kind = Kind.TRAFFIC_SPLIT) -> ObjectRef:
    return ObjectRef(kind=kind, namespace="shop", name=name)


class Scripted:
    """A reconciler that does what the test says and remembers when it ran."""

    def __init__(self, behaviour: Callable[[ObjectRef], Awaitable[float | None]] | None = None) -> None:
        self.behaviour = behaviour or self.succeed
        self.runs: list[tuple[float, ObjectRef]] = []
        self.running: Counter[ObjectRef] = Counter()
        self.most_at_once = 0

    async def succeed(self, _: ObjectRef) -> float | None:
        return None

    async def reconcile(self, key: ObjectRef) -> float | None:
        self.runs.append((asyncio.get_running_loop().time() - 1000, key))
        self.running[key] += 1
        assert self.running[key] == 1, "two reconciles of one object at once"
        self.most_at_once = max(self.most_at_once, self.running.total())
        try:
            return await self.behaviour(key)
        finally:
            self.running[key] -= 1

    def times(self, key: ObjectRef | None = None) -> list[float]:
        return [round(at, 3) for at, ran in self.runs if key in (None, ran)]


class Heard:
    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.late: list[float] = []

    def began(self, kind: Kind, late_seconds: float) -> None:
        assert kind is Kind.TRAFFIC_SPLIT
        self.late.append(round(late_seconds, 3))

    def reconciled(self, kind: Kind, seconds: float, outcome: str) -> None:
        assert kind is Kind.TRAFFIC_SPLIT
        assert seconds >= 0
        self.outcomes.append(outcome)


def make(reconciler: Scripted, heard: Heard | None = None, **settings: Any) -> WorkQueue:
    settings.setdefault("jitter", lambda: 1.0)
    return WorkQueue({Kind.TRAFFIC_SPLIT: reconciler}, observer=heard or Heard(), **settings)


@asynccontextmanager
async def working(queue: WorkQueue) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@virtual
async def test_an_added_object_is_reconciled_without_delay() -> None:
    reconciler = Scripted()
    queue = make(reconciler)
    async with working(queue):
        queue.add(ref())
        await asyncio.sleep(0.001)
    assert reconciler.times() == [0.0]


@virtual
async def test_many_events_of_a_waiting_object_make_one_reconcile() -> None:
    reconciler = Scripted()
    queue = make(reconciler)
    for _ in range(100):
        queue.add(ref())
    assert queue.depth == 1
    async with working(queue):
        await asyncio.sleep(10)
    assert reconciler.times() == [0.0]


@virtual
async def test_events_during_a_reconcile_make_exactly_one_more_after_it() -> None:
    async def slow(_: ObjectRef) -> float | None:
        await asyncio.sleep(3)
        return None

    reconciler = Scripted(slow)
    queue = make(reconciler)
    async with working(queue):
        queue.add(ref())
        for _ in range(5):
            await asyncio.sleep(0.5)
            queue.add(ref())
        await asyncio.sleep(60)
    assert reconciler.times() == [0.0, 3.0]


@virtual
async def test_objects_are_reconciled_side_by_side_up_to_the_number_of_workers() -> None:
    async def slow(_: ObjectRef) -> float | None:
        await asyncio.sleep(1)
        return None

    reconciler = Scripted(slow)
    queue = make(reconciler, workers=3)
    async with working(queue):
        for number in range(9):
            queue.add(ref(f"split-{number}"))
        await asyncio.sleep(10)
    assert reconciler.most_at_once == 3
    assert sorted(reconciler.times()) == [0.0] * 3 + [1.0] * 3 + [2.0] * 3


@virtual
async def test_the_next_look_comes_when_the_reconciler_asked_for_it() -> None:
    async def every_two_seconds(_: ObjectRef) -> float | None:
        return 2.0

    reconciler = Scripted(every_two_seconds)
    queue = make(reconciler)
    async with working(queue):
        queue.add(ref())
        await asyncio.sleep(7)
    assert reconciler.times() == [0.0, 2.0, 4.0, 6.0]


@virtual
async def test_an_event_makes_the_planned_look_superfluous() -> None:
    looks = iter([10.0, None])

    async def once_more(_: ObjectRef) -> float | None:
        return next(looks)

    reconciler = Scripted(once_more)
    queue = make(reconciler)
    async with working(queue):
        queue.add(ref())
        await asyncio.sleep(4)
        queue.add(ref())
        await asyncio.sleep(60)
    assert reconciler.times() == [0.0, 4.0]


@virtual
async def test_of_two_planned_looks_the_earlier_counts() -> None:
    reconciler = Scripted()
    queue = make(reconciler)
    async with working(queue):
        queue.add_after(ref(), 9)
        queue.add_after(ref(), 5)
        queue.add_after(ref(), 7)
        await asyncio.sleep(60)
    assert reconciler.times() == [5.0]


@virtual
async def test_failures_are_retried_with_doubling_delays_up_to_five_minutes() -> None:
    async def fail(_: ObjectRef) -> float | None:
        raise ClusterUnavailable("down")

    reconciler = Scripted(fail)
    queue = make(reconciler)
    async with working(queue):
        queue.add(ref())
        await asyncio.sleep(2000)
    times = reconciler.times()
    delays = [round(after - before, 1) for before, after in itertools.pairwise(times)]
    assert delays[:5] == [0.2, 0.4, 0.8, 1.6, 3.2]
    assert delays[-1] == 300.0
    assert max(delays) == 300.0


@virtual
async def test_jitter_makes_a_delay_at_most_half_as_short() -> None:
    async def fail(_: ObjectRef) -> float | None:
        raise ClusterUnavailable("down")

    reconciler = Scripted(fail)
    queue = make(reconciler, jitter=lambda: 0.0)
    async with working(queue):
        queue.add(ref())
        await asyncio.sleep(0.11)
    assert reconciler.times() == [0.0, 0.1]


@virtual
async def test_a_success_forgets_earlier_failures() -> None:
    outcomes = iter([True, True, False, True])

    async def sometimes(_: ObjectRef) -> float | None:
        if next(outcomes):
            raise ClusterUnavailable("down")
        return 10.0

    reconciler = Scripted(sometimes)
    queue = make(reconciler)
    async with working(queue):
        queue.add(ref())
        await asyncio.sleep(10.7)
    assert reconciler.times() == [0.0, 0.2, 0.6, 10.6]


@virtual
async def test_the_servers_retry_after_is_honoured() -> None:
    failures = iter([ClusterUnavailable("busy", 17.0)])

    async def once(_: ObjectRef) -> float | None:
        for failure in failures:
            raise failure
        return None

    reconciler = Scripted(once)
    queue = make(reconciler)
    async with working(queue):
        queue.add(ref())
        await asyncio.sleep(60)
    assert reconciler.times() == [0.0, 17.0]


@virtual
async def test_a_storm_of_events_does_not_make_a_failing_object_hot() -> None:
    async def fail(_: ObjectRef) -> float | None:
        raise ClusterUnavailable("down")

    reconciler = Scripted(fail)
    queue = make(reconciler)
    async with working(queue):
        for _ in range(1000):
            queue.add(ref())
            await asyncio.sleep(0.02)
    assert 19 <= len(reconciler.runs) <= 25, "about once in a second, for twenty seconds"


@virtual
async def test_an_object_whose_reconciles_cause_events_is_slowed_down() -> None:
    async def cause_an_event(key: ObjectRef) -> float | None:
        queue.add(key)
        return None

    reconciler = Scripted(cause_an_event)
    queue = make(reconciler, pace=Pace(burst=30, per_second=5.0))
    async with working(queue):
        queue.add(ref())
        await asyncio.sleep(20)
    assert 30 <= len(reconciler.runs) <= 30 + 20 * 5 + 1


@virtual
async def test_a_hung_reconcile_is_cancelled_and_tried_again() -> None:
    hangs = iter([True])

    async def hang_once(_: ObjectRef) -> float | None:
        for _hang in hangs:
            await asyncio.Event().wait()
        return None

    reconciler, heard = Scripted(hang_once), Heard()
    queue = make(reconciler, heard)
    async with working(queue):
        queue.add(ref())
        await asyncio.sleep(100)
    assert reconciler.times() == [0.0, 60.2]
    assert heard.outcomes == ["deadline", "ok"]


@virtual
async def test_a_hung_object_does_not_stop_the_others() -> None:
    async def hang(key: ObjectRef) -> float | None:
        if key.name == "bad":
            await asyncio.Event().wait()
        return None

    reconciler = Scripted(hang)
    queue = make(reconciler, workers=2)
    async with working(queue):
        queue.add(ref("bad"))
        queue.add(ref("good"))
        await asyncio.sleep(1)
    assert reconciler.times(ref("good")) == [0.0]


def test_a_refusal_is_logged_once_and_tried_again_slowly(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async def refuse(_: ObjectRef) -> float | None:
            raise RequestRejected("exceeded quota: pods", 403, "Forbidden")

        reconciler = Scripted(refuse)
        queue = make(reconciler)
        async with working(queue):
            queue.add(ref())
            await asyncio.sleep(100)
        assert reconciler.times() == [0.0, 30.0, 90.0]

    with caplog.at_level(logging.WARNING):
        in_virtual_time(scenario())
    assert [record.getMessage() for record in caplog.records] == [
        "TrafficSplit shop/fraud: the API server refused a request: exceeded quota: pods"
    ]


def test_a_bug_is_logged_with_its_traceback_and_the_object_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        bugs = iter([ZeroDivisionError("a bug")])

        async def stumble(_: ObjectRef) -> float | None:
            for bug in bugs:
                raise bug
            return None

        reconciler, heard = Scripted(stumble), Heard()
        queue = make(reconciler, heard)
        async with working(queue):
            queue.add(ref())
            await asyncio.sleep(1)
        assert heard.outcomes == ["error", "ok"]

    in_virtual_time(scenario())
    assert caplog.records[0].exc_info is not None


@virtual
async def test_a_lost_lease_ends_the_work() -> None:
    async def too_late(_: ObjectRef) -> float | None:
        raise NotLeading("lost")

    queue = make(Scripted(too_late))
    queue.add(ref())
    with pytest.raises(NotLeading):
        await queue.run()


@virtual
async def test_a_kind_that_nobody_reconciles_is_ignored() -> None:
    queue = make(Scripted())
    queue.add(ref(kind=Kind.DRIFT_POLICY))
    queue.add_after(ref(kind=Kind.DRIFT_POLICY), 1)
    assert queue.depth == 0


@virtual
async def test_drained_once_waits_for_the_first_reconcile_of_each_known_object() -> None:
    async def slow(key: ObjectRef) -> float | None:
        await asyncio.sleep(float(key.name))
        return None

    queue = make(Scripted(slow))
    for seconds in ("1", "5", "3"):
        queue.add(ref(seconds))
    async with working(queue):
        assert await queue.drained_once(Kind.TRAFFIC_SPLIT, 60)
        assert asyncio.get_running_loop().time() - 1000 == pytest.approx(5)
        assert await queue.drained_once(Kind.TRAFFIC_SPLIT, 60)
        assert asyncio.get_running_loop().time() - 1000 == pytest.approx(5)


@virtual
async def test_drained_once_does_not_count_an_attempt_that_found_no_cluster() -> None:
    failures = iter([ClusterUnavailable("down", 7.0)])

    async def once(_: ObjectRef) -> float | None:
        for failure in failures:
            raise failure
        return None

    queue = make(Scripted(once))
    queue.add(ref())
    async with working(queue):
        assert await queue.drained_once(Kind.TRAFFIC_SPLIT, 60)
        assert asyncio.get_running_loop().time() - 1000 == pytest.approx(7)


@virtual
async def test_drained_once_gives_up_on_an_object_that_never_succeeds() -> None:
    async def fail(_: ObjectRef) -> float | None:
        raise ValueError

    queue = make(Scripted(fail))
    queue.add(ref())
    async with working(queue):
        assert not await queue.drained_once(Kind.TRAFFIC_SPLIT, 30)
        assert asyncio.get_running_loop().time() - 1000 == pytest.approx(30)


@virtual
async def test_an_object_that_went_leaves_nothing_behind() -> None:
    queue = make(Scripted())
    async with working(queue):
        for number in range(50):
            queue.add(ref(f"split-{number}"))
        await asyncio.sleep(60)
    assert not queue._keys


@virtual
async def test_how_late_each_reconcile_began_is_told() -> None:
    async def slow(key: ObjectRef) -> float | None:
        await asyncio.sleep(3)
        return 2.0 if key.name == "a" else None

    heard = Heard()
    queue = make(Scripted(slow), heard, workers=1)
    async with working(queue):
        queue.add(ref("a"))
        queue.add(ref("b"))
        await asyncio.sleep(8)
    assert heard.late == [0, 3, 1], "b waited for a; the next look at a was due after 5 s, while b went on until 6 s"


@virtual
async def test_urgent_objects_go_first_and_the_others_still_get_each_third_turn() -> None:
    reconciler = Scripted()
    kinds = {Kind.TRAFFIC_SPLIT: reconciler, Kind.DRIFT_POLICY: reconciler}
    queue = WorkQueue(kinds, observer=Unobserved(), workers=1, urgent={Kind.TRAFFIC_SPLIT})
    for number in range(4):
        queue.add(ref(f"policy-{number}", Kind.DRIFT_POLICY))
    for number in range(6):
        queue.add(ref(f"split-{number}"))
    assert queue.depth == 10
    async with working(queue):
        await asyncio.sleep(1)
    ran = [key.name for _, key in reconciler.runs]
    assert ran == [
        *("split-0", "split-1", "policy-0"),
        *("split-2", "split-3", "policy-1"),
        *("split-4", "split-5", "policy-2", "policy-3"),
    ]


@virtual
async def test_the_age_of_the_oldest_waiting_object_is_known() -> None:
    queue = make(Scripted())
    assert queue.oldest_age() == 0
    queue.add(ref("a"))
    await asyncio.sleep(4)
    queue.add(ref("b"))
    ages: list[float] = []
    scrape = threading.Thread(target=lambda: ages.append(queue.oldest_age()))
    scrape.start()
    scrape.join()
    assert ages == [pytest.approx(4)], "metrics are read by another thread"
    assert queue.oldest_age() == pytest.approx(4)
