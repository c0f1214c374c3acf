"""Latency histograms as exact counts above an edge, and which edges to compare."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Two edges are the same if they differ by less than this share: 0.05 s may arrive as 50.000001 ms.
_SAME_EDGE = 1e-6
#: An edge may have up to this many times the share of requests above it that the quantile leaves; beyond it the edge
#: says more about the body of the latencies than about this quantile.
_TAIL_MAX = 3.0
#: Above the median of unimodal latencies the share of slower ones falls ever more gently over log latency.
_MEDIAN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Where the two arms are compared: the candidate above edge ``candidate``, the stable above edge ``stable``.

    Both are indices of ``le``. ``share`` of the stable's requests in the bucket that ends at edge ``stable`` counts as
    above it: the latency meant lies inside that bucket.
    """

    candidate: int
    stable: int
    share: float


def above(counts: Sequence[int], edge: int) -> int:
    """Return how many requests were slower than the edge with this index; -1 stands for 0 seconds.

    >>> above([5, 3, 1], 0)
    4
    """
    return sum(counts[edge + 1 :])


def partly_above(counts: Sequence[int], comparison: Comparison) -> float:
    """Return how many of the stable's requests count as above the comparison's latency."""
    return above(counts, comparison.stable) + comparison.share * counts[comparison.stable]


def edge_at_or_above(le: Sequence[float], seconds: float) -> int | None:
    """Return the index of the lowest edge that is not below ``seconds``, or None if there is none."""
    index = bisect.bisect_left(le, seconds * (1 - _SAME_EDGE))
    return index if index < len(le) else None


def edge_at_or_below(le: Sequence[float], seconds: float) -> int | None:
    """Return the index of the highest edge that is not above ``seconds``, or None if there is none."""
    index = bisect.bisect_right(le, seconds * (1 + _SAME_EDGE)) - 1
    return index if index >= 0 else None


def quantile_seconds(le: Sequence[float], counts: Sequence[int], quantile: float) -> float:
    """Return an estimate of the quantile, straight inside its bucket; the last edge if it lies beyond. total > 0.

    >>> quantile_seconds((0.1, 0.2), (50, 50, 0), 0.5)
    0.1
    """
    rank = quantile * sum(counts)
    seen = 0
    for index, edge in enumerate(le):
        low = le[index - 1] if index else 0.0
        if counts[index] and seen + counts[index] >= rank:
            return low + (edge - low) * (rank - seen) / counts[index]
        seen += counts[index]
    return le[-1]


def requests_to_choose(quantile: float) -> int:
    """Return how many requests of the stable tell where its quantile is: five beyond it, and at least 100.

    >>> requests_to_choose(0.95), requests_to_choose(0.99)
    (100, 500)
    """
    return max(100, math.ceil(5 / (1 - quantile) - _SAME_EDGE))


def quantile_edge(le: Sequence[float], counts: Sequence[int], quantile: float) -> int | None:
    """Return the index of the lowest edge that leaves no more above it than the quantile does, or None."""
    rest = (1 - quantile) * sum(counts)
    return next((index for index in range(len(le)) if above(counts, index) <= rest), None)


def choose_comparisons(
    le: Sequence[float], stable: Sequence[int], *, quantile: float, ratio: float
) -> tuple[Comparison, ...]:
    """Return up to three comparisons that show a candidate slower than ``ratio`` times the stable.

    First that at the stable's quantile, then those at the neighbouring edges. Empty if the quantile lies so far above
    the last edge that no edge speaks of it.
    """
    last = len(le) - 1
    found = quantile_edge(le, stable, quantile)
    centre = last if found is None else found
    tail = _TAIL_MAX * (1 - quantile) * sum(stable)
    edges = (edge for edge in (centre, centre + 1, centre - 1) if 0 <= edge <= last)
    return tuple(_slower(le, stable, edge, ratio) for edge in edges if above(stable, edge) <= tail)


def acceptance_comparison(le: Sequence[float], *, edge: int, ratio: float) -> Comparison:
    """Return the comparison that shows a candidate faster than ``ratio`` times the stable, whose quantile ends at edge.

    The stable's quantile may be as low as the foot of its bucket. So the candidate's edge is the highest one up to
    ``ratio`` times that foot, or the stable's own edge where the buckets are wider than ``ratio``.
    """
    foot = le[edge - 1] if edge else 0.0
    reached = edge_at_or_below(le, foot * ratio)
    return Comparison(candidate=edge if reached is None else max(edge, reached), stable=edge, share=0.0)


def _slower(le: Sequence[float], stable: Sequence[int], edge: int, ratio: float) -> Comparison:
    """Compare the candidate above an edge with the stable above that edge / ratio.

    That latency mostly lies inside a bucket. Above the median the share of slower requests is convex over log latency,
    so the straight line through the bucket's ends is never below it, and a candidate that is ``ratio`` times slower
    throughout stays within the hypothesis. Where the bucket reaches below the median, half of it counts at least.
    A candidate with the stable's own latencies is within the hypothesis whatever their shape is.
    """
    seconds = le[edge] / ratio
    high = min(edge, bisect.bisect_left(le, seconds * (1 - _SAME_EDGE)))
    if le[high] <= seconds * (1 + _SAME_EDGE):
        return Comparison(candidate=edge, stable=high, share=0.0)
    if high == 0:
        return Comparison(candidate=edge, stable=0, share=_MEDIAN)
    share = math.log(le[high] / seconds) / math.log(le[high] / le[high - 1])
    if above(stable, high - 1) > _MEDIAN * sum(stable):
        share = max(share, _MEDIAN)
    return Comparison(candidate=edge, stable=high, share=round(share, 6))
