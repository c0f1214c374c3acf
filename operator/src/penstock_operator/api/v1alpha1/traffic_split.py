"""TrafficSplit: which revisions compete for one endpoint, and on what schedule."""

from typing import Literal

from pydantic import Field

from penstock_operator.api.duration import Duration, parse_duration
from penstock_operator.api.model import ApiModel

KIND = "TrafficSplit"
COMMAND_ANNOTATION = "penstock.dev/command"


class Stable(ApiModel):
    """Where the stable revision comes from."""

    model_deployment: str


class Candidate(ApiModel):
    """A revision that competes: the one that a ModelDeployment serves."""

    name: str
    model_deployment: str
    weight: int | None = None


class Pause(ApiModel):
    """A gate that a person opens with ``kubectl penstock promote``."""


class Step(ApiModel):
    """One step: a weight that is held, or a pause."""

    weight: int | None = None
    hold: Duration = parse_duration("0s")
    require: Literal["Pass"] | None = None
    pause: Pause | None = None


class Schedule(ApiModel):
    """Steps by a rule."""

    kind: Literal["Linear", "Exponential"]
    start: int = Field(default=1, alias="from")
    to: int = 100
    by: int = 10
    every: Duration
    require: Literal["Pass"] | None = None


class Winner(ApiModel):
    """When a challenger of an A/B test is declared the winner by evidence."""

    require: Literal["Pass"] = "Pass"
    hold: Duration = parse_duration("0s")


class Strategy(ApiModel):
    """How a rollout goes: by ``steps`` or ``schedule``, or at fixed weights."""

    type: Literal["Canary", "BlueGreen", "ABTest", "Shadow"] = "Canary"
    steps: list[Step] = Field(default_factory=list)
    schedule: Schedule | None = None
    winner: Winner | None = None
    max_duration: Duration | None = None
    on_undecided: Literal["Hold", "Promote", "Rollback"] = "Hold"
    progress_deadline: Duration | None = None


class Match(ApiModel):
    """Requests with a header go to a candidate or to stable, whatever the weights."""

    header: str
    exact: str | None = None
    prefix: str | None = None
    present: bool | None = None
    to: str


class Cookie(ApiModel):
    """A cookie that the router gives to who has none."""

    name: str = "penstock"
    ttl: Duration = parse_duration("1h")


class Stickiness(ApiModel):
    """What keeps requests together: a header's value, or a cookie."""

    header: str | None = None
    cookie: Cookie | None = None


class Shadow(ApiModel):
    """Copies of requests go to candidates that have no weight; their answers are dropped."""

    percent: int = 100
    compare_outputs: bool = False
    tolerance: str = "1%"


class AfterPromotion(ApiModel):
    """What follows a promotion."""

    watch: Duration


class FreezeWindow(ApiModel):
    """A time in which no candidate goes forward; taking one back always works."""

    cron: str
    duration: Duration
    time_zone: str = "UTC"


class ParentRef(ApiModel):
    """A Gateway, or one listener of it."""

    name: str
    namespace: str | None = None
    section_name: str | None = None
    port: int | None = None


class GatewayRoute(ApiModel):
    """Gateways that lead the requests, instead of the built-in routers."""

    parent_refs: list[ParentRef]
    hostnames: list[str] = Field(default_factory=list)


class TrafficSplitSpec(ApiModel):
    """What a user asks for."""

    stable: Stable
    candidates: list[Candidate] = Field(default_factory=list)
    strategy: Strategy
    match: list[Match] = Field(default_factory=list)
    stickiness: Stickiness | None = None
    shadow: Shadow | None = None
    policies: list[str] = Field(default_factory=list)
    after_promotion: AfterPromotion | None = None
    freeze: list[FreezeWindow] = Field(default_factory=list)
    gateway: GatewayRoute | None = None
