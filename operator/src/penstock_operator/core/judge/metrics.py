"""Which metrics can be judged, each with what it tolerates."""

import math
from dataclasses import dataclass
from typing import Literal

#: What is tolerated where a policy does not say, as a ratio to the stable's value. Of errors little, because it is paid
#: for with later rollbacks (docs/adr/0018); of times and means more, because two pods that do the same are seldom
#: equally fast.
TOLERATED_ERRORS_RATIO = 1.1
TOLERATED_RATIO = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRateAgainstStable:
    """The candidate's share of errors against the concurrent stable's, p1 against p0.

    It is worse where p1 > tolerate_ratio * p0 + tolerate_difference, and good enough to promote where
    p1 < max(accept_ratio * p0, p0 + accept_difference). Differences are shares of requests (0.001: one in a thousand).
    A ``critical`` metric gets a double share of the false-alarm budget.
    """

    name: str
    tolerate_ratio: float = TOLERATED_ERRORS_RATIO
    tolerate_difference: float = 0.0
    accept_ratio: float = 2.0
    accept_difference: float = 0.005
    critical: bool = False

    def __post_init__(self) -> None:
        """Refuse margins that mean nothing."""
        _require_ratio(self.name, "tolerate_ratio", self.tolerate_ratio)
        _require_ratio(self.name, "accept_ratio", self.accept_ratio)
        _require_share(self.name, "tolerate_difference", self.tolerate_difference)
        _require_share(self.name, "accept_difference", self.accept_difference)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRateAgainstLimit:
    """The candidate's share of errors against a fixed ``limit``, a share of requests (0.02: two in a hundred)."""

    name: str
    limit: float
    critical: bool = False

    def __post_init__(self) -> None:
        """Refuse a limit that is no share."""
        _require_open_share(self.name, "limit", self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyAgainstLimit:
    """The candidate's latency quantile against a fixed limit: a share ``quantile`` is answered within it."""

    name: str
    quantile: float
    limit_seconds: float
    critical: bool = False

    def __post_init__(self) -> None:
        """Refuse a quantile or limit that means nothing."""
        _require_open_share(self.name, "quantile", self.quantile)
        if not (math.isfinite(self.limit_seconds) and self.limit_seconds > 0):
            raise ValueError(f"{self.name}: limit_seconds must be above 0, got {self.limit_seconds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyAgainstStable:
    """The candidate's latency quantile against the concurrent stable's.

    It is worse where it is more than ``tolerate_ratio`` times the stable's, and good enough to promote below
    ``accept_ratio`` times the stable's.
    """

    name: str
    quantile: float
    tolerate_ratio: float = TOLERATED_RATIO
    accept_ratio: float = 2.0
    critical: bool = False

    def __post_init__(self) -> None:
        """Refuse a quantile or ratio that means nothing."""
        _require_open_share(self.name, "quantile", self.quantile)
        _require_ratio(self.name, "tolerate_ratio", self.tolerate_ratio)
        _require_ratio(self.name, "accept_ratio", self.accept_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanAgainstStable:
    """The mean of what a source says of the candidate against what it says of the stable at the same moments.

    With ``higher_is_better`` it is worse below ``tolerate_ratio`` times the stable's mean, a ratio of at most 1; else
    above it, a ratio of at least 1. ``accept_ratio`` is the other bound, of the same kind: good enough to promote.
    ``asked`` tells the question, so that evidence about another one is left behind. ``batch`` readings are averaged
    into one value: as many as resemble each other because they were counted over the same time.
    """

    name: str
    tolerate_ratio: float
    accept_ratio: float
    higher_is_better: bool = False
    asked: str = ""
    batch: int = 2
    critical: bool = False

    def __post_init__(self) -> None:
        """Refuse ratios on the wrong side of 1."""
        _require_batch(self.name, self.batch)
        for field, ratio in (("tolerate_ratio", self.tolerate_ratio), ("accept_ratio", self.accept_ratio)):
            if self.higher_is_better and not 0 < ratio <= 1:
                raise ValueError(f"{self.name}: {field} must be above 0 and at most 1, such as 0.95; got {ratio}")
            if not self.higher_is_better:
                _require_ratio(self.name, field, ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanAgainstLimit:
    """The mean of what a source says of the candidate against a fixed ``limit`` in the source's own unit.

    ``unit`` is only told: seconds are shown as times. ``asked`` and ``batch`` as in MeanAgainstStable.
    """

    name: str
    limit: float
    higher_is_better: bool = False
    unit: Literal["", "seconds"] = ""
    asked: str = ""
    batch: int = 2
    critical: bool = False

    def __post_init__(self) -> None:
        """Refuse a limit that is no number."""
        _require_batch(self.name, self.batch)
        if not math.isfinite(self.limit):
            raise ValueError(f"{self.name}: limit must be a finite number, got {self.limit}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DisagreementAgainstLimit:
    """The share of shadowed requests that the candidate answers otherwise than the stable, against a ``limit``."""

    name: str
    limit: float
    critical: bool = False

    def __post_init__(self) -> None:
        """Refuse a limit that is no share."""
        _require_open_share(self.name, "limit", self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeMetric:
    """Somebody's own verdict, by the exit of a Job: a reading of 1 passes, one of 0 fails. No evidence, no budget."""

    name: str
    asked: str = ""
    critical: bool = False


CountedMetric = ErrorRateAgainstStable | ErrorRateAgainstLimit | LatencyAgainstLimit | LatencyAgainstStable
MeanMetric = MeanAgainstStable | MeanAgainstLimit
EvidenceMetric = CountedMetric | MeanMetric | DisagreementAgainstLimit
Metric = EvidenceMetric | OutcomeMetric


def definition_of(metric: Metric) -> str:
    """Return what evidence about the metric depends on, as text: two metrics with one definition may share evidence.

    Name and budget share are left out: to rename a metric or to make it critical loses no evidence.

    >>> definition_of(LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0.05))
    'LatencyAgainstLimit/0.99/0.05'
    """
    match metric:
        case ErrorRateAgainstStable():
            parameters: tuple[float, ...] = (
                metric.tolerate_ratio,
                metric.tolerate_difference,
                metric.accept_ratio,
                metric.accept_difference,
            )
        case ErrorRateAgainstLimit():
            parameters = (metric.limit,)
        case LatencyAgainstLimit():
            parameters = (metric.quantile, metric.limit_seconds)
        case LatencyAgainstStable():
            parameters = (metric.quantile, metric.tolerate_ratio, metric.accept_ratio)
        case MeanAgainstStable():
            parameters = (metric.tolerate_ratio, metric.accept_ratio)
        case MeanAgainstLimit() | DisagreementAgainstLimit():
            parameters = (metric.limit,)
        case OutcomeMetric():
            parameters = ()
    if isinstance(metric, MeanAgainstStable | MeanAgainstLimit):
        asked = f"/{'Higher' if metric.higher_is_better else 'Lower'}IsBetter/{metric.batch}/{metric.asked}"
    else:
        asked = ""
    return "/".join((type(metric).__name__, *(f"{parameter:.9g}" for parameter in parameters))) + asked


def _require_batch(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name}: batch must be at least 1, got {value}")


def _require_ratio(name: str, field: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 1):
        raise ValueError(f"{name}: {field} must be a ratio of at least 1, such as 1.2; got {value}")


def _require_share(name: str, field: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: {field} must be a share between 0 and 1, such as 0.001; got {value}")


def _require_open_share(name: str, field: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name}: {field} must be a share above 0 and below 1; got {value}")
