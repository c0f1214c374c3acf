"""Reads the routers of a namespace once for all its splits, and hands each split what is new to it."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from penstock_operator.core.measurement import Baseline, Measurement, RevisionCounts, measure
from penstock_operator.core.routes import RouterPod
from penstock_operator.ports import Clock, RouterStats

#: Ticks that wait for a split that does not come; older ones are no evidence any more.
_PENDING_LIMIT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitTick:
    """What happened behind one split between two reads, by revision.

    ``counts``: requests that were spread by weight. ``mirrored``: copies of those. ``matched``: requests that a header
    sent there.
    """

    at: float
    counts: Mapping[str, RevisionCounts]
    mirrored: Mapping[str, RevisionCounts] = field(default_factory=dict)
    matched: Mapping[str, RevisionCounts] = field(default_factory=dict)

    def without_weight(self, revision: str) -> Mapping[str, RevisionCounts]:
        """Return the counts to judge a revision by to which nothing is spread: copies, or else matched requests."""
        for told in (self.mirrored, self.matched):
            if revision in told and told[revision].requests:
                return {**self.counts, revision: told[revision]}
        return self.counts


@dataclass(slots=True)
class _Namespace:
    baseline: Baseline = field(default_factory=Baseline)
    measurement: Measurement | None = None
    read_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    pending: defaultdict[str, deque[SplitTick]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=_PENDING_LIMIT))
    )


class Sampler:
    """The routers' counters as differences between reads. After a restart the first read is the base."""

    def __init__(self, *, stats: RouterStats, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._stats = stats
        self._clock = clock
        self._monotonic = monotonic
        self._namespaces: defaultdict[str, _Namespace] = defaultdict(_Namespace)

    async def refresh(self, namespace: str, pods: Sequence[RouterPod], *, max_age_seconds: float) -> None:
        """Read all routers unless that was done less than ``max_age_seconds`` ago."""
        here = self._namespaces[namespace]
        async with here.lock:
            if self._monotonic() - here.read_at < max_age_seconds:
                return
            first = here.measurement is None
            samples = await self._stats.read(namespace, pods)
            here.read_at = self._monotonic()
            here.baseline, here.measurement = measure(here.baseline, samples, [pod.name for pod in pods])
            if first:
                return
            spread, mirrored = _by_split(here.measurement.counts), _by_split(here.measurement.mirrored)
            matched = _by_split(here.measurement.matched)
            at = self._clock.now()
            for split, counts in spread.items():
                tick = SplitTick(at=at, counts=counts, mirrored=mirrored.get(split, {}), matched=matched.get(split, {}))
                here.pending[split].append(tick)

    def take(self, namespace: str, split: str) -> list[SplitTick]:
        """Return the ticks of a split that were not taken yet, oldest first."""
        pending = self._namespaces[namespace].pending[split]
        ticks = list(pending)
        pending.clear()
        return ticks

    def warm(self, namespace: str, split: str) -> frozenset[str]:
        """Return the revisions that every router of the last read may send to."""
        measurement = self._namespaces[namespace].measurement
        if measurement is None or measurement.pods_read == 0 or measurement.pods_read < measurement.pods_expected:
            return frozenset()
        return frozenset(
            revision
            for (of, revision), counts in measurement.counts.items()
            if of == split and counts.healthy_hosts > 0
        )

    def forget(self, namespace: str, split: str) -> None:
        """Drop what is kept of a split that is gone."""
        self._namespaces[namespace].pending.pop(split, None)


def _by_split(counts: Mapping[tuple[str, str], RevisionCounts]) -> dict[str, dict[str, RevisionCounts]]:
    found: defaultdict[str, dict[str, RevisionCounts]] = defaultdict(dict)
    for (split, revision), of_revision in counts.items():
        found[split][revision] = of_revision
    return dict(found)
