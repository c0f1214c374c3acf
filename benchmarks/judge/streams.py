"""Simulated rollouts, tick by tick from a seed: what both arms did, in counts and in readings."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from penstock_operator.core.judge.counts import ArmCounts, LatencyHistogram, Reading, Tick

TICKS = 60
BASE = 0.005
#: The router's kind of edges, in seconds.
EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
#: Log-normal latencies whose p99 is 64 ms.
MEDIAN_SECONDS, SIGMA = 0.02, 0.5

PerTick = Callable[[int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm in one tick. ``p99`` is the true sample quantile, better than what a real controller is told."""

    requests: int
    errors: int
    counts: tuple[int, ...] = ()
    p99: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One tick of both arms; ``stable_reading`` and ``candidate_reading`` are of a source such as Prometheus."""

    stable: Arm
    candidate: Arm
    stable_reading: float = 0.0
    candidate_reading: float = 0.0


Stream = Callable[[int], list[Moment]]


def errors(
    requests: int, times: float, *, base: PerTick | None = None, share: PerTick | None = None, ticks: int = TICKS
) -> Stream:
    """Return rollouts with ``requests`` of the candidate in a tick of a tenth of the traffic."""

    def stream(seed: int) -> list[Moment]:
        rng = np.random.default_rng(seed)
        moments = []
        for t in range(ticks):
            n1 = round(10 * requests * (share(t) if share else 0.1))
            n0 = 10 * requests - n1
            rate = base(t) if base else BASE
            moments.append(
                Moment(
                    stable=Arm(requests=n0, errors=int(rng.binomial(n0, rate))),
                    candidate=Arm(requests=n1, errors=int(rng.binomial(n1, min(1.0, times * rate)))),
                )
            )
        return moments

    return stream


def ramp(requests: int, times: float) -> Stream:
    """Return rollouts whose weight rises from 5% to 50% while everybody's error rate rises to three times as many."""
    return errors(requests, times, base=lambda t: BASE * (1 + 2 * t / TICKS), share=lambda t: 0.05 + 0.45 * t / TICKS)


def latencies(requests: int, slower: float) -> Stream:
    """Return rollouts whose candidate answers ``slower`` times as slowly as the stable."""

    def arm(rng: np.random.Generator, n: int, median: float) -> Arm:
        seconds = median * np.exp(SIGMA * rng.standard_normal(n))
        counts = np.histogram(seconds, [0.0, *EDGES, np.inf])[0]
        return Arm(
            requests=n, errors=0, counts=tuple(int(one) for one in counts), p99=float(np.quantile(seconds, 0.99))
        )

    def stream(seed: int) -> list[Moment]:
        rng = np.random.default_rng(seed)
        return [
            Moment(stable=arm(rng, 9 * requests, MEDIAN_SECONDS), candidate=arm(rng, requests, MEDIAN_SECONDS * slower))
            for _ in range(TICKS)
        ]

    return stream


def means(times: float, *, phi: float, deviation: float = 0.1) -> Stream:
    """Return rollouts with one reading of each arm in a tick, each remembering ``phi`` of the one before."""

    def correlated(rng: np.random.Generator) -> Iterator[float]:
        value = float(rng.standard_normal())
        while True:
            yield value
            value = phi * value + (1 - phi * phi) ** 0.5 * float(rng.standard_normal())

    def stream(seed: int) -> list[Moment]:
        rng = np.random.default_rng(seed)
        ours, theirs = correlated(rng), correlated(rng)
        nothing = Arm(requests=1, errors=0)
        return [
            Moment(
                stable=nothing,
                candidate=nothing,
                stable_reading=1 + deviation * next(ours),
                candidate_reading=times * (1 + deviation * next(theirs)),
            )
            for _ in range(TICKS)
        ]

    return stream


def tick_of(at: int, moment: Moment) -> Tick:
    """Return a moment in the judge's form."""
    reading = Reading(at=float(at), stable=moment.stable_reading, candidate=moment.candidate_reading)
    return Tick(
        at=float(at),
        stable=_counts(moment.stable),
        candidate=_counts(moment.candidate),
        readings={"metric": reading},
    )


def _counts(arm: Arm) -> ArmCounts:
    latency = LatencyHistogram(le=EDGES, counts=arm.counts) if arm.counts else None
    return ArmCounts(requests=arm.requests, errors=arm.errors, latency=latency)
