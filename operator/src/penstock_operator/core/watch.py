"""The watch over a promoted revision while the old one is still warm.

It has all traffic, so nobody is left to compare with. What was compared is now held to what the old revision did during
the trial: up to what was good enough to promote is good enough to stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import Metric as MetricSpec
from penstock_operator.core.judge.counts import Reading, Tick
from penstock_operator.core.judge.metrics import (
    DisagreementAgainstLimit,
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    MeanAgainstLimit,
    MeanAgainstStable,
    Metric,
    OutcomeMetric,
)
from penstock_operator.core.metric_terms import metric_of
from penstock_operator.core.trial import PolicyView, Trial, judge_policies

#: How a rollout's false-alarm budget is shared where a watch follows: most of it is for the trial, where a decision is
#: worth most. The trial's limit is 25 then instead of 20, which costs it a fifth of a nat, and the watch's is 100.
TRIAL_SHARE = 0.8
WATCH_SHARE = 1 - TRIAL_SHARE
#: A share of errors is held to less than all requests.
_SHARE_MAX = 0.99


def judge_watch(
    policies: Sequence[PolicyView],
    evidence: Mapping[str, Any],
    *,
    revision: str,
    ticks: Sequence[Tick],
    analysis: Sequence[Mapping[str, Any]],
    readings: Mapping[str, Reading] | None = None,
) -> Trial | None:
    """Return the watch over ``revision`` after some more ticks, or None where there is nothing new to judge.

    ``ticks`` have the promoted revision as their candidate. ``evidence`` is what the last call returned; where it is of
    no watch over this revision, a watch begins, held to the stable's values in ``analysis``, the trial's last one. A
    finding that fails and rolls back means: return to the old revision.

        judge_watch(policies, status.get("evidence", {}), revision=new, ticks=ticks, analysis=status["analysis"])
    """
    if not ticks:
        return None
    goes_on = evidence.get("watching") == revision
    reference: Mapping[str, Any] = evidence["reference"] if goes_on else watch_reference(analysis)

    def terms(policy: str, metric: MetricSpec) -> Metric | None:
        return _held_to(metric_of(metric), reference.get(f"{policy}/{metric.name}"))

    kept = evidence.get("metrics", {}) if goes_on else {}
    judged = judge_policies(policies, kept, ticks, budget_share=WATCH_SHARE, readings=readings or {}, terms=terms)
    return Trial(
        findings=tuple(replace(finding, needs_stable=False) for finding in judged.findings or ()),
        analysis=judged.analysis,
        evidence={"watching": revision, "reference": dict(reference), "metrics": judged.evidence},
    )


def watch_reference(analysis: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the stable did in a trial, by ``policy/metric``."""
    return {
        f"{entry['policy']}/{entry['metric']}": {"n": entry["stable"]["n"], "value": entry["stable"]["value"]}
        for entry in analysis
        if entry.get("stable", {}).get("n")
    }


def _held_to(metric: Metric, old: Mapping[str, Any] | None) -> Metric | None:
    """Return the metric against a limit that the old revision's value gives, or None where it has none."""
    match metric:
        case ErrorRateAgainstLimit() | LatencyAgainstLimit() | MeanAgainstLimit():
            return metric
        case DisagreementAgainstLimit() | OutcomeMetric():
            return None  # nothing is shadowed after the promotion, and Jobs belong to steps
    if old is None:
        return None
    match metric:
        case ErrorRateAgainstStable():
            # One more error than was seen: none in a hundred requests is no promise of none at all.
            share = (old["value"] * old["n"] + 1) / (old["n"] + 1)
            ratio = max(metric.accept_ratio, metric.tolerate_ratio)
            difference = max(metric.accept_difference, metric.tolerate_difference)
            limit = min(_SHARE_MAX, max(ratio * share, share + difference))
            return ErrorRateAgainstLimit(name=metric.name, limit=limit, critical=metric.critical)
        case LatencyAgainstStable():
            ratio = max(metric.accept_ratio, metric.tolerate_ratio)
            return LatencyAgainstLimit(
                name=metric.name,
                quantile=metric.quantile,
                limit_seconds=ratio * old["value"],
                critical=metric.critical,
            )
        case MeanAgainstStable():
            return MeanAgainstLimit(
                name=metric.name,
                limit=metric.accept_ratio * old["value"],
                higher_is_better=metric.higher_is_better,
                asked=metric.asked,
                batch=metric.batch,
                critical=metric.critical,
            )
