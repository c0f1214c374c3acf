"""Leader election: several electors, one Lease, clocks in the test's hands."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.fakes.virtual_time import in_virtual_time

from penstock_operator.election import Elector, LeaseRecord, SoleReplica, Terms
from penstock_operator.ports import ClusterUnavailable, RequestRejected


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        in_virtual_time(test(*args, **kwargs))

    return run


class FakeLease:
    """A Lease with compare-and-swap, that can be cut off or answer late."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.version = 0
        self.failure: Exception | None = None
        self.lose_answers = False
        self.history: list[tuple[float, str]] = []

    async def read(self, timeout_seconds: float) -> LeaseRecord | None:
        assert timeout_seconds > 0
        await asyncio.sleep(0.01)
        if self.failure:
            raise self.failure
        return self.record

    async def write(
        self, holder: str, *, seen: LeaseRecord | None, duration_seconds: int, timeout_seconds: float
    ) -> LeaseRecord:
        assert timeout_seconds > 0
        await asyncio.sleep(0.01)
        if self.failure:
            raise self.failure
        if (seen.version if seen else None) != (self.record.version if self.record else None):
            raise ClusterUnavailable("409 the object has been modified")
        self.version += 1
        if holder != (self.record.holder if self.record else ""):
            self.history.append((asyncio.get_running_loop().time() - 1000, holder))
        self.record = LeaseRecord(
            holder=holder,
            duration_seconds=duration_seconds,
            transitions=0,
            acquired="",
            version=str(self.version),
        )
        if self.lose_answers:
            raise ClusterUnavailable("the answer was lost")
        return self.record


class Frozen:
    """Sleeps like asyncio, but can be stopped like a process by SIGSTOP while its clock goes on."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.running.set()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.running.wait()


def now() -> float:
    return asyncio.get_running_loop().time()


def elector(lease: FakeLease, name: str, **settings: Any) -> Elector:
    return Elector(store=lease, identity=name, clock=now, **settings)


async def lead(elector: Elector) -> None:
    await elector.acquire()
    await elector.hold()


@virtual
async def test_a_free_lease_is_taken_at_once() -> None:
    lease = FakeLease()
    one = elector(lease, "one")
    assert not one.may_write()
    await one.acquire()
    assert one.may_write()
    assert now() - 1000 < 0.1


@virtual
async def test_only_one_of_two_that_start_together_leads() -> None:
    lease = FakeLease()
    both = [elector(lease, "one"), elector(lease, "two")]
    tasks = [asyncio.create_task(each.acquire()) for each in both]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [each.may_write() for each in both].count(True) == 1
    for task in tasks:
        task.cancel()


@virtual
async def test_a_leader_keeps_the_lease_while_it_can_renew() -> None:
    lease = FakeLease()
    one, two = elector(lease, "one"), elector(lease, "two")
    await one.acquire()
    holding, waiting = asyncio.create_task(one.hold()), asyncio.create_task(two.acquire())
    for _ in range(600):
        await asyncio.sleep(0.5)
        assert one.may_write()
        assert not two.may_write()
    holding.cancel()
    waiting.cancel()


@virtual
async def test_the_lease_of_a_dead_leader_is_taken_after_its_duration() -> None:
    lease = FakeLease()
    one, two = elector(lease, "one"), elector(lease, "two")
    await one.acquire()
    await two.acquire()
    assert 15 < now() - 1000 <= 15 + 2 + 0.1


@virtual
async def test_a_frozen_leader_that_continues_may_not_write_and_stops() -> None:
    lease, frozen = FakeLease(), Frozen()
    one, two = elector(lease, "one", sleep=frozen.sleep), elector(lease, "two")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    other = asyncio.create_task(lead(two))
    await asyncio.sleep(5)
    frozen.running.clear()
    await asyncio.sleep(30)
    assert two.may_write()
    assert not one.may_write(), "before it has run a single line"
    frozen.running.set()
    await asyncio.wait_for(holding, 0.1)
    assert two.may_write()
    other.cancel()


@virtual
async def test_there_are_never_two_writers_while_leaders_freeze_and_continue() -> None:
    lease = FakeLease()
    freezers = {name: Frozen() for name in ("one", "two", "three")}
    electors = {name: elector(lease, name, sleep=frozen.sleep) for name, frozen in freezers.items()}

    async def live(each: Elector) -> None:
        while True:
            await lead(each)

    async def watch() -> None:
        while True:
            assert sum(each.may_write() for each in electors.values()) <= 1
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(live(each)) for each in electors.values()] + [asyncio.create_task(watch())]
    for round_number in range(30):
        await asyncio.sleep(3 + round_number * 0.37)
        for name, frozen in freezers.items():
            if electors[name].may_write():
                frozen.running.clear()
        await asyncio.sleep(19)
        for frozen in freezers.values():
            frozen.running.set()
    assert not [task for task in tasks if task.done()]
    assert len(lease.history) > 25
    for task in tasks:
        task.cancel()


@virtual
async def test_a_leader_without_the_api_server_stops_before_another_can_start() -> None:
    lease = FakeLease()
    one = elector(lease, "one")
    await one.acquire()
    started = now()
    holding = asyncio.create_task(one.hold())
    await asyncio.sleep(4.5)
    lease.failure = ClusterUnavailable("cut off")
    await holding
    assert not one.may_write()
    assert 4 + 10 <= now() - started + 0.1 <= 4 + 10 + 2.5
    assert now() - started < 4 + 15, "the others wait for 15 s after the last renewal"


@virtual
async def test_a_short_outage_costs_nothing() -> None:
    lease = FakeLease()
    one = elector(lease, "one")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    await asyncio.sleep(5)
    lease.failure = RequestRejected("forbidden for a moment", 403, "Forbidden")
    await asyncio.sleep(6)
    lease.failure = None
    await asyncio.sleep(60)
    assert not holding.done()
    assert one.may_write()
    holding.cancel()


@virtual
async def test_a_renewal_whose_answer_was_lost_is_no_loss() -> None:
    lease = FakeLease()
    one = elector(lease, "one")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    await asyncio.sleep(1)
    lease.lose_answers = True
    await asyncio.sleep(2)
    lease.lose_answers = False
    await asyncio.sleep(30)
    assert one.may_write()
    holding.cancel()


@virtual
async def test_a_first_write_whose_answer_was_lost_is_ours_on_the_next_try() -> None:
    lease = FakeLease()
    lease.lose_answers = True
    one = elector(lease, "one")
    acquiring = asyncio.create_task(one.acquire())
    await asyncio.sleep(1)
    lease.lose_answers = False
    await acquiring
    assert now() - 1000 < 3


@virtual
async def test_a_lease_that_somebody_else_wrote_is_lost_at_the_next_renewal() -> None:
    lease = FakeLease()
    one = elector(lease, "one")
    await one.acquire()
    await lease.write("intruder", seen=lease.record, duration_seconds=15, timeout_seconds=1)
    await asyncio.wait_for(one.hold(), 3)
    assert not one.may_write()


@virtual
async def test_a_released_lease_is_taken_at_the_next_look() -> None:
    lease = FakeLease()
    one, two = elector(lease, "one"), elector(lease, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(3)
    await one.release()
    assert not one.may_write()
    released = now()
    await waiting
    assert now() - released <= 2.1


@virtual
async def test_releasing_needs_no_cluster() -> None:
    lease = FakeLease()
    one = elector(lease, "one")
    await one.acquire()
    lease.failure = ClusterUnavailable("gone")
    await one.release()
    assert not one.may_write()


@virtual
async def test_one_that_does_not_lead_releases_nothing() -> None:
    lease = FakeLease()
    one, two = elector(lease, "one"), elector(lease, "two")
    await one.acquire()
    await two.release()
    assert lease.record is not None
    assert lease.record.holder == "one"


@virtual
async def test_a_restarted_container_takes_over_its_own_pods_lease_at_once() -> None:
    lease = FakeLease()
    await elector(lease, "pod-a_uid-1_old").acquire()
    heir = elector(lease, "pod-a_uid-1_new", heir_of="pod-a_uid-1_")
    await heir.acquire()
    assert now() - 1000 < 0.2
    assert heir.may_write()


@virtual
async def test_the_pods_of_others_are_not_inherited() -> None:
    lease = FakeLease()
    await elector(lease, "pod-b_uid-2_x").acquire()
    acquiring = asyncio.create_task(elector(lease, "pod-a_uid-1_new", heir_of="pod-a_uid-1_").acquire())
    await asyncio.sleep(10)
    assert not acquiring.done()
    acquiring.cancel()


@virtual
async def test_the_time_to_write_counts_from_the_start_of_the_renewal() -> None:
    lease = FakeLease()
    one = elector(lease, "one", terms=Terms(renew_deadline=10))
    await one.acquire()  # a read and a write of 10 ms each; the count starts before them
    await asyncio.sleep(9.97)
    assert one.may_write()
    await asyncio.sleep(0.02)
    assert not one.may_write()


async def test_a_sole_replica_always_leads() -> None:
    alone = SoleReplica()
    await alone.acquire()
    assert alone.may_write()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(alone.hold(), 0.01)
