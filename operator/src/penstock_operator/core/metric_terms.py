"""The judge's terms of a metric that a policy asks for."""

import hashlib
import math
import re

from penstock_operator.api.duration import parse_duration
from penstock_operator.api.v1alpha1.drift_policy import Metric as MetricSpec
from penstock_operator.core.judge.counts import Reading, Tick
from penstock_operator.core.judge.metrics import (
    TOLERATED_ERRORS_RATIO,
    TOLERATED_RATIO,
    DisagreementAgainstLimit,
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    MeanAgainstLimit,
    MeanAgainstStable,
    MeanMetric,
    Metric,
    OutcomeMetric,
)
from penstock_operator.core.judge.series import BATCH
from penstock_operator.core.promql import confined, longest_range_seconds

#: Sources that are asked at their own pace, by an adapter each.
ASKED = frozenset({"Prometheus", "Web", "Job"})
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_DIGEST = 12
_ROUNDING = 1e-9


def metric_of(spec: MetricSpec) -> Metric:
    """Return the judge's form of a metric. Raises ValueError with the field where the two cannot agree."""
    match spec.source:
        case "ErrorRate":
            return _error_rate(spec)
        case "LatencyQuantile":
            return _latency(spec)
        case "Prometheus" | "Web":
            return _mean(spec)
        case "Job":
            if spec.job is None:
                raise ValueError(f"metric {spec.name}: a Job metric needs job, such as {{cronJob: fraud-smoke}}")
            return OutcomeMetric(name=spec.name, asked=spec.job.cron_job, critical=spec.critical)
        case "OutputDisagreement":
            return DisagreementAgainstLimit(name=spec.name, limit=_share(_limit(spec)), critical=spec.critical)
        case "ScoreDifference":
            limit = _number(spec, _limit(spec))
            return MeanAgainstLimit(name=spec.name, limit=limit, asked=spec.source, critical=spec.critical)
        case "LatencyDifference":
            seconds = parse_duration(_limit(spec)).total_seconds()
            return MeanAgainstLimit(
                name=spec.name, limit=seconds, unit="seconds", asked=spec.source, critical=spec.critical
            )


def filled(template: str, *, revision: str, namespace: str, split: str) -> str:
    """Return a query or URL with the names filled in. Raises ValueError for a placeholder that is not known.

    Names of Kubernetes objects hold letters, digits, dots and dashes: nothing that ends a string or a path.

    >>> filled('up{revision="{{revision}}"}', revision="fraud-1", namespace="shop", split="fraud")
    'up{revision="fraud-1"}'
    """
    names = {"revision": revision, "namespace": namespace, "split": split}

    def value(found: re.Match[str]) -> str:
        if found[1] not in names:
            raise ValueError(f"{found[0]} is not known; write {{{{revision}}}}, {{{{namespace}}}} or {{{{split}}}}")
        return names[found[1]]

    return _PLACEHOLDER.sub(value, template)


def _error_rate(spec: MetricSpec) -> Metric:
    if spec.limit is not None:
        return ErrorRateAgainstLimit(name=spec.name, limit=_share(spec.limit), critical=spec.critical)
    return ErrorRateAgainstStable(
        name=spec.name,
        tolerate_ratio=TOLERATED_ERRORS_RATIO if spec.tolerate_ratio is None else spec.tolerate_ratio,
        tolerate_difference=spec.tolerate_difference,
        accept_ratio=spec.accept_ratio,
        accept_difference=spec.accept_difference,
        critical=spec.critical,
    )


def _latency(spec: MetricSpec) -> Metric:
    if spec.quantile is None:
        raise ValueError(f"metric {spec.name}: a LatencyQuantile needs quantile, such as 0.99")
    if spec.limit is not None:
        seconds = parse_duration(spec.limit).total_seconds()
        return LatencyAgainstLimit(
            name=spec.name, quantile=spec.quantile, limit_seconds=seconds, critical=spec.critical
        )
    return LatencyAgainstStable(
        name=spec.name,
        quantile=spec.quantile,
        tolerate_ratio=TOLERATED_RATIO if spec.tolerate_ratio is None else spec.tolerate_ratio,
        accept_ratio=spec.accept_ratio,
        critical=spec.critical,
    )


def _mean(spec: MetricSpec) -> MeanMetric:
    asked = _question(spec)
    higher = spec.direction == "HigherIsBetter"
    if spec.limit is not None:
        limit = _number(spec, spec.limit)
        return MeanAgainstLimit(
            name=spec.name,
            limit=limit,
            higher_is_better=higher,
            asked=asked,
            batch=_batch(spec),
            critical=spec.critical,
        )
    return MeanAgainstStable(
        name=spec.name,
        tolerate_ratio=_ratio(TOLERATED_RATIO if spec.tolerate_ratio is None else spec.tolerate_ratio, higher=higher),
        accept_ratio=_ratio(spec.accept_ratio, higher=higher),
        higher_is_better=higher,
        asked=asked,
        batch=_batch(spec),
        critical=spec.critical,
    )


def _limit(spec: MetricSpec) -> str:
    if spec.limit is None:
        raise ValueError(f"metric {spec.name}: a {spec.source} compares with a limit; set limit")
    return spec.limit


def _share(percentage: str) -> float:
    return float(percentage.removesuffix("%")) / 100


def _number(spec: MetricSpec, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"metric {spec.name}: limit must be a number, such as 0.8; got {text}") from error


def shadow_reading(spec: MetricSpec, tick: Tick) -> Reading | None:
    """Return what a tick's comparison of answers says of a metric that is a mean of it, or None."""
    if tick.shadowed is None or not tick.shadowed.n:
        return None
    match spec.source:
        case "ScoreDifference":
            return Reading(at=tick.at, candidate=tick.shadowed.score_difference)
        case "LatencyDifference":
            return Reading(at=tick.at, candidate=tick.shadowed.latency_difference)
        case _:
            return None


def _batch(spec: MetricSpec) -> int:
    """Return how many answers say the same thing again: those that the query's longest range makes overlap."""
    overlap = longest_range_seconds(spec.query or "") / spec.interval.total_seconds()
    return max(BATCH, math.ceil(overlap - _ROUNDING))


def _ratio(ratio: float, *, higher: bool) -> float:
    """Return a ratio on the side of 1 that the direction needs: with HigherIsBetter, 1.25 times worse is 0.8."""
    return 1 / ratio if higher and ratio > 1 else ratio


def _question(spec: MetricSpec) -> str:
    """Return a digest of what is asked. Raises ValueError where it cannot be asked."""
    names = {"revision": "revision", "namespace": "namespace", "split": "split"}
    if spec.source == "Prometheus":
        if not spec.query:
            raise ValueError(f"metric {spec.name}: a Prometheus metric needs query")
        try:
            confined(filled(spec.query, **names), namespace="namespace")
        except ValueError as error:
            raise ValueError(f"metric {spec.name}: query: {error}") from error
        text = spec.query
    else:
        if spec.web is None:
            raise ValueError(f"metric {spec.name}: a Web metric needs web, such as {{url: https://…, pointer: /sales}}")
        try:
            filled(spec.web.url, **names)
        except ValueError as error:
            raise ValueError(f"metric {spec.name}: web.url: {error}") from error
        text = f"{spec.web.url} {spec.web.pointer}"
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
