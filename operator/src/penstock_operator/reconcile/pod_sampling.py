"""Reads the serving pods of a split's revisions, and hands the split what is new to it."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from penstock_operator.core.measurement import Baseline, RevisionCounts, measure
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.core.pod_counters import parse_pod_counters
from penstock_operator.core.routes import RouterSample
from penstock_operator.core.serving_pods import ServingPod, ready_serving_pods
from penstock_operator.ports import Clock, Cluster, ServingPods
from penstock_operator.reconcile.sampling import SplitTick

#: Ticks that wait for a split that does not come; older ones are no evidence any more.
_PENDING_LIMIT = 30
_PATH = "/metrics"


@dataclass(slots=True)
class _Split:
    baseline: Baseline = field(default_factory=Baseline)
    has_base: bool = False
    read_at: float = float("-inf")
    pending: deque[SplitTick] = field(default_factory=lambda: deque(maxlen=_PENDING_LIMIT))
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class PodSampler:
    """The pods' counters as differences between reads. After a restart the first read is the base.

    They count every inference request, those that come past the Gateway too.
    """

    def __init__(self, *, cluster: Cluster, pods: ServingPods, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._cluster = cluster
        self._pods = pods
        self._clock = clock
        self._monotonic = monotonic
        self._splits: defaultdict[ObjectRef, _Split] = defaultdict(_Split)

    async def refresh(self, ref: ObjectRef, revisions: Iterable[str], *, max_age_seconds: float) -> None:
        """Read all ready pods of ``revisions`` unless that was done less than ``max_age_seconds`` ago."""
        here = self._splits[ref]
        async with here.lock:
            if self._monotonic() - here.read_at < max_age_seconds:
                return
            pods = [pod for revision in revisions for pod in self._ready(ref.namespace, revision)]
            samples = await asyncio.gather(*(self._read(ref, pod) for pod in pods))
            here.read_at = self._monotonic()
            told = [sample for sample in samples if sample is not None]
            here.baseline, measurement = measure(here.baseline, told, [pod.name for pod in pods])
            if not here.has_base:
                here.has_base = True
                return
            counts: dict[str, RevisionCounts] = {
                revision: counted for (_, revision), counted in measurement.counts.items()
            }
            if counts:
                here.pending.append(SplitTick(at=self._clock.now(), counts=counts))

    def take(self, ref: ObjectRef) -> Sequence[SplitTick]:
        """Return the ticks of a split that were not taken yet, oldest first."""
        if ref not in self._splits:
            return []
        pending = self._splits[ref].pending
        ticks = list(pending)
        pending.clear()
        return ticks

    def has_ready_pods(self, namespace: str, revision: str) -> bool:
        """Return whether a revision can answer."""
        return bool(self._ready(namespace, revision))

    def forget(self, ref: ObjectRef) -> None:
        """Drop what is kept of a split that is gone."""
        self._splits.pop(ref, None)

    def _ready(self, namespace: str, revision: str) -> list[ServingPod]:
        return ready_serving_pods(self._cluster.list(Kind.POD, namespace, {REVISION: revision}))

    async def _read(self, ref: ObjectRef, pod: ServingPod) -> RouterSample | None:
        """Return a pod's counters, or None where it does not answer or makes no sense."""
        exposition = await self._pods.get(ref.namespace, pod, _PATH)
        if exposition is None:
            return None
        try:
            counted = parse_pod_counters(exposition, pod.revision)
        except (ValueError, KeyError):
            return None
        counters = {(ref.name, pod.revision): counted.counters}
        return RouterSample(pod=pod.name, boot=counted.boot, counters=counters)
