"""How often the judge takes a healthy candidate back, and how soon a bad one: simulated traffic, about half a minute.

    python benchmarks/judge_false_alarms.py [--runs 1000] [--out benchmarks/results/judge_false_alarms.json]

10% of the traffic goes to the candidate, the base error rate is 0.5%, one rollout is 60 ticks, and one healthy
rollout in 20 may be taken back (limit 20). The same seeds give the same table.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from penstock_operator.core.judge.counts import ArmCounts, LatencyHistogram, Tick
from penstock_operator.core.judge.decide import judge_tick
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    Metric,
)
from penstock_operator.core.judge.state import EvidenceState

TICKS = 60
LIMIT = 20.0
BASE = 0.005
EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

STRICT = ErrorRateAgainstStable(name="errors", tolerate_ratio=1.0, tolerate_difference=0.0)
DEFAULT = ErrorRateAgainstStable(name="errors")

Stream = Callable[[np.random.Generator], Iterator[Tick]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    scenario: str
    policy: str
    candidate_requests: int
    runs: int
    failed: float
    failed_low: float
    failed_high: float
    fail_median: float | None
    fail_p90: float | None
    passed: float
    pass_median: float | None
    pass_p95: float | None


def errors(
    candidate_requests: int,
    times: float,
    *,
    base: Callable[[int], float] = lambda _: BASE,
    share: Callable[[int], float] = lambda _: 0.1,
    healthy: int = 0,
) -> Stream:
    def stream(rng: np.random.Generator) -> Iterator[Tick]:
        for t in range(healthy + TICKS):
            n1 = round(10 * candidate_requests * share(t))
            n0 = 10 * candidate_requests - n1
            rate = base(t) * (times if t >= healthy else 1.0)
            yield Tick(
                at=float(t),
                stable=ArmCounts(requests=n0, errors=int(rng.binomial(n0, base(t)))),
                candidate=ArmCounts(requests=n1, errors=int(rng.binomial(n1, rate))),
            )

    return stream


def latencies(candidate_requests: int, slower: float, *, median: float = 0.02, sigma: float = 0.5) -> Stream:
    def arm(rng: np.random.Generator, n: int, middle: float) -> ArmCounts:
        counts = np.histogram(middle * np.exp(sigma * rng.standard_normal(n)), [0.0, *EDGES, np.inf])[0]
        histogram = LatencyHistogram(le=EDGES, counts=tuple(int(count) for count in counts))
        return ArmCounts(requests=n, errors=0, latency=histogram)

    def stream(rng: np.random.Generator) -> Iterator[Tick]:
        for t in range(TICKS):
            yield Tick(
                at=float(t),
                stable=arm(rng, 9 * candidate_requests, median),
                candidate=arm(rng, candidate_requests, median * slower),
            )

    return stream


def first_fail_and_pass(metric: Metric, ticks: Iterator[Tick], healthy: int) -> tuple[float, float]:
    """Return after how many ticks from the change the candidate fails and passes first; infinity for never."""
    state = EvidenceState.fresh(metric)
    passed = math.inf
    for t, tick in enumerate(ticks, 1 - healthy):
        state, judgement = judge_tick(metric, state, tick, limit=LIMIT)
        if judgement.verdict is Verdict.FAIL:
            return float(t), passed
        if judgement.verdict is Verdict.PASS:
            passed = min(passed, float(t))
    return math.inf, passed


def measure(
    scenario: str, metric: Metric, policy: str, requests: int, stream: Stream, *, runs: int, healthy: int = 0
) -> Row:
    fails, passes = zip(
        *(first_fail_and_pass(metric, stream(np.random.default_rng(seed)), healthy) for seed in range(runs)),
        strict=True,
    )
    failed = sum(map(math.isfinite, fails)) / runs
    low, high = wilson(failed, runs)
    return Row(
        scenario=scenario,
        policy=policy,
        candidate_requests=requests,
        runs=runs,
        failed=failed,
        failed_low=low,
        failed_high=high,
        fail_median=at(fails, 0.5),
        fail_p90=at(fails, 0.9),
        passed=sum(map(math.isfinite, passes)) / runs,
        pass_median=at(passes, 0.5),
        pass_p95=at(passes, 0.95),
    )


def at(delays: tuple[float, ...], part: float) -> float | None:
    delay = sorted(delays)[min(len(delays) - 1, math.ceil(part * len(delays)) - 1)]
    return delay if math.isfinite(delay) else None


def wilson(share: float, runs: int) -> tuple[float, float]:
    """Return the 95% Wilson interval of a share."""
    z = 1.96
    centre = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs)) / (1 + z * z / runs)
    return max(0.0, centre - half), min(1.0, centre + half)


def scenarios(runs: int) -> Iterator[Row]:
    fewer, few = max(20, runs // 4), max(20, runs // 20)
    for requests in (60, 600):
        for policy, metric in (("ratio 1, difference 0", STRICT), ("defaults", DEFAULT)):
            yield measure("equal (A/A)", metric, policy, requests, errors(requests, 1), runs=runs)
        ramp = errors(requests, 1, base=lambda t: BASE * (1 + 2 * t / TICKS), share=lambda t: 0.05 + 0.45 * t / TICKS)
        yield measure("equal, ramp and drifting base", STRICT, "ratio 1, difference 0", requests, ramp, runs=runs)
        for times in (2, 4, 10):
            for policy, metric in (("ratio 1, difference 0", STRICT), ("defaults", DEFAULT)):
                stream = errors(requests, times)
                yield measure(f"errors x{times}", metric, policy, requests, stream, runs=fewer)
        late = errors(requests, 4, healthy=1000)
        yield measure("errors x4 after 1000 healthy", DEFAULT, "defaults", requests, late, runs=few, healthy=1000)
        yield measure(
            "no errors at all", DEFAULT, "defaults", requests, errors(requests, 1, base=lambda _: 0.0), runs=fewer
        )
        for quantile in (0.95, 0.99):
            slower_metric = LatencyAgainstStable(name="slower", quantile=quantile)
            for slower in (1.0, 1.2, 2.0):
                scenario = f"p{quantile * 100:.0f} x{slower:g} against stable"
                yield measure(scenario, slower_metric, "defaults", requests, latencies(requests, slower), runs=few)
        slo = LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0.1)
        for slower in (1.0, 2.0):
            scenario = f"p99 x{slower:g} of 64 ms, limit 100 ms"
            yield measure(scenario, slo, "limit", requests, latencies(requests, slower), runs=few)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="runs of each A/A scenario; others take fewer")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "judge_false_alarms.json")
    arguments = parser.parse_args()
    started = time.monotonic()
    print(
        f"{'scenario':32} {'policy':22} {'req/tick':>8} {'runs':>5}  {'failed [95%]':22} "
        f"{'fail after':>12} {'passed':>7} {'pass after':>12}"
    )
    rows = []
    for row in scenarios(arguments.runs):
        rows.append(row)
        failed = f"{row.failed:6.1%} [{row.failed_low:.1%}, {row.failed_high:.1%}]"
        print(
            f"{row.scenario:32} {row.policy:22} {row.candidate_requests:8} {row.runs:5}  {failed:22} "
            f"{told(row.fail_median, row.fail_p90):>12} {row.passed:7.1%} {told(row.pass_median, row.pass_p95):>12}"
        )
    seconds = time.monotonic() - started
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    document = {"limit": LIMIT, "ticks": TICKS, "baseErrorRate": BASE, "rows": [asdict(row) for row in rows]}
    arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{seconds:.0f} s; 'after' is ticks, median (p90 for fail, p95 for pass); {arguments.out}")


def told(middle: float | None, late: float | None) -> str:
    return f"{told_one(middle)} ({told_one(late)})"


def told_one(delay: float | None) -> str:
    return "-" if delay is None else f"{delay:.0f}"


if __name__ == "__main__":
    main()
