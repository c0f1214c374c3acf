"""The judge over the stable revision while nothing is rolled out: limits only, over unbounded time."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.api.v1alpha1.drift_policy import Metric as MetricSpec
from penstock_operator.core.judge.counts import Reading, Tick
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstLimit,
    LatencyAgainstLimit,
    MeanAgainstLimit,
    Metric,
)
from penstock_operator.core.metric_terms import ASKED, metric_of
from penstock_operator.core.trial import PolicyView, Trial, judge_policies

_MONTH_SECONDS = 30 * 24 * 3600.0
_OF_REQUESTS = frozenset({"ErrorRate", "LatencyQuantile"})


def judge_steady(
    policies: Sequence[PolicyView],
    evidence: Mapping[str, Any],
    *,
    revision: str,
    ticks: Sequence[Tick],
    tick_seconds: float,
    readings: Mapping[str, Reading] | None = None,
) -> Trial | None:
    """Return what the limits of the policies say of the stable ``revision`` after some more ticks, or None.

    ``ticks`` are about ``tick_seconds`` apart and have the stable revision as their candidate. A metric that fails
    stays so until it is well again; in 30 healthy days all metrics of a policy together fail ``per30Days`` times at
    most, in the mean. Nothing rolls back: there is nothing to return to.
    """
    if not ticks or not has_limits(policies):
        return None
    kept = evidence.get("metrics", {}) if evidence.get("steady") == revision else {}
    judged = judge_policies(
        policies,
        kept,
        ticks,
        budget_share=1.0,
        readings=readings or {},
        terms=_limit_of,
        budget=lambda spec: _false_alarms_of_a_tick(spec, tick_seconds),
        steady=True,
    )
    return Trial(
        findings=(),
        analysis=judged.analysis,
        evidence={"steady": revision, "metrics": judged.evidence},
    )


def has_limits(policies: Sequence[PolicyView]) -> bool:
    """Return whether there is anything to judge without a rollout."""
    return any(
        _limit_of(policy.name, metric) is not None
        for policy in policies
        if policy.spec is not None
        for metric in policy.spec.metrics
    )


def _limit_of(_policy: str, spec: MetricSpec) -> Metric | None:
    if spec.limit is None or spec.source not in ASKED | _OF_REQUESTS:
        return None
    metric = metric_of(spec)
    return metric if isinstance(metric, ErrorRateAgainstLimit | LatencyAgainstLimit | MeanAgainstLimit) else None


def _false_alarms_of_a_tick(spec: DriftPolicySpec, tick_seconds: float) -> float:
    return min(0.5, spec.false_alarms.per_30_days * tick_seconds / _MONTH_SECONDS)
