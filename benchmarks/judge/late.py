"""How soon a regression is found that begins after a long healthy time: with restarts, without, and at rest."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from benchmarks.judge.results import at
from benchmarks.judge.rules import LIMIT
from benchmarks.judge.streams import BASE

from penstock_operator.core.judge import likelihood
from penstock_operator.core.judge.counts import ArmCounts, Tick
from penstock_operator.core.judge.decide import judge_tick
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.judge.likelihood import Events
from penstock_operator.core.judge.metrics import ErrorRateAgainstLimit, ErrorRateAgainstStable, Metric
from penstock_operator.core.judge.state import EvidenceState

HEALTHY_TICKS = 1000
_AFTER_TICKS = 600
#: One false alarm in 30 days of looks every 30 seconds.
_DETECTOR_LIMIT = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """Delays in ticks from the change on, over all runs; None where that part was not found within 600 ticks."""

    rule: str
    requests: int
    times: float
    runs: int
    false_alarms: int
    median: float | None
    p90: float | None


def late(runs: int) -> Iterator[Late]:
    """Yield what each way to look finds of errors that become four times as many after 1000 healthy ticks."""
    stable = ErrorRateAgainstStable(name="metric", tolerate_ratio=1.0)
    limit = ErrorRateAgainstLimit(name="metric", limit=2 * BASE)
    for requests in (60, 600):
        for rule, delay in (
            ("in a rollout, against the stable", lambda ticks: _judged(stable, ticks, LIMIT, steady=False)),
            ("the same without restarts", _without_restarts),
            ("at rest, against a limit of 1%", lambda ticks: _judged(limit, ticks, _DETECTOR_LIMIT, steady=True)),
        ):
            yield _measured(rule, requests, 4.0, runs, delay)


def _measured(rule: str, requests: int, times: float, runs: int, delay: Callable[[Iterator[Tick]], float]) -> Late:
    found = [delay(_ticks(seed, requests, times)) for seed in range(runs)]
    true = [one for one in found if one > 0]
    return Late(
        rule=rule,
        requests=requests,
        times=times,
        runs=runs,
        false_alarms=len(found) - len(true),
        median=at(true, 0.5),
        p90=at(true, 0.9),
    )


def _ticks(seed: int, requests: int, times: float) -> Iterator[Tick]:
    rng = np.random.default_rng(seed)
    for t in range(HEALTHY_TICKS + _AFTER_TICKS):
        rate = BASE * (times if t >= HEALTHY_TICKS else 1.0)
        yield Tick(
            at=float(t),
            stable=ArmCounts(requests=9 * requests, errors=int(rng.binomial(9 * requests, BASE))),
            candidate=ArmCounts(requests=requests, errors=int(rng.binomial(requests, rate))),
        )


def _judged(metric: Metric, ticks: Iterator[Tick], limit: float, *, steady: bool) -> float:
    """Return the delay from the change on; 0 or less for an alarm before it."""
    state = EvidenceState.fresh(metric, steady=steady)
    for at_, tick in enumerate(ticks, 1 - HEALTHY_TICKS):
        state, judgement = judge_tick(metric, state, tick, limit=limit)
        if judgement.verdict is Verdict.FAIL:
            return float(at_)
    return math.inf


def _without_restarts(ticks: Iterator[Tick]) -> float:
    """Return the delay of the plain product of all factors since the first tick, mixed over the same guesses."""
    logs = np.zeros(len(likelihood.WORSE_BY))
    for at_, tick in enumerate(ticks, 1 - HEALTHY_TICKS):
        assert tick.candidate is not None
        assert tick.stable is not None
        logs += likelihood.log_worse_than_stable(
            Events(n=tick.candidate.requests, events=tick.candidate.errors),
            Events(n=tick.stable.requests, events=tick.stable.errors),
            ratio=1.0,
            difference=0.0,
        )
        if float(np.exp(np.minimum(logs, 300)) @ likelihood.WORSE_WEIGHTS) >= LIMIT:
            return float(at_)
    return math.inf
