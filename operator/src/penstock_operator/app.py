"""The life of the operator process: watch always, work while leading, leave in order."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from penstock_operator.adapters.metrics import Metrics
from penstock_operator.adapters.ops_server import Heartbeat
from penstock_operator.core.objects import Kind
from penstock_operator.election import Leadership
from penstock_operator.ports import ClusterUnavailable, RequestRejected
from penstock_operator.queue import WorkQueue

_LOG = logging.getLogger(__name__)
_BEAT_SECONDS = 1.0
_FIRST_RECONCILES_SECONDS = 60.0
_LEAVE_SECONDS = 4.0
_FLUSH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the process is made of; built in ``__main__``.

    ``background`` runs from the start to the end, in standbys too. ``until_listed`` returns when every kind is in
    the cache. ``open_to_routers`` and ``close_to_routers`` frame the time in which routers may connect;
    ``lead_routers_here`` tells them where, and may raise the port's errors.
    """

    metrics: Metrics
    heartbeat: Heartbeat
    queue: WorkQueue
    leadership: Leadership
    background: tuple[Callable[[], Coroutine[Any, Any, None]], ...]
    until_listed: Callable[[], Awaitable[Any]]
    flush_events: Callable[[], Coroutine[Any, Any, None]]
    open_to_routers: Callable[[], Awaitable[Any]]
    lead_routers_here: Callable[[], Awaitable[None]]
    close_to_routers: Callable[[], Awaitable[None]]


class Stop:
    """Set by SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def claim_signals(self) -> None:
        """Take the two signals; whoever took them before loses them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._event.set)

    async def wait(self) -> None:
        """Return when the process was asked to leave."""
        await self._event.wait()


async def run(parts: Parts, stop: Stop) -> int:
    """Run until asked to stop; return the exit status. A lost lease ends the process at once, inside here."""
    background = [asyncio.create_task(_beat(parts), name="heartbeat")]
    background += [asyncio.create_task(start()) for start in parts.background]
    leading = asyncio.create_task(_lead(parts), name="leading")
    stopping = asyncio.create_task(stop.wait(), name="stopping")
    done, _ = await asyncio.wait({leading, stopping, *background}, return_when=asyncio.FIRST_COMPLETED)
    status = 0
    for task in done - {stopping}:
        status = 1
        _LOG.error("%s ended, so the process ends: %r", task.get_name(), task.exception())
    await _leave(parts, leading, [*background, stopping])
    return status


async def _lead(parts: Parts) -> None:
    """Wait for the lease, then work. Never returns while the lease is held."""
    await parts.leadership.acquire()
    _LOG.info("leading")
    parts.metrics.leads(leading=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(_hold_or_die(parts.leadership), name="lease")
        await parts.until_listed()
        group.create_task(parts.queue.run(), name="queue")
        if not await parts.queue.drained_once(Kind.TRAFFIC_SPLIT, _FIRST_RECONCILES_SECONDS):
            _LOG.warning("routers may connect although not every TrafficSplit was reconciled")
        await parts.open_to_routers()
        await _insist(parts.lead_routers_here)


async def _hold_or_die(leadership: Leadership) -> None:
    """Exit on loss, without a word to anybody: another may be leading already."""
    await leadership.hold()
    _LOG.error("the lease is lost; exiting, so that there are never two writers")
    logging.shutdown()
    os._exit(1)


async def _insist(action: Callable[[], Awaitable[None]]) -> None:
    pause = 0.5
    while True:
        try:
            await action()
        except (ClusterUnavailable, RequestRejected) as error:
            _LOG.warning("routers cannot be led here yet, next try in %.1f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 30.0)
        else:
            return


async def _leave(parts: Parts, leading: asyncio.Task[None], others: list[asyncio.Task[None]]) -> None:
    """Stop working, send what is left to say, free the lease, close to routers."""
    try:
        async with asyncio.timeout(_LEAVE_SECONDS):
            await _cancelled(leading)
            async with asyncio.timeout(_FLUSH_SECONDS) as flushing:
                await parts.flush_events()
            if flushing.expired():
                _LOG.info("some events were left behind")
            await parts.leadership.release()
            await parts.close_to_routers()
            await asyncio.gather(*(_cancelled(task) for task in others))
    except TimeoutError:
        _LOG.warning("not everything could be closed in time")


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel and wait; how it ended does not matter any more."""
    task.cancel()
    await asyncio.wait({task})


async def _beat(parts: Parts) -> None:
    """Show that the event loop turns, and how late."""
    while True:
        due = time.monotonic() + _BEAT_SECONDS
        await asyncio.sleep(_BEAT_SECONDS)
        parts.heartbeat.beat()
        parts.metrics.loop_lagged(max(0.0, time.monotonic() - due))
