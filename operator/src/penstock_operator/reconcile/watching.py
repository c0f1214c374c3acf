"""How a policy's reconciler asks for live traffic, without what judging it takes until somebody asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.alarms import Alarm
from penstock_operator.core.objects import Manifest, ObjectRef
from penstock_operator.core.traffic_report import TrafficReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look at live traffic has shown, when to look again, and how often numbers alone are worth a write."""

    report: TrafficReport
    alarms: tuple[Alarm, ...]
    again_seconds: float
    numbers_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A policy that watches live traffic, and what it sees. ``live`` is the status that it has, ``owner`` all of it."""

    ref: ObjectRef
    owner: Manifest
    spec: DriftPolicySpec
    split: Manifest | None
    deployments: Sequence[Manifest]
    live: Mapping[str, Any]


class TrafficWatch(Protocol):
    """Watches live traffic for policies."""

    async def look(self, case: Case) -> Seen:
        """Look at what is due, and return all that is known."""

    def forget(self, ref: ObjectRef) -> None:
        """Drop what is kept of a policy that is gone, or watches nothing any more."""
