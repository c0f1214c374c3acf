"""From the routers' cumulative counters to what happened since the last look."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from operator import lt, sub

from penstock_operator.core.routes import LatencyCounts, RevisionCounters, RouterSample

#: (split, revision)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionCounts:
    """What happened to one revision behind one split, over all routers, since the last look.

    ``healthy_hosts`` is the smallest number over the routers that were read: each of them may get the next request.
    """

    requests: int
    errors: int
    latency: LatencyCounts
    healthy_hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One tick of a namespace: ``counts`` of requests that were spread by weight, the others as in RouterSample."""

    counts: Mapping[Key, RevisionCounts]
    pods_read: int
    pods_expected: int
    matched: Mapping[Key, RevisionCounts] = field(default_factory=dict)
    mirrored: Mapping[Key, RevisionCounts] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Share of the expected routers that were read; 1.0 if none is expected."""
        return self.pods_read / self.pods_expected if self.pods_expected else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What was already counted: the last sample of each router, by pod. Lives in memory only."""

    samples: Mapping[str, RouterSample] = field(default_factory=dict)


def measure(baseline: Baseline, samples: Iterable[RouterSample], pods: Collection[str]) -> tuple[Baseline, Measurement]:
    """Return what is new in ``samples`` and the baseline for the next tick. ``pods``: names of all routers.

    - A router that is seen for the first time sets its baseline: what it counted before may have been judged by an
      operator before this one.
    - A known router with another boot, or a counter that fell, began at zero: all it has is new.
    - A router that is absent from ``samples`` contributes when it is back.
    """
    read = {sample.pod: sample for sample in samples if sample.pod in pods}
    kept = {pod: sample for pod, sample in baseline.samples.items() if pod in pods}
    pairs = [(kept.get(pod, sample), sample) for pod, sample in read.items()]
    return Baseline(samples=kept | read), Measurement(
        counts=_news([(old, old.counters, new, new.counters) for old, new in pairs]),
        matched=_news([(old, old.matched, new, new.matched) for old, new in pairs]),
        mirrored=_news([(old, old.mirrored, new, new.mirrored) for old, new in pairs]),
        pods_read=len(read),
        pods_expected=len(pods),
    )


def _news(
    pairs: Sequence[tuple[RouterSample, Mapping[Key, RevisionCounters], RouterSample, Mapping[Key, RevisionCounters]]],
) -> dict[Key, RevisionCounts]:
    news: dict[Key, list[RevisionCounters]] = {}
    for old, before, new, after in pairs:
        for key, counters in after.items():
            known = before.get(key) if old.boot == new.boot else None
            news.setdefault(key, []).append(_since(known, counters))
    return {key: _total(parts, pods_read=len(pairs)) for key, parts in sorted(news.items())}


def _since(before: RevisionCounters | None, now: RevisionCounters) -> RevisionCounters:
    if before is None or _fell(before, now):
        return now
    return RevisionCounters(
        requests=now.requests - before.requests,
        errors=now.errors - before.errors,
        latency=_latency_since(before.latency, now.latency),
        healthy_hosts=now.healthy_hosts,
        dropped=now.dropped - before.dropped,
    )


def _fell(before: RevisionCounters, now: RevisionCounters) -> bool:
    return (
        now.requests - now.errors < before.requests - before.errors
        or now.errors < before.errors
        or now.dropped < before.dropped
        or now.latency.le != before.latency.le
        or any(map(lt, now.latency.counts, before.latency.counts))
    )


def _latency_since(before: LatencyCounts, now: LatencyCounts) -> LatencyCounts:
    return LatencyCounts(le=now.le, counts=tuple(map(sub, now.counts, before.counts)))


def _total(parts: list[RevisionCounters], *, pods_read: int) -> RevisionCounts:
    requests, errors = sum(part.requests for part in parts), sum(part.errors for part in parts)
    # What was never sent is held against nobody. Read while it is counted, it may be ahead of the errors.
    unsent = min(sum(part.dropped for part in parts), errors)
    return RevisionCounts(
        requests=requests - unsent,
        errors=errors - unsent,
        latency=_merged([part.latency for part in parts]),
        # A router that does not know the revision can send nobody there.
        healthy_hosts=min(part.healthy_hosts for part in parts) if len(parts) == pods_read else 0,
    )


def _merged(histograms: list[LatencyCounts]) -> LatencyCounts:
    """Return the sum over the edges that all have (routers of two versions may differ); it is exact there."""
    first = histograms[0]
    if all(histogram.le == first.le for histogram in histograms):
        columns = zip(*(histogram.counts for histogram in histograms), strict=True)
        return LatencyCounts(le=first.le, counts=tuple(map(sum, columns)))
    le = tuple(sorted(set.intersection(*(set(histogram.le) for histogram in histograms))))
    below = [0] * (len(le) + 1)
    for histogram in histograms:
        cumulative = dict(zip(histogram.le, accumulate(histogram.counts), strict=False))
        for index, edge in enumerate(le):
            below[index] += cumulative[edge]
        below[-1] += sum(histogram.counts)
    return LatencyCounts(le=le, counts=tuple(upper - lower for lower, upper in pairwise([0, *below])))
