"""The rules that decide: Penstock's judge, and what other controllers do, after their documentation and source.

A rule looks at a rollout's moments and returns after how many ticks it takes the candidate back, or None. The others'
limits are those that a careful user would write who knows the base: twice what is normal. They see each tick's value
exactly as it was, without the averaging of a metrics store.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.judge.streams import BASE, Moment, tick_of
from scipy import stats

from penstock_operator.core.judge.decide import judge_tick
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.judge.metrics import Metric
from penstock_operator.core.judge.state import EvidenceState

#: One healthy rollout in 20 may be taken back, on one metric.
LIMIT = 20.0
#: Two-sided 98% confidence and a quarter of the shift, as in Kayenta's source.
_KAYENTA_Z = 2.3263
_KAYENTA_TOLERANCE = 0.25
#: Less than this many points are no sample.
_POINTS_MIN = 5
_NAIVE_Z = 1.645


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a rule does with one rollout: taken back, and passed, after so many ticks; None for never."""

    failed: int | None
    passed: int | None = None


Rule = Callable[[Sequence[Moment]], Found]
Value = Callable[[Moment], tuple[float, float]]
"""The value of a tick that rules without statistics look at: of the stable and of the candidate."""


def error_share(moment: Moment) -> tuple[float, float]:
    """Return the two error rates."""
    stable, candidate = moment.stable, moment.candidate
    return stable.errors / max(1, stable.requests), candidate.errors / max(1, candidate.requests)


def p99(moment: Moment) -> tuple[float, float]:
    """Return the two p99 in seconds."""
    return moment.stable.p99, moment.candidate.p99


def reading(moment: Moment) -> tuple[float, float]:
    """Return the two readings."""
    return moment.stable_reading, moment.candidate_reading


def penstock(metric: Metric) -> Rule:
    """Return Penstock's judge with one metric."""

    def rule(moments: Sequence[Moment]) -> Found:
        state = EvidenceState.fresh(metric)
        passed = None
        for at, moment in enumerate(moments, 1):
            state, judgement = judge_tick(metric, state, tick_of(at, moment), limit=LIMIT)
            if judgement.verdict is Verdict.FAIL:
                return Found(failed=at, passed=passed)
            if judgement.verdict is Verdict.PASS and passed is None:
                passed = at
        return Found(failed=None, passed=passed)

    return rule


def argo(value: Value, most: float, *, failure_limit: int = 3) -> Rule:
    """Return Argo Rollouts' analysis: more than ``failureLimit`` measurements above a limit, in a row or not."""

    def rule(moments: Sequence[Moment]) -> Found:
        failures = 0
        for at, moment in enumerate(moments, 1):
            failures += value(moment)[1] > most
            if failures > failure_limit:
                return Found(failed=at)
        return Found(failed=None)

    return rule


def flagger(value: Value, most: float, *, threshold: int = 5) -> Rule:
    """Return Flagger's: ``threshold`` failed checks are counted, and the next tick rolls back."""

    def rule(moments: Sequence[Moment]) -> Found:
        failed_checks = 0
        for at, moment in enumerate(moments, 1):
            if failed_checks >= threshold:
                return Found(failed=at)
            failed_checks += value(moment)[1] > most
        return Found(failed=None)

    return rule


def kayenta(value: Value, *, again: bool) -> Rule:
    """Return Kayenta's judge over the ticks' values: once at the end, or ``again`` at every tick."""

    def rule(moments: Sequence[Moment]) -> Found:
        pairs = [value(moment) for moment in moments]
        looks = range(_POINTS_MIN, len(pairs) + 1) if again else [len(pairs)]
        for at in looks:
            if _kayenta_says_high(pairs[:at]):
                return Found(failed=at)
        return Found(failed=None)

    return rule


def _kayenta_says_high(pairs: Sequence[tuple[float, float]]) -> bool:
    """Return whether the whole interval of the Hodges-Lehmann shift lies above the tolerance, and the mean rose."""
    stable, candidate = np.array(pairs).T
    shifts = np.sort(np.subtract.outer(candidate, stable).ravel())
    n = len(pairs)
    low = math.floor(n * n / 2 - _KAYENTA_Z * math.sqrt(n * n * (2 * n + 1) / 12))
    if low < 0 or np.ptp(shifts) == 0:
        return False
    tolerance = _KAYENTA_TOLERANCE * abs(float(np.median(shifts)))
    return bool(shifts[low] > tolerance and candidate.mean() > stable.mean())


def naive_counts(events: Callable[[Moment], tuple[int, int]]) -> Rule:
    """Return a one-sided z-test at 5% of all counts so far, looked at after every tick."""

    def rule(moments: Sequence[Moment]) -> Found:
        n0 = n1 = x0 = x1 = 0
        for at, moment in enumerate(moments, 1):
            old, new = events(moment)
            n0, n1 = n0 + moment.stable.requests, n1 + moment.candidate.requests
            x0, x1 = x0 + old, x1 + new
            pooled = (x0 + x1) / (n0 + n1)
            spread = math.sqrt(pooled * (1 - pooled) * (1 / n0 + 1 / n1))
            if spread and (x1 / n1 - x0 / n0) / spread > _NAIVE_Z:
                return Found(failed=at)
        return Found(failed=None)

    return rule


def naive_readings(value: Value) -> Rule:
    """Return a one-sided t-test at 5% of all readings so far, looked at after every tick."""

    def rule(moments: Sequence[Moment]) -> Found:
        pairs = [value(moment) for moment in moments]
        for at in range(_POINTS_MIN, len(pairs) + 1):
            stable, candidate = np.array(pairs[:at]).T
            if stats.ttest_ind(candidate, stable, equal_var=False, alternative="greater").pvalue < 0.05:
                return Found(failed=at)
        return Found(failed=None)

    return rule


def error_events(moment: Moment) -> tuple[int, int]:
    """Return the two numbers of errors."""
    return moment.stable.errors, moment.candidate.errors


def slow_events(moment: Moment) -> tuple[int, int]:
    """Return the two numbers of requests above the edge at 100 ms."""
    return sum(moment.stable.counts[5:]), sum(moment.candidate.counts[5:])


#: What a careful user of a threshold writes: twice the normal error rate, and twice the normal p99.
ERRORS_MOST = 2 * BASE
P99_MOST = 0.128
READING_MOST = 1.2
