"""DriftPolicy: what is watched, the limits, and what a breach does."""

from typing import Literal

from pydantic import Field

from penstock_operator.api.model import ApiModel

KIND = "DriftPolicy"


class Target(ApiModel):
    """What the policy watches."""

    kind: Literal["TrafficSplit"] = "TrafficSplit"
    name: str


class FalseAlarms(ApiModel):
    """The false-alarm budget."""

    per_rollout: float = 0.05


class Metric(ApiModel):
    """One judged metric: the candidate against the concurrent stable, or against a limit."""

    name: str
    source: Literal["ErrorRate", "LatencyQuantile"]
    against: Literal["Stable"] | None = None
    limit: str | None = None
    quantile: float | None = None
    tolerate_ratio: float = 1.2
    tolerate_difference: float = 0.0
    accept_ratio: float = 2.0
    accept_difference: float = 0.005
    critical: bool = False


class Action(ApiModel):
    """What follows when a signal class breaches."""

    signals: list[Literal["Metrics"]]
    do: list[Literal["Rollback", "Alert"]]


class DriftPolicySpec(ApiModel):
    """What a user asks for."""

    target: Target
    false_alarms: FalseAlarms = FalseAlarms()
    metrics: list[Metric]
    actions: list[Action] = Field(default_factory=lambda: [Action(signals=["Metrics"], do=["Rollback", "Alert"])])
