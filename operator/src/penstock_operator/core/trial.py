"""The trial of one candidate: its ticks through the judge, metric by metric, policy by policy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.api.v1alpha1.drift_policy import Metric as MetricSpec
from penstock_operator.core.conditions import Reason
from penstock_operator.core.judge.bounds import share_bounds
from penstock_operator.core.judge.counts import ArmCounts, LatencyHistogram, Reading, Shadowed, Tick
from penstock_operator.core.judge.decide import judge_all
from penstock_operator.core.judge.judgement import ArmSummary, Judgement, Verdict
from penstock_operator.core.judge.metrics import (
    DisagreementAgainstLimit,
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    Metric,
)
from penstock_operator.core.judge.state import EvidenceRefused, EvidenceState
from penstock_operator.core.measurement import RevisionCounts
from penstock_operator.core.metric_terms import metric_of, shadow_reading
from penstock_operator.core.world import Finding

#: Worst first.
SEVERITY = (Verdict.FAIL, Verdict.ERROR, Verdict.NO_DATA, Verdict.UNDECIDED, Verdict.PASS)
_DIGITS = 6
_SHARES = (ErrorRateAgainstStable, ErrorRateAgainstLimit, DisagreementAgainstLimit)
#: The judge's form of a policy's metric, or None.
Terms = Callable[[str, MetricSpec], Metric | None]
Budget = Callable[[DriftPolicySpec], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """A policy that a split names; ``spec`` is None and ``problem`` says why where it cannot judge."""

    name: str
    spec: DriftPolicySpec | None
    problem: str = ""
    reason: Reason = Reason.POLICIES_READY


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Where the judge is with one candidate. The wire form is kept in status and survives restarts."""

    findings: tuple[Finding, ...] | None
    analysis: tuple[dict[str, Any], ...]
    evidence: dict[str, Any]

    @property
    def verdict(self) -> str | None:
        """The worst verdict of all metrics, or None before the first tick."""
        found = {finding.verdict for finding in self.findings or ()}
        return next((verdict.value for verdict in SEVERITY if verdict in found), None)


def judge_trial(
    policies: Sequence[PolicyView],
    evidence: Mapping[str, Any],
    *,
    candidate: str,
    ticks: Sequence[Tick],
    alone_after: Sequence[dict[str, Any]] | None = None,
    budget_share: float = 1.0,
    readings: Mapping[str, Reading] | None = None,
) -> Trial | None:
    """Return the trial after some more ticks, or None where there is nothing new to judge.

    Evidence about another revision, or about a metric whose definition changed, is left behind.
    ``alone_after`` is the analysis so far when the candidate has all traffic: what compares with the stable can learn
    nothing more, and what it said last stands. ``budget_share`` is the part of the false-alarm budget that this
    candidate may use: 1/N where N are judged at once, so that all trials together keep the budget.
    ``readings``: what other sources said last, by ``policy/metric``. A policy or metric with dryRun is judged and
    told, but is no finding: it takes nothing back and holds nothing up.
    """
    if not 0 < budget_share <= 1:
        raise ValueError(f"budget_share must be above 0 and at most 1, got {budget_share}")
    if not ticks:
        return None
    kept = evidence.get("metrics", {}) if evidence.get("revision") == candidate else {}
    judged = judge_policies(
        policies,
        kept,
        ticks,
        budget_share=budget_share,
        readings=readings or {},
        stands={f"{entry['policy']}/{entry['metric']}": entry for entry in alone_after or ()},
    )
    return replace(judged, evidence={"revision": candidate, "metrics": judged.evidence})


def judge_policies(
    policies: Sequence[PolicyView],
    kept: Mapping[str, Any],
    ticks: Sequence[Tick],
    *,
    budget_share: float,
    readings: Mapping[str, Reading],
    stands: Mapping[str, dict[str, Any]] | None = None,
    terms: Terms = lambda _, metric: metric_of(metric),
    budget: Budget = lambda spec: spec.false_alarms.per_rollout,
    steady: bool = False,
) -> Trial:
    """Return what all policies say after some ticks; ``evidence`` of the result are the states by ``policy/metric``.

    ``terms`` gives the judge's form of a metric, or None where it cannot be judged now. ``stands``: what was said last
    of metrics that need the stable, for when it has no traffic. ``budget``: a policy's false alarms; with ``steady``
    they are for each tick of unbounded time, and evidence is an e-detector's.
    """
    # All policies of a split together take back no more healthy candidates than one alone may.
    able = [policy.spec for policy in policies if policy.spec is not None]
    acting = sum(bool(spec.metrics) and not spec.dry_run for spec in able)
    findings: list[Finding] = []
    analysis: list[dict[str, Any]] = []
    states: dict[str, Any] = {}
    for policy in policies:
        if policy.spec is None:
            findings.append(_unjudged(policy))
            continue
        share = budget_share / max(1, len(able) if policy.spec.dry_run else acting)
        found = {metric.name: terms(policy.name, metric) for metric in policy.spec.metrics}
        judged, after = _judge_policy(
            policy.name,
            policy.spec,
            [metric for metric in found.values() if metric is not None],
            kept,
            ticks=[replace(tick, readings=_readings_of(policy.name, policy.spec, readings, tick)) for tick in ticks],
            budget=budget(policy.spec) * share,
            steady=steady,
        )
        states.update(after)
        for metric in policy.spec.metrics:
            if metric.name not in judged:
                continue
            judgement = judged[metric.name]
            entry = _analysis(policy.name, judgement, is_share=isinstance(found[metric.name], _SHARES))
            if metric.against == "Stable" and judgement.verdict is Verdict.NO_DATA:
                entry = (stands or {}).get(f"{policy.name}/{metric.name}", entry)
            if policy.spec.dry_run or metric.dry_run:
                entry = {**entry, "dryRun": True}
            else:
                findings.append(_finding(policy.name, policy.spec, metric, entry))
            analysis.append(entry)
    return Trial(findings=tuple(findings), analysis=tuple(analysis), evidence=states)


def unjudged_trial(policies: Sequence[PolicyView]) -> tuple[Finding, ...] | None:
    """Return findings where no tick is needed to know that a policy cannot judge."""
    problems = tuple(_unjudged(policy) for policy in policies if policy.spec is None)
    return problems or None


def tick_of(
    at: float,
    counts: Mapping[str, RevisionCounts],
    *,
    stable: str,
    candidate: str,
    shadowed: Shadowed | None = None,
) -> Tick:
    """Return one tick in the judge's terms."""
    return Tick(at=at, stable=_arm(counts.get(stable)), candidate=_arm(counts.get(candidate)), shadowed=shadowed)


def _judge_policy(
    name: str,
    spec: DriftPolicySpec,
    metrics: Sequence[Metric],
    kept: Mapping[str, Any],
    *,
    ticks: Sequence[Tick],
    budget: float,
    steady: bool,
) -> tuple[Mapping[str, Judgement], dict[str, Any]]:
    states: Mapping[str, EvidenceState] = {
        metric.name: _state(metric, kept.get(f"{name}/{metric.name}"), steady=steady) for metric in metrics
    }
    judgements: Mapping[str, Judgement] = {}
    idle = {metric.name for metric in spec.metrics if metric.dry_run and not spec.dry_run}
    for tick in ticks:
        judged = judge_all(metrics, states, tick, false_alarms_per_rollout=budget, dry_run=idle)
        states, judgements = judged.states, judged.judgements
        if any(one.verdict is Verdict.FAIL for name, one in judgements.items() if name not in idle):
            break  # rollback happens on the tick that decides
    return judgements, {f"{name}/{metric}": state.to_json() for metric, state in states.items()}


def _readings_of(policy: str, spec: DriftPolicySpec, readings: Mapping[str, Reading], tick: Tick) -> dict[str, Reading]:
    told = (
        (metric.name, readings.get(f"{policy}/{metric.name}") or shadow_reading(metric, tick))
        for metric in spec.metrics
    )
    return {name: reading for name, reading in told if reading is not None}


def _state(metric: Metric, wire: Any, *, steady: bool) -> EvidenceState:
    try:
        state = EvidenceState.from_json(wire, metric)
    except EvidenceRefused:
        # The first tick, a metric that was redefined, or an operator of another version: start afresh.
        return EvidenceState.fresh(metric, steady=steady)
    return state if state.steady is steady else EvidenceState.fresh(metric, steady=steady)


def _arm(counts: RevisionCounts | None) -> ArmCounts | None:
    if counts is None:
        return None
    latency = counts.latency
    return ArmCounts(
        requests=counts.requests,
        errors=counts.errors,
        latency=LatencyHistogram(le=latency.le, counts=latency.counts) if latency.le else None,
    )


def _unjudged(policy: PolicyView) -> Finding:
    return Finding(
        policy=policy.name,
        metric="policy",
        verdict=Verdict.ERROR,
        message=policy.problem,
        rolls_back=False,
        needs_stable=False,
    )


def _finding(policy: str, spec: DriftPolicySpec, metric: MetricSpec, told: Mapping[str, Any]) -> Finding:
    actions = next((action.do for action in spec.actions if "Metrics" in action.signals), [])
    return Finding(
        policy=policy,
        metric=metric.name,
        verdict=Verdict(told["verdict"]),
        message=told["message"],
        rolls_back="Rollback" in actions,
        needs_stable=metric.against == "Stable",
    )


def _analysis(policy: str, judgement: Judgement, *, is_share: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "policy": policy,
        "metric": judgement.metric,
        "verdict": judgement.verdict.value,
        "evidence": _rounded(judgement.evidence),
        "acceptance": _rounded(judgement.acceptance),
        "limit": _rounded(judgement.limit),
        "message": judgement.message,
    }
    for arm, summary in (("stable", judgement.stable), ("candidate", judgement.candidate)):
        if summary is not None:
            entry[arm] = _summary(summary, is_share=is_share)
    return entry


def _summary(summary: ArmSummary, *, is_share: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"n": summary.n, "value": _rounded(summary.value)}
    if is_share:
        low, high = share_bounds(round(summary.value * summary.n), summary.n)
        told |= {"low": _rounded(low), "high": _rounded(high)}
    return told


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
