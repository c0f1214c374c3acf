"""What each rule did with each kind of rollout, as shares with intervals and delays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.judge.rules import Found
from benchmarks.judge.streams import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One rule on one scenario. ``exposed``: the candidate's requests served before it was taken back, on average.

    ``median`` and ``p90`` are delays in ticks over all runs, None where that part was never taken back.
    """

    scenario: str
    rule: str
    healthy: bool
    runs: int
    failed: float
    low: float
    high: float
    median: float | None
    p90: float | None
    exposed: float
    exposed_share: float
    passed: float | None = None
    pass_median: float | None = None
    pass_p95: float | None = None


def cell(
    scenario: str,
    rule: str,
    rollouts: Sequence[Sequence[Moment]],
    found: Sequence[Found],
    *,
    healthy: bool,
    passes: bool,
) -> Cell:
    """Return what came of all rollouts of a scenario."""
    runs = len(found)
    failed = [one.failed if one.failed is not None else math.inf for one in found]
    share = sum(math.isfinite(delay) for delay in failed) / runs
    low, high = wilson(share, runs)
    served = [
        sum(moment.candidate.requests for moment in moments[: min(len(moments), int(min(delay, 1e9)))])
        for moments, delay in zip(rollouts, failed, strict=True)
    ]
    everything = sum(moment.candidate.requests + moment.stable.requests for moment in rollouts[0])
    passed = [one.passed if one.passed is not None else math.inf for one in found]
    return Cell(
        scenario=scenario,
        rule=rule,
        healthy=healthy,
        runs=runs,
        failed=share,
        low=low,
        high=high,
        median=at(failed, 0.5),
        p90=at(failed, 0.9),
        exposed=sum(served) / runs,
        exposed_share=sum(served) / runs / everything,
        passed=sum(map(math.isfinite, passed)) / runs if passes else None,
        pass_median=at(passed, 0.5) if passes else None,
        pass_p95=at(passed, 0.95) if passes else None,
    )


def at(delays: Sequence[float], part: float) -> float | None:
    """Return the delay within which this part of all runs ended, or None."""
    delay = sorted(delays)[min(len(delays) - 1, math.ceil(part * len(delays)) - 1)]
    return delay if math.isfinite(delay) else None


def wilson(share: float, runs: int) -> tuple[float, float]:
    """Return the 95% Wilson interval of a share."""
    z = 1.96
    centre = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs)) / (1 + z * z / runs)
    return max(0.0, centre - half), min(1.0, centre + half)
