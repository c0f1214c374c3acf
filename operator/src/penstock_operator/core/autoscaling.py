"""What a HorizontalPodAutoscaler says of its revision, and what keeps it from its work."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock_operator.core.conditions import Reason, Saying, find, is_true
from penstock_operator.core.objects import Manifest

#: kubectl autoscale and every page about it start with the same advice.
_NO_METRICS = "install metrics-server, or what else serves metrics.k8s.io; until then"


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaled:
    """How many pods an autoscaler leaves its revision, asks for, and would ask for by load alone."""

    asked: int
    """What its Deployment asks for now."""
    most: int
    """More it never asks for."""
    load: int | None = None
    """What the load needs; None while the autoscaler cannot tell."""


def load_of(autoscaler: Manifest) -> int | None:
    """Return how many pods the load needs, as the autoscaler itself reckons; None while it cannot read it.

    >>> cpu = {"resource": {"name": "cpu", "current": {"averageUtilization": 100}}}
    >>> spec = {"metrics": [{"resource": {"name": "cpu", "target": {"averageUtilization": 70}}}]}
    >>> able = [{"type": "ScalingActive", "status": "True"}]
    >>> load_of({"spec": spec, "status": {"currentReplicas": 4, "currentMetrics": [cpu], "conditions": able}})
    6
    """
    status = autoscaler.get("status") or {}
    if not is_true(status.get("conditions") or [], "ScalingActive"):
        return None
    target = _cpu(autoscaler["spec"].get("metrics"), "target")
    current = _cpu(status.get("currentMetrics"), "current")
    if not target or current is None:
        return None
    return -(-int(status.get("currentReplicas", 0)) * current // target)


def _cpu(metrics: Any, side: str) -> int | None:
    for metric in metrics or ():
        resource: Mapping[str, Any] = metric.get("resource") or {}
        if resource.get("name") == "cpu":
            value = (resource.get(side) or {}).get("averageUtilization")
            return None if value is None else int(value)
    return None


def scaling_condition(revision: str, autoscaler: Manifest | None, *, pods: int) -> Saying:
    """Return what to say of the autoscaler of the revision that serves, and what to do where it cannot work."""
    conditions = ((autoscaler or {}).get("status") or {}).get("conditions") or []
    able, active = find(conditions, "AbleToScale"), find(conditions, "ScalingActive")
    stays = f"{revision} stays at {pods} pod{'' if pods == 1 else 's'}"
    if able is not None and able["status"] == "False":
        words = f"HorizontalPodAutoscaler {revision} cannot scale: {able.get('message', '')}; {stays}"
        return Saying(status=False, reason=Reason.AUTOSCALER_FAILED, message=words)
    if active is not None and active["status"] == "False":
        words = f"HorizontalPodAutoscaler {revision} cannot read the CPU of its pods: {active.get('message', '')}"
        return Saying(status=False, reason=Reason.NO_CPU_METRICS, message=f"{words}; {_NO_METRICS} {stays}")
    if active is None or active["status"] != "True":
        words = f"HorizontalPodAutoscaler {revision} has not looked yet; {stays}"
        return Saying(status=None, reason=Reason.AUTOSCALER_STARTING, message=words)
    limited = find(conditions, "ScalingLimited")
    if limited is not None and limited["status"] == "True" and limited.get("reason") == "TooManyReplicas":
        words = f"the load of {revision} asks for more than spec.autoscaling.maxReplicas; raise it"
        return Saying(status=True, reason=Reason.AT_MAX_REPLICAS, message=words)
    return Saying(status=True, reason=Reason.AUTOSCALING, message=f"{revision} has as many pods as its load needs")
