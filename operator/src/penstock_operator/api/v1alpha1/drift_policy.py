"""DriftPolicy: what is watched, the limits, and what a breach does."""

from typing import Literal

from pydantic import Field

from penstock_operator.api.duration import Duration, parse_duration
from penstock_operator.api.model import ApiModel

KIND = "DriftPolicy"


class Selector(ApiModel):
    """Which objects, by their labels."""

    match_labels: dict[str, str]


class Target(ApiModel):
    """What the policy watches: one object by name, or ModelDeployments by their labels."""

    kind: Literal["TrafficSplit", "ModelDeployment"] = "TrafficSplit"
    name: str | None = None
    selector: Selector | None = None


class FalseAlarms(ApiModel):
    """The false-alarm budget."""

    per_rollout: float = 0.05
    per_30_days: float = Field(default=1.0, alias="per30Days")


class WebSource(ApiModel):
    """Where a number is in a JSON document."""

    url: str
    pointer: str
    secret_name: str | None = None


class JobSource(ApiModel):
    """Of which CronJob's template a Job is made."""

    cron_job: str


class Metric(ApiModel):
    """One judged metric: the candidate against the concurrent stable, or against a limit."""

    name: str
    source: Literal[
        "ErrorRate",
        "LatencyQuantile",
        "Prometheus",
        "Web",
        "OutputDisagreement",
        "ScoreDifference",
        "LatencyDifference",
        "Job",
    ]
    against: Literal["Stable"] | None = None
    limit: str | None = None
    quantile: float | None = None
    query: str | None = None
    web: WebSource | None = None
    job: JobSource | None = None
    direction: Literal["LowerIsBetter", "HigherIsBetter"] = "LowerIsBetter"
    interval: Duration = parse_duration("30s")
    tolerate_ratio: float | None = None
    tolerate_difference: float = 0.0
    accept_ratio: float = 2.0
    accept_difference: float = 0.005
    critical: bool = False
    dry_run: bool = False


class Inputs(ApiModel):
    """Watch how inputs are distributed."""

    features: list[str] = Field(default_factory=lambda: ["*"])
    psi_max: float = 0.1


class Outputs(ApiModel):
    """Watch how outputs are distributed."""

    psi_max: float = 0.1


class Contribution(ApiModel):
    """Watch whether outputs follow inputs as they did."""

    lost_min: float = 0.1
    ndcg_min: float | None = Field(default=None, alias="nDCGMin")


class Mmd(ApiModel):
    """Watch how all inputs go together."""

    distance_max: float = 0.01


class FirstRows(ApiModel):
    """The first rows that a revision answers."""

    rows: int = 50_000


class ReferenceWindow(ApiModel):
    """A time that a person knows to be good."""

    start: str = Field(alias="from")
    until: str


class Drift(ApiModel):
    """Live traffic against a reference; a block that is absent is not watched."""

    reference: Literal["Profile", "Stable", "FirstRows", "Window"] = "Profile"
    first_rows: FirstRows | None = None
    window: ReferenceWindow | None = None
    inputs: Inputs | None = None
    outputs: Outputs | None = None
    correlation: bool = False
    mmd: Mmd | None = None
    contribution: Contribution | None = None


class SegmentBy(ApiModel):
    """Parts of the traffic that are also watched by themselves."""

    input: str
    values: list[str]


class DataQuality(ApiModel):
    """What may be wrong with values, and how often rows come."""

    missing_max: float = 0.02
    invalid_max: float = 0.001
    unseen_category_max: float = 0.01
    out_of_range_max: float = 0.01
    volume_change_max: float | None = None
    silence_max: Duration | None = None


class Estimated(ApiModel):
    """Estimated without labels, from the model's own probabilities."""

    metric: Literal["Accuracy"] = "Accuracy"
    min: float


class Labelled(ApiModel):
    """Counted from delayed labels."""

    metric: Literal["Accuracy", "ROCAUC", "MeanAbsoluteError", "RootMeanSquaredError"] = "Accuracy"
    min: float | None = None
    max: float | None = None
    against: Literal["Stable"] | None = None
    tolerate_difference: float = 0.02


class Performance(ApiModel):
    """How often the model must be right."""

    estimated: Estimated | None = None
    labelled: Labelled | None = None


SignalName = Literal["Metrics", "Inputs", "Outputs", "Correlation", "Contribution", "DataQuality", "Performance"]


class Confirm(ApiModel):
    """How often an alarm must be seen before something follows."""

    windows: int
    of: int


class Action(ApiModel):
    """What follows when a signal class breaches."""

    signals: list[SignalName]
    when: Literal["Always", "AttributableToRevision"] = "Always"
    confirm: Confirm | None = None
    do: list[Literal["Retire", "Rollback", "Pause", "Retrain", "Alert"]]


class Webhook(ApiModel):
    """An HTTP endpoint that is told, with the Secret that opens it."""

    url: str
    secret_name: str | None = None


#: The names under which kubectl writes what a person has typed.
_AT_THE_KEYBOARD = (
    "kubectl",
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-edit",
    "kubectl-patch",
    "kubectl-replace",
)


class ModelUpdate(ApiModel):
    """Which ModelDeployment asks for what a training has published."""

    model_deployment: str
    take_from: list[str] = Field(default_factory=lambda: list(_AT_THE_KEYBOARD))


class Retrain(ApiModel):
    """How a model is trained again: a Job from a CronJob's template, or somebody who is told."""

    cron_job: str | None = None
    webhook: Webhook | None = None
    cooldown: Duration = parse_duration("24h")
    max_per_month: int = 4
    update: ModelUpdate | None = None


class Retire(ApiModel):
    """How far retiring a model may go."""

    while_serving: bool = False


class AlertWebhook(Webhook):
    """An endpoint that takes alerts as Alertmanager does."""

    repeat_every: Duration = parse_duration("5m")


class Alert(ApiModel):
    """Who is told beside Events and metrics."""

    webhook: AlertWebhook | None = None


class Mute(ApiModel):
    """A time in which nobody is told and nothing is trained: from a moment until another, or again and again."""

    start: str | None = Field(default=None, alias="from")
    until: str | None = None
    cron: str | None = None
    duration: Duration | None = None
    time_zone: str = "UTC"
    reason: str | None = None


def _default_actions() -> list[Action]:
    return [
        Action(signals=["Metrics"], do=["Rollback", "Alert"]),
        Action(
            signals=["Inputs", "Outputs", "Correlation", "Contribution", "DataQuality", "Performance"], do=["Alert"]
        ),
    ]


class DriftPolicySpec(ApiModel):
    """What a user asks for."""

    target: Target
    false_alarms: FalseAlarms = FalseAlarms()
    window_rows: int = 500
    metrics: list[Metric] = Field(default_factory=list)
    drift: Drift | None = None
    segment_by: SegmentBy | None = None
    data_quality: DataQuality | None = None
    performance: Performance | None = None
    actions: list[Action] = Field(default_factory=_default_actions)
    retrain: Retrain | None = None
    retire: Retire | None = None
    alert: Alert | None = None
    mute: list[Mute] = Field(default_factory=list)
    dry_run: bool = False
