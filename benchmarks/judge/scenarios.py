"""The rollouts that are simulated, and the rules that decide about each."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.judge import rules, streams
from benchmarks.judge.rules import Rule
from benchmarks.judge.streams import BASE, Stream

from penstock_operator.core.judge.metrics import ErrorRateAgainstStable, LatencyAgainstStable, MeanAgainstStable

PENSTOCK, STRICT = "Penstock", "Penstock, tolerateRatio 1"
_ERRORS: Mapping[str, Rule] = {
    STRICT: rules.penstock(ErrorRateAgainstStable(name="metric", tolerate_ratio=1.0)),
    PENSTOCK: rules.penstock(ErrorRateAgainstStable(name="metric")),
    "Argo, failureLimit 3": rules.argo(rules.error_share, rules.ERRORS_MOST),
    "Flagger, threshold 5": rules.flagger(rules.error_share, rules.ERRORS_MOST),
    "Kayenta, once": rules.kayenta(rules.error_share, again=False),
    "Kayenta, every tick": rules.kayenta(rules.error_share, again=True),
    "z-test, every tick": rules.naive_counts(rules.error_events),
}
_OURS: Mapping[str, Rule] = {name: _ERRORS[name] for name in (STRICT, PENSTOCK)}
_LATENCIES: Mapping[str, Rule] = {
    STRICT: rules.penstock(LatencyAgainstStable(name="metric", quantile=0.99, tolerate_ratio=1.0)),
    PENSTOCK: rules.penstock(LatencyAgainstStable(name="metric", quantile=0.99)),
    "Argo, failureLimit 3": rules.argo(rules.p99, rules.P99_MOST),
    "Flagger, threshold 5": rules.flagger(rules.p99, rules.P99_MOST),
    "Kayenta, once": rules.kayenta(rules.p99, again=False),
    "Kayenta, every tick": rules.kayenta(rules.p99, again=True),
    "z-test, every tick": rules.naive_counts(rules.slow_events),
}
_MEANS: Mapping[str, Rule] = {
    STRICT: rules.penstock(MeanAgainstStable(name="metric", tolerate_ratio=1.0, accept_ratio=2.0)),
    PENSTOCK: rules.penstock(MeanAgainstStable(name="metric", tolerate_ratio=1.2, accept_ratio=2.0)),
    "Argo, failureLimit 3": rules.argo(rules.reading, rules.READING_MOST),
    "Flagger, threshold 5": rules.flagger(rules.reading, rules.READING_MOST),
    "Kayenta, once": rules.kayenta(rules.reading, again=False),
    "Kayenta, every tick": rules.kayenta(rules.reading, again=True),
    "t-test, every tick": rules.naive_readings(rules.reading),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of rollout. ``weight``: how many of the runs asked for are made, as a part."""

    name: str
    stream: Stream
    rules: Mapping[str, Rule]
    healthy: bool
    weight: float = 1.0


def planned_ticks(requests: int) -> float:
    """Return within how many ticks 95% of equal candidates should have passed, with a tenth of the traffic.

    The evidence of a fair bet on a ratio of 2 grows by KL for each error, KL being what one error tells, and spreads by
    twice as much. It has to reach ln 20 for the limit and some ln 5 for not having known the ratio.
    """
    share, accepted = 0.1, 0.2 / 1.1
    told = share * math.log(share / accepted) + (1 - share) * math.log((1 - share) / (1 - accepted))
    needed = math.log(20) + math.log(5)
    # x - 1.645 sqrt(2 x) = needed, x being the errors that are needed times what one tells.
    root = 1.645 / math.sqrt(2) + math.sqrt(1.645**2 / 2 + needed)
    return root**2 / (10 * requests * BASE * told)


def scenarios() -> Iterator[Scenario]:
    """Yield everything that is measured."""
    for requests in (60, 600):
        a_minute = f"{requests} requests a tick"
        yield Scenario(name=f"A/A, {a_minute}", stream=streams.errors(requests, 1), rules=_ERRORS, healthy=True)
        yield Scenario(
            name=f"A/A, weight and base rising, {a_minute}",
            stream=streams.ramp(requests, 1),
            rules=_ERRORS,
            healthy=True,
        )
        yield Scenario(
            name=f"A/A until it passes, {a_minute}",
            stream=streams.errors(requests, 1, ticks=math.ceil(planned_ticks(requests))),
            rules=_OURS,
            healthy=True,
            weight=0.4,
        )
        yield Scenario(
            name=f"5% more errors, {a_minute}", stream=streams.errors(requests, 1.05), rules=_OURS, healthy=True
        )
        yield Scenario(
            name=f"5% more errors until it passes, {a_minute}",
            stream=streams.errors(requests, 1.05, ticks=math.ceil(planned_ticks(requests))),
            rules=_OURS,
            healthy=True,
            weight=0.4,
        )
        for times in (2, 4, 10):
            yield Scenario(
                name=f"errors x{times}, {a_minute}",
                stream=streams.errors(requests, times),
                rules=_ERRORS,
                healthy=False,
                weight=0.4,
            )
        for slower in (1, 2):
            yield Scenario(
                name=f"p99 x{slower}, {a_minute}" if slower > 1 else f"A/A of p99, {a_minute}",
                stream=streams.latencies(requests, slower),
                rules=_LATENCIES,
                healthy=slower == 1,
                weight=0.2,
            )
    for phi in (0.3, 0.6):
        yield Scenario(
            name=f"A/A of a mean, φ = {phi}", stream=streams.means(1, phi=phi), rules=_MEANS, healthy=True, weight=0.4
        )
    for more in (1.5, 2.0):
        yield Scenario(
            name=f"a mean x{more:g}, φ = 0.3",
            stream=streams.means(more, phi=0.3),
            rules=_MEANS,
            healthy=False,
            weight=0.2,
        )
