"""Records Kubernetes Events: deduplicated, rate-limited, in the background."""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from penstock_operator.adapters.api_client import ApiClient, Conflict
from penstock_operator.core.objects import Manifest, ObjectRef
from penstock_operator.core.plan import EventRecord
from penstock_operator.ports import ClusterUnavailable, NotLeading, RequestRejected

_LOG = logging.getLogger(__name__)
_COMPONENT = "penstock-operator"
_QUEUE_MAX = 1000
_MEMORY_MAX = 2000
_MESSAGE_MAX = 1024  # the API server refuses longer ones
_ATTEMPTS = 4
#: The API server keeps Events for an hour; a repetition after that makes a new one.
_SERIES_SECONDS = 3000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """One event on its way."""

    namespace: str
    name: str
    involved: dict[str, str]
    event: EventRecord
    at: str


@dataclass(slots=True, kw_only=True)
class _Bucket:
    """How many more events one object may have now."""

    tokens: float
    at: float


class EventRecorder:
    """Sends Events of core/v1, which ``kubectl describe`` and ``kubectl get events`` show best.

    The name of an Event is a hash of what it says, so the same words about the same object count up one Event, also
    over restarts. Each object may have ``burst`` at once and ``per_minute`` in the long run; what is more, or does
    not fit into the queue, is dropped and counted by ``on_drop``.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        instance: str,
        on_drop: Callable[[], None],
        burst: int = 15,
        per_minute: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._instance = instance
        self._on_drop = on_drop
        self._burst = burst
        self._per_second = per_minute / 60
        self._clock = clock
        self._queue: deque[_Pending] = deque()
        self._wake = asyncio.Event()
        self._buckets: OrderedDict[ObjectRef, _Bucket] = OrderedDict()
        self._sent: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def record(self, ref: ObjectRef, about: Manifest | None, event: EventRecord) -> None:
        """Take one event about an object, given its last known state; never blocks, never raises."""
        if len(self._queue) >= _QUEUE_MAX or not self._may(ref):
            self._on_drop()
            return
        metadata = (about or {}).get("metadata") or {}
        resource = ref.kind.resource
        involved = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": str(metadata.get("uid", "")),
        }
        words = "\0".join((*involved.values(), event.type, event.reason, event.message))
        name = f"{ref.name[:200]}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._queue.append(_Pending(namespace=ref.namespace, name=name, involved=involved, event=event, at=at))
        self._wake.set()

    async def run(self) -> None:
        """Send for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Send everything that waits."""
        while self._queue:
            await self._send(self._queue.popleft())

    def _may(self, ref: ObjectRef) -> bool:
        now = self._clock()
        bucket = self._buckets.pop(ref, None) or _Bucket(tokens=self._burst, at=now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_second)
        bucket.at = now
        self._buckets[ref] = bucket
        while len(self._buckets) > _MEMORY_MAX:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    async def _send(self, pending: _Pending) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                await self._post(pending)
            except ClusterUnavailable as error:
                await asyncio.sleep(min(error.retry_after_seconds or 0.5 * 2**attempt, 10.0))
            except (RequestRejected, NotLeading) as error:
                _LOG.info("an event was not recorded: %s", error)
                break
            else:
                return
        self._on_drop()

    async def _post(self, pending: _Pending) -> None:
        sent_at, count = self._sent.get(pending.name, (float("-inf"), 0))
        if count and self._clock() - sent_at < _SERIES_SECONDS:
            if await self._count_up(pending, count + 1):
                return
            count = 0  # expired there
        try:
            await self._client.request("create", _path(pending), resource="events", body=self._body(pending))
        except Conflict:  # an earlier process told it; a patch returns the count without the right to read Events
            live = await self._patch(pending, {"lastTimestamp": pending.at})
            await self._count_up(pending, int((live or {}).get("count") or 1) + 1)
        else:
            self._remember(pending.name, 1)

    async def _count_up(self, pending: _Pending, count: int) -> bool:
        counted = await self._patch(pending, {"count": count, "lastTimestamp": pending.at}) is not None
        if counted:
            self._remember(pending.name, count)
        return counted

    async def _patch(self, pending: _Pending, body: dict[str, Any]) -> dict[str, Any] | None:
        return await self._client.request("patch", _path(pending, pending.name), resource="events", body=body)

    def _remember(self, name: str, count: int) -> None:
        self._sent.pop(name, None)
        self._sent[name] = (self._clock(), count)
        while len(self._sent) > _MEMORY_MAX:
            self._sent.popitem(last=False)

    def _body(self, pending: _Pending) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": pending.name, "namespace": pending.namespace},
            "involvedObject": pending.involved,
            "type": pending.event.type,
            "reason": pending.event.reason,
            "message": pending.event.message[:_MESSAGE_MAX],
            "firstTimestamp": pending.at,
            "lastTimestamp": pending.at,
            "count": 1,
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._instance,
        }


def _path(pending: _Pending, name: str | None = None) -> str:
    collection = f"/api/v1/namespaces/{pending.namespace}/events"
    return f"{collection}/{name}" if name else collection
