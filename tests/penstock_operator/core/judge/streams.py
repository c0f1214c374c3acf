"""Simulated traffic for the judge, tick by tick from a fixed seed."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from penstock_operator.core.judge.counts import ArmCounts, LatencyHistogram, Tick
from penstock_operator.core.judge.decide import judge_tick
from penstock_operator.core.judge.judgement import Judgement, Verdict
from penstock_operator.core.judge.metrics import Metric
from penstock_operator.core.judge.state import EvidenceState

NEVER = 10**9
COARSE_EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

PerTick = Callable[[int], float]


def constant(value: float) -> PerTick:
    return lambda _: value


_TEN_A_SECOND = constant(600)
_TENTH = constant(0.1)


def error_ticks(
    rng: np.random.Generator,
    *,
    stable: PerTick,
    candidate: PerTick,
    requests: PerTick = _TEN_A_SECOND,
    share: PerTick = _TENTH,
    ticks: int = 60,
) -> Iterator[Tick]:
    """Yield ticks with binomial errors; ``requests`` is of both arms together, ``share`` the candidate's part."""
    for t in range(ticks):
        n1 = round(requests(t) * share(t))
        n0 = round(requests(t)) - n1
        yield Tick(
            at=float(t),
            stable=ArmCounts(requests=n0, errors=int(rng.binomial(n0, stable(t)))),
            candidate=ArmCounts(requests=n1, errors=int(rng.binomial(n1, candidate(t)))),
        )


def lognormal_counts(
    rng: np.random.Generator, *, n: int, median: float, sigma: float, le: tuple[float, ...] = COARSE_EDGES
) -> ArmCounts:
    seconds = median * np.exp(sigma * rng.standard_normal(n))
    counts = np.histogram(seconds, [0.0, *le, np.inf])[0]
    return ArmCounts(
        requests=n, errors=0, latency=LatencyHistogram(le=le, counts=tuple(int(count) for count in counts))
    )


def latency_ticks(
    rng: np.random.Generator,
    *,
    slower: float,
    candidate_requests: int,
    median: float = 0.02,
    sigma: float = 0.5,
    le: tuple[float, ...] = COARSE_EDGES,
    ticks: int = 30,
) -> Iterator[Tick]:
    """Yield ticks with log-normal latencies, the candidate's ``slower`` times the stable's, at 10% of the traffic."""
    for t in range(ticks):
        yield Tick(
            at=float(t),
            stable=lognormal_counts(rng, n=9 * candidate_requests, median=median, sigma=sigma, le=le),
            candidate=lognormal_counts(rng, n=candidate_requests, median=median * slower, sigma=sigma, le=le),
        )


def judged(metric: Metric, ticks: Iterable[Tick], *, limit: float = 20.0) -> Iterator[Judgement]:
    state = EvidenceState.fresh(metric)
    for tick in ticks:
        state, judgement = judge_tick(metric, state, tick, limit=limit)
        yield judgement


def ticks_until(verdict: Verdict, judgements: Iterable[Judgement]) -> int:
    """Return after how many ticks a verdict is reached first, or NEVER."""
    return next((t for t, judgement in enumerate(judgements, 1) if judgement.verdict is verdict), NEVER)
