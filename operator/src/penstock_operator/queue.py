"""The work queue: one reconcile at a time for each object, deduplicated, retried with growing delays."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.lanes import Lanes
from penstock_operator.ports import ClusterUnavailable, NotLeading, RequestRejected

_LOG = logging.getLogger(__name__)


class Reconciler(Protocol):
    """Brings one object's world in line with what it asks for."""

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Look, decide and write; return the seconds until the next look, None: only on a change."""


class Observer(Protocol):
    """Hears how reconciles went; the metrics adapter is one."""

    def began(self, kind: Kind, late_seconds: float) -> None:
        """One reconcile began, this long after it was due."""

    def reconciled(self, kind: Kind, seconds: float, outcome: str) -> None:
        """One reconcile ended: ``ok``, ``unavailable``, ``rejected``, ``deadline`` or ``error``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the queue may go. All in seconds.

    ``retry_first`` doubles with each failure up to ``retry_last``; what the API server refused for good starts at
    ``rejected_first``. While a key fails, events make it run at most once in ``failing_pause``. ``burst`` and
    ``per_second`` bound how often one key may run at all: somebody who fights over a field gets a slow war.
    """

    deadline: float = 60.0
    retry_first: float = 0.2
    retry_last: float = 300.0
    rejected_first: float = 30.0
    failing_pause: float = 1.0
    burst: int = 30
    per_second: float = 5.0


@dataclass(slots=True, kw_only=True)
class _Key:
    """What the queue remembers about one object."""

    tokens: float
    tokens_at: float
    failures: int = 0
    last_ended: float = float("-inf")
    last_rejection: str | None = None
    queued_since: float | None = None
    processing: bool = False
    dirty: bool = False
    reconciled: bool = False
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, kw_only=True)
class _Waiter:
    """Somebody who waits for the first reconcile of these keys."""

    pending: set[ObjectRef]
    done: asyncio.Event


class WorkQueue:
    """Dirty and processing sets as in client-go, inside one event loop.

    A key that is added while it is processed runs once more afterwards, never beside itself.
    """

    def __init__(
        self,
        reconcilers: Mapping[Kind, Reconciler],
        *,
        observer: Observer,
        workers: int = 4,
        pace: Pace | None = None,
        urgent: Collection[Kind] = (),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._reconcilers = reconcilers
        self._observer = observer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workers = workers
        self._pace = pace or Pace()
        self._jitter = jitter
        self._keys: dict[ObjectRef, _Key] = {}
        self._ready = Lanes(urgent)
        self._wakeup = asyncio.Semaphore(0)
        self._waiters: list[_Waiter] = []

    # --- what others call ---

    def add(self, ref: ObjectRef) -> None:
        """Reconcile the object soon: now, or when its present reconcile ends."""
        if ref.kind not in self._reconcilers:
            return
        key = self._key(ref)
        if key.processing:
            key.dirty = True
            return
        now = self._now()
        wait = max(self._wait_for_token(key, now), self._wait_while_failing(key, now))
        if wait <= 0:
            self._enqueue(ref, key)
        else:
            self.add_after(ref, wait)

    def add_after(self, ref: ObjectRef, seconds: float) -> None:
        """Reconcile the object in so many seconds at the latest."""
        if ref.kind not in self._reconcilers:
            return
        key = self._key(ref)
        due = self._now() + seconds
        if key.queued_since is not None or (key.timer is not None and key.timer.when() <= due):
            return
        if key.timer is not None:
            key.timer.cancel()
        key.timer = asyncio.get_running_loop().call_at(due, self._on_timer, ref)

    @property
    def depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._ready)

    def oldest_age(self) -> float:
        """Return for how many seconds the longest waiting key has waited, 0 for an empty queue."""
        if self._loop is None:
            return 0.0
        waiting = [key.queued_since for ref in self._ready.heads() if (key := self._keys.get(ref)) is not None]
        # Metrics are read by another thread, which has no running loop to ask for the time.
        now = self._loop.time()
        return max((now - since for since in waiting if since is not None), default=0.0)

    async def run(self) -> None:
        """Work until cancelled. Raises NotLeading when a reconcile found that this process may not write."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"queue worker {number}")
        except* NotLeading as errors:
            raise NotLeading("a reconcile found that this process does not lead any more") from errors

    async def drained_once(self, kind: Kind, timeout_seconds: float) -> bool:
        """Wait until every key of the kind known now was reconciled, or finally refused, at least once.

        Returns False when that took longer than ``timeout_seconds``.
        """
        pending = {ref for ref, key in self._keys.items() if ref.kind is kind and not key.reconciled}
        if not pending:
            return True
        waiter = _Waiter(pending=pending, done=asyncio.Event())
        self._waiters.append(waiter)
        try:
            await asyncio.wait_for(waiter.done.wait(), timeout_seconds)
        except TimeoutError:
            missing = sorted(str(ref) for ref in pending)
            _LOG.warning("not every %s could be reconciled within %g s: %s", kind.name, timeout_seconds, missing)
            return False
        finally:
            self._waiters.remove(waiter)
        return True

    # --- the workers ---

    async def _work(self) -> None:
        while True:
            await self._wakeup.acquire()
            ref = self._ready.pop()
            key = self._keys[ref]
            if key.queued_since is not None:
                self._observer.began(ref.kind, max(0.0, self._now() - key.queued_since))
            key.queued_since = None
            key.processing = True
            try:
                await self._process(ref, key)
            finally:
                key.processing = False
                if key.dirty:
                    key.dirty = False
                    self.add(ref)
                self._forget_if_idle(ref, key)

    async def _process(self, ref: ObjectRef, key: _Key) -> None:
        started = self._now()
        key.tokens -= 1
        outcome, requeue = await self._attempt(ref, key)
        key.last_ended = self._now()
        self._observer.reconciled(ref.kind, key.last_ended - started, outcome)
        if outcome in ("ok", "rejected"):
            self._count_as_reconciled(ref, key)
        if requeue is not None:
            self.add_after(ref, requeue)

    def _count_as_reconciled(self, ref: ObjectRef, key: _Key) -> None:
        key.reconciled = True
        for waiter in self._waiters:
            waiter.pending.discard(ref)
            if not waiter.pending:
                waiter.done.set()

    async def _attempt(self, ref: ObjectRef, key: _Key) -> tuple[str, float | None]:
        """Return how the reconcile ended and when to look again."""
        try:
            async with asyncio.timeout(self._pace.deadline):
                requeue = await self._reconcilers[ref.kind].reconcile(ref)
        except NotLeading:
            raise
        except ClusterUnavailable as error:
            delay = self._failed(key, self._pace.retry_first)
            _LOG.info("%s: next try in %.1f s: %s", ref, delay, error)
            return "unavailable", max(delay, error.retry_after_seconds or 0.0)
        except RequestRejected as error:
            delay = self._failed(key, self._pace.rejected_first)
            if str(error) != key.last_rejection:
                key.last_rejection = str(error)
                _LOG.warning("%s: the API server refused a request: %s", ref, error)
            return "rejected", delay
        except TimeoutError:
            delay = self._failed(key, self._pace.retry_first)
            _LOG.error("%s: no end within %g s, next try in %.1f s", ref, self._pace.deadline, delay)
            return "deadline", delay
        except Exception:  # noqa: BLE001 - the top of the loop: one broken object must not stop the others
            delay = self._failed(key, self._pace.retry_first)
            _LOG.exception("%s: reconcile failed, next try in %.1f s", ref, delay)
            return "error", delay
        key.failures = 0
        key.last_rejection = None
        return "ok", requeue

    def _failed(self, key: _Key, first: float) -> float:
        """Return the delay before the next attempt: doubled each time, between half and all of it."""
        exponent = min(key.failures, 30)
        key.failures += 1
        ceiling = min(first * 2.0**exponent, self._pace.retry_last)
        return ceiling * (0.5 + 0.5 * self._jitter())

    # --- keys and times ---

    def _key(self, ref: ObjectRef) -> _Key:
        key = self._keys.get(ref)
        if key is None:
            key = self._keys[ref] = _Key(tokens=self._pace.burst, tokens_at=self._now())
        return key

    def _forget_if_idle(self, ref: ObjectRef, key: _Key) -> None:
        """Objects come and go for months; a key without work, timer or failures holds no memory."""
        busy = key.processing or key.dirty or key.queued_since is not None or key.timer is not None
        if busy or key.failures or self._keys.get(ref) is not key:
            return
        self._wait_for_token(key, self._now())
        if key.tokens >= self._pace.burst:
            del self._keys[ref]
        else:  # it ran often lately; that must not be forgotten before it has rested
            rest = (self._pace.burst - key.tokens) / self._pace.per_second
            asyncio.get_running_loop().call_later(rest + 0.1, self._forget_if_idle, ref, key)

    def _enqueue(self, ref: ObjectRef, key: _Key, due: float | None = None) -> None:
        if key.timer is not None:
            key.timer.cancel()
            key.timer = None
        if key.queued_since is None:
            key.queued_since = self._now() if due is None else due
            self._ready.push(ref)
            self._wakeup.release()

    def _on_timer(self, ref: ObjectRef) -> None:
        key = self._keys[ref]
        due = key.timer.when() if key.timer is not None else None
        key.timer = None
        if key.processing:
            key.dirty = True
        else:
            self._enqueue(ref, key, due)

    def _wait_for_token(self, key: _Key, now: float) -> float:
        key.tokens = min(self._pace.burst, key.tokens + (now - key.tokens_at) * self._pace.per_second)
        key.tokens_at = now
        return 0.0 if key.tokens >= 1 else (1 - key.tokens) / self._pace.per_second

    def _wait_while_failing(self, key: _Key, now: float) -> float:
        return key.last_ended + self._pace.failing_pause - now if key.failures else 0.0

    def _now(self) -> float:
        self._loop = asyncio.get_running_loop()
        return self._loop.time()
