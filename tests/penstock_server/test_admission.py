"""Turns are bounded, waiting is bounded, and nobody who left keeps a place."""

import asyncio

import pytest

from penstock_server.admission import Admission, Overloaded


async def test_as_many_run_as_may_and_the_next_waits() -> None:
    admission = Admission(concurrency_max=2, queue_max=1)
    await admission.acquire()
    await admission.acquire()
    waiting = asyncio.ensure_future(admission.acquire())
    await asyncio.sleep(0)
    assert (admission.in_flight, admission.queued) == (2, 1)
    admission.release()
    await waiting
    assert (admission.in_flight, admission.queued) == (2, 0)


async def test_who_finds_the_queue_full_is_turned_away_at_once() -> None:
    admission = Admission(concurrency_max=1, queue_max=0)
    await admission.acquire()
    with pytest.raises(Overloaded, match="1 requests run and 0 wait already"):
        await admission.acquire()


async def test_who_stops_waiting_frees_the_place() -> None:
    admission = Admission(concurrency_max=1, queue_max=1)
    await admission.acquire()
    waiting = asyncio.ensure_future(admission.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (admission.in_flight, admission.queued) == (1, 0)
    admission.release()
    await admission.acquire()
    assert admission.in_flight == 1


async def test_those_who_wait_are_served_in_their_order() -> None:
    admission = Admission(concurrency_max=1, queue_max=3)
    served: list[int] = []

    async def visit(number: int) -> None:
        await admission.acquire()
        served.append(number)
        admission.release()

    await admission.acquire()
    visits = [asyncio.ensure_future(visit(number)) for number in range(3)]
    await asyncio.sleep(0)
    admission.release()
    await asyncio.gather(*visits)
    assert served == [0, 1, 2]
