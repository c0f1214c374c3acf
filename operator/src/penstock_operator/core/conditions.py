"""Status conditions after kstatus, and every reason that they may give."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

Condition = dict[str, Any]


class Reason(StrEnum):
    """Every reason of every condition; docs/conditions.md describes each."""

    # All kinds
    READY = "Ready"
    INVALID_SPEC = "InvalidSpec"
    NOT_OWNED = "NotOwned"
    REJECTED_BY_SERVER = "RejectedByServer"
    # ModelDeployment
    PROGRESSING = "Progressing"
    AVAILABLE = "Available"
    NO_READY_PODS = "NoReadyPods"
    REVISION_FAILED = "RevisionFailed"
    REVISION_REJECTED = "RevisionRejected"
    REVISION_RETIRED = "RevisionRetired"
    NOT_A_CANDIDATE = "NotACandidate"
    REVISION_UNPROVEN = "RevisionUnproven"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    AUTOSCALING = "Autoscaling"
    AUTOSCALER_STARTING = "AutoscalerStarting"
    AUTOSCALER_FAILED = "AutoscalerFailed"
    NO_CPU_METRICS = "NoCpuMetrics"
    AT_MAX_REPLICAS = "AtMaxReplicas"
    # TrafficSplit
    MODEL_DEPLOYMENT_NOT_FOUND = "ModelDeploymentNotFound"
    MODEL_DEPLOYMENT_TAKEN = "ModelDeploymentTaken"
    MODEL_NAME_MISMATCH = "ModelNameMismatch"
    ENDPOINT_TAKEN = "EndpointTaken"
    POLICY_NOT_FOUND = "PolicyNotFound"
    POLICY_MISMATCH = "PolicyMismatch"
    POLICIES_READY = "PoliciesReady"
    WAITING_FOR_STABLE = "WaitingForStable"
    WAITING_FOR_ROUTERS = "WaitingForRouters"
    ROUTER_REJECTED = "RouterRejected"
    ROUTERS_ACKNOWLEDGED = "RoutersAcknowledged"
    SPLIT_MISMATCH = "SplitMismatch"
    INVALID_FREEZE = "InvalidFreeze"
    GATEWAY_NOT_ENABLED = "GatewayNotEnabled"
    GATEWAY_API_MISSING = "GatewayApiMissing"
    UNSUPPORTED_BY_GATEWAY = "UnsupportedByGateway"
    HOST_TAKEN = "HostTaken"
    WAITING_FOR_CANDIDATE = "WaitingForCandidate"
    CANDIDATE_FAILED = "CandidateFailed"
    PAUSED = "Paused"
    PROMOTED = "Promoted"
    POLICY_BREACHED = "PolicyBreached"
    UNDECIDED = "Undecided"
    ABORTED = "Aborted"
    LOST = "Lost"
    RETURNING = "Returning"
    ROLLED_BACK = "RolledBack"
    # DriftPolicy
    TARGET_NOT_FOUND = "TargetNotFound"
    NOT_REFERENCED = "NotReferenced"
    HEALTHY = "Healthy"
    METRICS_BREACHED = "MetricsBreached"
    NOTHING_TO_JUDGE = "NothingToJudge"
    CANNOT_JUDGE = "CannotJudge"
    WATCHING = "Watching"
    COLLECTING_ROWS = "CollectingRows"
    PARTIAL_COVERAGE = "PartialCoverage"
    COUNTS_REFUSED = "CountsRefused"
    REFERENCE_MISSING = "ReferenceMissing"
    REFERENCE_TOO_SMALL = "ReferenceTooSmall"
    REFERENCE_TOO_LARGE = "ReferenceTooLarge"
    REFERENCE_DAMAGED = "ReferenceDamaged"
    GATHERING_REFERENCE = "GatheringReference"
    PROFILE_MISMATCH = "ProfileMismatch"
    INPUT_DRIFT = "InputDrift"
    OUTPUT_DRIFT = "OutputDrift"
    CORRELATION_DRIFT = "CorrelationDrift"
    CONTRIBUTION_DRIFT = "ContributionDrift"
    DATA_QUALITY_BREACHED = "DataQualityBreached"
    PERFORMANCE_BREACHED = "PerformanceBreached"
    DELIVERED = "Delivered"
    DELIVERY_FAILED = "DeliveryFailed"
    CRON_JOB_NOT_FOUND = "CronJobNotFound"
    MODEL_UPDATED = "ModelUpdated"
    NOTHING_PUBLISHED = "NothingPublished"
    FIELD_OWNED = "FieldOwned"
    UPDATE_NOT_ALLOWED = "UpdateNotAllowed"


def timestamp(now: float) -> str:
    """Return Unix seconds in the form of Kubernetes timestamps, down to milliseconds.

    >>> timestamp(1.5)
    '1970-01-01T00:00:01.500Z'
    """
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_seconds(text: str) -> float:
    """Return the Unix seconds of a Kubernetes timestamp."""
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """What one condition is to say; ``status`` None means Unknown."""

    status: bool | None
    reason: Reason
    message: str


class Conditions:
    """The conditions of one status under construction.

    A condition that keeps its status keeps its lastTransitionTime. What is not set again is dropped, so
    abnormal-true conditions (Reconciling, Stalled) disappear by themselves.
    """

    def __init__(self, previous: list[Condition], *, generation: int, now: float) -> None:
        """Start from what the live status says."""
        self._previous = {condition["type"]: condition for condition in previous}
        self._generation = generation
        self._now = timestamp(now)
        self._set: dict[str, Condition] = {}

    def set(self, type_: str, *, status: bool | None, reason: Reason, message: str) -> None:
        """Set a condition; ``status`` None means Unknown."""
        text = "Unknown" if status is None else str(status)
        before = self._previous.get(type_)
        kept = before is not None and before["status"] == text
        self._set[type_] = {
            "type": type_,
            "status": text,
            "reason": reason.value,
            "message": message,
            "observedGeneration": self._generation,
            "lastTransitionTime": before["lastTransitionTime"] if before and kept else self._now,
        }

    def to_wire(self) -> list[Condition]:
        """Return the conditions in a fixed order."""
        return [self._set[type_] for type_ in sorted(self._set)]


def find(conditions: list[Condition], type_: str) -> Condition | None:
    """Return the condition of a type, or None."""
    return next((condition for condition in conditions if condition["type"] == type_), None)


def is_true(conditions: list[Condition], type_: str) -> bool:
    """Return whether a condition is there and True."""
    condition = find(conditions, type_)
    return condition is not None and condition["status"] == "True"
