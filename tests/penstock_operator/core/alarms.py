"""Alarms, policies and looks for tests of what follows from them."""

from collections.abc import Mapping
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.action_state import ActionState, parse_state
from penstock_operator.core.actions import Decision, Look, decide
from penstock_operator.core.alarms import Alarm, SignalClass
from penstock_operator.core.mute import muting_at

DAY = 86_400.0
START = 1_800_000_000.0
RETRAINS: dict[str, Any] = {
    "actions": [
        {"signals": ["Metrics", "Outputs"], "when": "AttributableToRevision", "do": ["Rollback", "Alert"]},
        {"signals": ["Inputs", "Outputs"], "do": ["Alert", "Retrain"]},
        {"signals": ["DataQuality"], "do": ["Alert"]},
    ],
    "retrain": {"cronJob": "train"},
}


def spec(**changes: Any) -> DriftPolicySpec:
    """Return a policy; without changes, with the schema's defaults."""
    metric = {"name": "errors", "source": "ErrorRate", "against": "Stable"}
    return DriftPolicySpec.parse({"target": {"name": "fraud"}, "metrics": [metric], **changes})


def alarm(name: str = "inputs/amount", **changes: Any) -> Alarm:
    """Return an alarm of the class that its name says."""
    known = {"inputs": SignalClass.INPUTS, "outputs": SignalClass.OUTPUTS, "dataQuality": SignalClass.DATA_QUALITY}
    fields: dict[str, Any] = {
        "signal": known.get(name.partition("/")[0], SignalClass.METRICS),
        "name": name,
        "model_deployment": "fraud",
        "revision": "fraud-1",
        "window_id": "fraud-1-w7",
        "since": START,
        "message": "PSI 0.31 over 18234 rows",
        "evidence": {"psi": 0.31, "rows": 18234.0},
    }
    return Alarm(**{**fields, **changes})


def look(*alarms: Alarm, at: float = 0.0, policy: DriftPolicySpec | None = None, **changes: Any) -> Look:
    """Return a look ``at`` seconds after the start."""
    silence = muting_at(policy.mute, START + at).silence if policy else None
    return Look(now=START + at, identity="uid-1", alarms=alarms, silence=silence, **changes)


def after(policy: DriftPolicySpec, *looks: Look, state: ActionState | None = None) -> Decision:
    """Return the last of several looks; between two of them the state goes through its wire form."""
    kept = state or ActionState()
    for one in looks:
        decision = decide(policy, kept, one)
        kept = parse_state(decision.state.to_wire())
    return decision


def wire(decision: Decision) -> Mapping[str, Any]:
    """Return what status shows."""
    return decision.state.to_wire()
