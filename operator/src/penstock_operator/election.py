"""Leader election over a Lease, judged by this process's own clock."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from penstock_operator.ports import ClusterUnavailable, RequestRejected

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """Who leads, as written in the Lease. ``version`` is compared by the API server at each write."""

    holder: str
    duration_seconds: int
    transitions: int
    acquired: str
    version: str


class LeaseStore(Protocol):
    """The Lease object. Every method may raise ClusterUnavailable (a lost race as well) or RequestRejected."""

    async def read(self, timeout_seconds: float) -> LeaseRecord | None:
        """Return the record, or None if there is no Lease."""

    async def write(
        self, holder: str, *, seen: LeaseRecord | None, duration_seconds: int, timeout_seconds: float
    ) -> LeaseRecord:
        """Create the Lease, or replace it if it still is what was ``seen``; an empty holder frees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The times of the election, in seconds.

    A leader that could not renew for ``renew_deadline`` stops; others wait ``lease_duration`` without any sign of it.
    """

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


def boot_clock() -> float:
    """Return seconds on a clock that never jumps and goes on while the process or the machine is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Leadership(Protocol):
    """Whether, and until when, this process is the one that writes."""

    def may_write(self) -> bool:
        """Return whether nobody else can be writing at this instant."""

    async def acquire(self) -> None:
        """Return when this process leads."""

    async def hold(self) -> None:
        """Keep leading; return when it is lost."""

    async def release(self) -> None:
        """Let another lead."""


class SoleReplica:
    """Leads always: for a cluster where somebody promised that there is only one operator."""

    def may_write(self) -> bool:
        """Return True."""
        return True

    async def acquire(self) -> None:
        """Return at once."""

    async def hold(self) -> None:
        """Never return."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Do nothing."""


class Elector:
    """Takes the lease, keeps it, and knows at any instant whether it is certain to be held.

    No two clocks are compared: another's lease has run out when its record did not change for a lease duration of
    local time; our own counts from the start of the last renewal that succeeded. ``identity`` must be unique to the
    process. A holder whose identity starts with ``heir_of`` is known to be dead (the earlier process of this very
    container), so its lease is taken at once.
    """

    def __init__(
        self,
        *,
        store: LeaseStore,
        identity: str,
        heir_of: str | None = None,
        terms: Terms | None = None,
        clock: Callable[[], float] = boot_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._identity = identity
        self._heir_of = heir_of
        self._terms = terms or Terms()
        self._clock = clock
        self._sleep = sleep
        self._held: LeaseRecord | None = None
        self._renewed_at = float("-inf")
        self._observed: LeaseRecord | None = None
        self._observed_at = float("-inf")

    def may_write(self) -> bool:
        """Return whether nobody else can hold the lease at this instant."""
        return self._held is not None and self._clock() - self._renewed_at < self._terms.renew_deadline

    async def acquire(self) -> None:
        """Return when this process leads."""
        while not await self._try_to_acquire():
            await self._sleep(self._terms.retry_period)

    async def hold(self) -> None:
        """Keep the lease; return when it is lost."""
        while self.may_write():
            await self._sleep(self._terms.retry_period)
            if not self.may_write() or not await self._try_to_renew():
                break
        self._held = None

    async def release(self) -> None:
        """Free the lease, so that another can take it at once. Never raises for want of a cluster."""
        held, may_write = self._held, self.may_write()
        self._held = None
        if held is None or not may_write:
            return
        try:
            await self._write("", seen=held, timeout_seconds=2.0)
        except (ClusterUnavailable, RequestRejected) as error:
            _LOG.info("the lease could not be released, others wait for it to run out: %s", error)

    async def _try_to_acquire(self) -> bool:
        started = self._clock()
        try:
            seen = await self._store.read(self._terms.renew_deadline / 2)
            if not self._is_free(seen):
                return False
            self._held = await self._write(self._identity, seen=seen, timeout_seconds=self._terms.renew_deadline / 2)
        except (ClusterUnavailable, RequestRejected) as error:
            _LOG.info("the lease could not be taken: %s", error)
            return False
        self._renewed_at = started
        return self.may_write()

    def _is_free(self, seen: LeaseRecord | None) -> bool:
        if seen is None or seen.holder in ("", self._identity):
            return True
        if self._heir_of is not None and seen.holder.startswith(self._heir_of):
            return True
        if self._observed is None or seen.version != self._observed.version:
            self._observed, self._observed_at = seen, self._clock()
        return self._clock() - self._observed_at > seen.duration_seconds

    async def _try_to_renew(self) -> bool:
        """Renew once; return False if the lease is another's by now. Trouble is not loss before the deadline."""
        started = self._clock()
        left = self._terms.renew_deadline - (started - self._renewed_at)
        try:
            self._held = await self._write(self._identity, seen=self._held, timeout_seconds=min(left, 5.0))
            self._renewed_at = started
        except RequestRejected as error:
            _LOG.warning("the lease could not be renewed: %s", error)
        except ClusterUnavailable as error:
            _LOG.warning("the lease could not be renewed: %s", error)
            return await self._still_ours()
        return True

    async def _still_ours(self) -> bool:
        """Look who holds the lease: a write may have succeeded although its answer was lost."""
        left = self._terms.renew_deadline - (self._clock() - self._renewed_at)
        if left <= 0:
            return False
        try:
            seen = await self._store.read(min(left, 2.0))
        except (ClusterUnavailable, RequestRejected):
            return True  # unknown; the deadline decides
        if seen is None or seen.holder != self._identity:
            return False
        self._held = seen
        return True

    async def _write(self, holder: str, *, seen: LeaseRecord | None, timeout_seconds: float) -> LeaseRecord:
        duration = int(self._terms.lease_duration)
        return await self._store.write(holder, seen=seen, duration_seconds=duration, timeout_seconds=timeout_seconds)
