"""One policy at one moment, and what is collected while it is acted on."""

from dataclasses import dataclass, field

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.alarms import Alarm
from penstock_operator.core.conditions import Conditions
from penstock_operator.core.letters import Letter
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.retirement import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One policy at one moment."""

    policy: Manifest
    spec: DriftPolicySpec
    alarms: tuple[Alarm, ...]
    now: float
    around: Surroundings = field(default_factory=Surroundings)
    """What has traffic, for retirements."""

    @property
    def ref(self) -> ObjectRef:
        """The policy."""
        return ref_of(Kind.DRIFT_POLICY, self.policy)


@dataclass(slots=True, kw_only=True)
class Round:
    """One round of acting: what is collected on the way."""

    case: Case
    conditions: Conditions
    letters: dict[str, Letter] = field(default_factory=dict)
    again: list[float] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
