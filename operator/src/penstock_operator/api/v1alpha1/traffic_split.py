"""TrafficSplit: which revisions compete for one endpoint, and on what schedule."""

from typing import Literal

from pydantic import Field

from penstock_operator.api.duration import Duration, parse_duration
from penstock_operator.api.model import ApiModel

KIND = "TrafficSplit"
COMMAND_ANNOTATION = "penstock.dev/command"


class Stable(ApiModel):
    """Where the stable revision comes from; each new revision of it is the candidate."""

    model_deployment: str


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


class Strategy(ApiModel):
    """The schedule of a rollout: ``steps`` or ``schedule``."""

    type: Literal["Canary"] = "Canary"
    steps: list[Step] = Field(default_factory=list)
    schedule: Schedule | None = None
    max_duration: Duration | None = None
    on_undecided: Literal["Hold", "Promote", "Rollback"] = "Hold"


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
    strategy: Strategy
    policies: list[str] = Field(default_factory=list)
    freeze: list[FreezeWindow] = Field(default_factory=list)
    gateway: GatewayRoute | None = None
