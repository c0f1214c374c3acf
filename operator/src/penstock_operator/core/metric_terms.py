"""The judge's terms of a metric that a policy asks for."""

import hashlib
import math
import re

from penstock_operator.api.duration import parse_duration
from penstock_operator.api.v1alpha1.drift_policy import Metric as MetricSpec
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    MeanAgainstLimit,
    MeanAgainstStable,
    MeanMetric,
    Metric,
)
from penstock_operator.core.judge.series import BATCH
from penstock_operator.core.promql import confined, longest_range_seconds

#: Sources that are asked at their own pace, by an adapter each.
ASKED = frozenset({"Prometheus", "Web"})
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
        share = float(spec.limit.removesuffix("%")) / 100
        return ErrorRateAgainstLimit(name=spec.name, limit=share, critical=spec.critical)
    return ErrorRateAgainstStable(
        name=spec.name,
        tolerate_ratio=spec.tolerate_ratio,
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
        tolerate_ratio=spec.tolerate_ratio,
        accept_ratio=spec.accept_ratio,
        critical=spec.critical,
    )


def _mean(spec: MetricSpec) -> MeanMetric:
    asked = _question(spec)
    higher = spec.direction == "HigherIsBetter"
    if spec.limit is not None:
        try:
            limit = float(spec.limit)
        except ValueError as error:
            raise ValueError(f"metric {spec.name}: limit must be a number, such as 0.8; got {spec.limit}") from error
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
        tolerate_ratio=_ratio(spec.tolerate_ratio, higher=higher),
        accept_ratio=_ratio(spec.accept_ratio, higher=higher),
        higher_is_better=higher,
        asked=asked,
        batch=_batch(spec),
        critical=spec.critical,
    )


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
