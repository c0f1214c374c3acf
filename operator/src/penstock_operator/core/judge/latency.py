"""Evidence about the candidate's latency quantile, from exact counts above edges of the histogram."""

from dataclasses import replace

from penstock_operator.core.judge import histogram, likelihood
from penstock_operator.core.judge.advance import advance
from penstock_operator.core.judge.counts import ArmCounts, LatencyHistogram
from penstock_operator.core.judge.histogram import Comparison
from penstock_operator.core.judge.likelihood import Events
from penstock_operator.core.judge.metrics import LatencyAgainstLimit, LatencyAgainstStable
from penstock_operator.core.judge.state import ArmTotals, EvidenceState

#: By how much the candidate's share above an edge may exceed the stable's and still be tolerated, respectively still
#: be accepted, in parts of quantile * (1 - quantile): at p99 about 0.001 and 0.01. Without it a stable without slow
#: requests could not be compared.
TOLERATED_PART = 0.1
ACCEPTED_PART = 1.0


class CannotJudge(ValueError):  # noqa: N818
    """The tick's counts do not allow to compute the metric; says why."""


def against_limit(metric: LatencyAgainstLimit, state: EvidenceState, candidate: ArmCounts) -> EvidenceState:
    """Return the evidence after one tick in which the candidate had requests. Raises CannotJudge.

    A share of 1 - quantile may be above the limit. A limit between two edges is judged at both: "too slow" needs too
    many above the upper one, "fast enough" needs few above the lower one, so no candidate is wronged by the buckets.
    """
    latency = _histogram_of(candidate, "candidate", state)
    upper, lower = limit_edges(metric, latency.le)
    may = 1 - metric.quantile
    total = latency.total
    too_slow = Events(n=total, events=histogram.above(latency.counts, upper))
    not_fast = Events(n=total, events=total if lower is None else histogram.above(latency.counts, lower))
    advanced = advance(
        state,
        worse=(likelihood.log_worse_than_limit(too_slow, limit=may),),
        better=likelihood.log_better_than_limit(not_fast, limit=may),
    )
    return replace(advanced, le=latency.le, candidate=_added(state.candidate, candidate, latency))


def limit_edges(metric: LatencyAgainstLimit, le: tuple[float, ...]) -> tuple[int, int | None]:
    """Return the indices of the edges at or just above, and at or just below the limit. Raises CannotJudge."""
    upper = histogram.edge_at_or_above(le, metric.limit_seconds)
    if upper is None:
        raise CannotJudge(
            f"the limit {metric.limit_seconds * 1000:.4g} ms is above the histogram's last edge "
            f"{le[-1] * 1000:.4g} ms; set a lower limit"
        )
    return upper, histogram.edge_at_or_below(le, metric.limit_seconds)


def against_stable(
    metric: LatencyAgainstStable, state: EvidenceState, stable: ArmCounts, candidate: ArmCounts
) -> EvidenceState:
    """Return the evidence after one tick in which both arms had requests. Raises CannotJudge.

    The first ticks only tell where the stable's quantile lies; the comparisons chosen from them judge later ticks.
    """
    here = _histogram_of(candidate, "candidate", state)
    there = _histogram_of(stable, "stable", state)
    if here.le != there.le:
        raise CannotJudge("the two arms have different histogram edges in this tick")
    counted = replace(
        state,
        le=here.le,
        stable=_added(state.stable, stable, there),
        candidate=_added(state.candidate, candidate, here),
    )
    if not state.comparisons:
        return replace(counted, comparisons=_choose(metric, counted))
    spread = metric.quantile * (1 - metric.quantile)
    worse = tuple(
        likelihood.log_worse_than_stable(
            *_events(here, there, comparison), ratio=1.0, difference=TOLERATED_PART * spread
        )
        for comparison in state.comparisons
    )
    accept = histogram.acceptance_comparison(state.le, edge=state.comparisons[0].candidate, ratio=metric.accept_ratio)
    better = likelihood.log_better_than_stable(
        *_events(here, there, accept), ratio=1.0, difference=ACCEPTED_PART * spread
    )
    return advance(counted, worse=worse, better=better)


def _choose(metric: LatencyAgainstStable, state: EvidenceState) -> tuple[Comparison, ...]:
    if sum(state.stable.latency) < histogram.requests_to_choose(metric.quantile):
        return ()
    chosen = histogram.choose_comparisons(
        state.le, state.stable.latency, quantile=metric.quantile, ratio=metric.tolerate_ratio
    )
    if not chosen:
        raise CannotJudge(
            f"the stable's {quantile_name(metric.quantile)} lies above the histogram's last edge "
            f"{state.le[-1] * 1000:.4g} ms; judge a lower quantile"
        )
    return chosen


def _events(here: LatencyHistogram, there: LatencyHistogram, comparison: Comparison) -> tuple[Events, Events]:
    return (
        Events(n=here.total, events=histogram.above(here.counts, comparison.candidate)),
        Events(n=there.total, events=histogram.partly_above(there.counts, comparison)),
    )


def _histogram_of(arm: ArmCounts, whose: str, state: EvidenceState) -> LatencyHistogram:
    if arm.latency is None:
        raise CannotJudge(f"there is no latency histogram of the {whose} in this tick")
    if state.le and arm.latency.le != state.le:
        raise CannotJudge(f"the {whose}'s histogram edges changed since the evidence began")
    return arm.latency


def _added(totals: ArmTotals, counts: ArmCounts, latency: LatencyHistogram) -> ArmTotals:
    before = totals.latency or (0,) * len(latency.counts)
    return ArmTotals(
        requests=totals.requests + latency.total,
        errors=totals.errors + counts.errors,
        latency=tuple(old + new for old, new in zip(before, latency.counts, strict=True)),
    )


def quantile_name(quantile: float) -> str:
    """Return how people call a quantile.

    >>> quantile_name(0.99), quantile_name(0.999)
    ('p99', 'p99.9')
    """
    return f"p{quantile * 100:.6g}"
