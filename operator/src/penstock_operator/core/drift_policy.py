"""What a DriftPolicy shows: whether it judges, what its metrics say, and what it did last."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.objects import Manifest
from penstock_operator.core.trial import SEVERITY

_SIGNALS_LIMIT = 20


def policy_status(policy: Manifest, spec: DriftPolicySpec, split: Manifest | None, *, now: float) -> dict[str, Any]:
    """Return the status of a policy, which mirrors what the split that it judges has found."""
    name = policy["metadata"]["name"]
    live = policy.get("status", {})
    conditions = Conditions(live.get("conditions", []), generation=policy["metadata"]["generation"], now=now)
    signals = _signals(name, split)
    ready, reason, message = _readiness(name, spec, split)
    conditions.set("Ready", status=ready, reason=reason, message=message)
    if not ready:
        conditions.set("Stalled", status=True, reason=reason, message=message)
    healthy, reason, message = _health(signals)
    conditions.set("Healthy", status=healthy, reason=reason, message=message)
    status: dict[str, Any] = {
        "observedGeneration": policy["metadata"]["generation"],
        "conditions": conditions.to_wire(),
    }
    if signals:
        status["signals"] = signals
        status["worst"] = signals[0]["name"]
    return status


def _readiness(name: str, spec: DriftPolicySpec, split: Manifest | None) -> tuple[bool, Reason, str]:
    target = spec.target.name
    if split is None:
        return False, Reason.TARGET_NOT_FOUND, f"spec.target: there is no TrafficSplit {target} in this namespace"
    if name not in split["spec"].get("policies", ()):
        message = f"TrafficSplit {target} does not list this policy; add {name} to its spec.policies"
        return False, Reason.NOT_REFERENCED, message
    return True, Reason.READY, f"judges the candidates of TrafficSplit {target}"


def _signals(name: str, split: Manifest | None) -> list[dict[str, Any]]:
    analysis: Sequence[Mapping[str, Any]] = (split or {}).get("status", {}).get("analysis", ())
    signals = [
        {
            "name": entry["metric"],
            **{field: entry[field] for field in ("verdict", "evidence", "limit", "message") if field in entry},
        }
        for entry in analysis
        if entry.get("policy") == name
    ]
    return sorted(signals, key=_worst_first)[:_SIGNALS_LIMIT]


def _worst_first(signal: Mapping[str, Any]) -> tuple[int, float]:
    return SEVERITY.index(Verdict(signal["verdict"])), -float(signal.get("evidence", 0.0))


def _health(signals: Sequence[Mapping[str, Any]]) -> tuple[bool | None, Reason, str]:
    if not signals:
        return None, Reason.NOTHING_TO_JUDGE, "no candidate has had traffic yet"
    worst = signals[0]
    words = f"{worst['name']}: {worst.get('message', '')}"
    match Verdict(worst["verdict"]):
        case Verdict.FAIL:
            return False, Reason.METRICS_BREACHED, words
        case Verdict.ERROR | Verdict.NO_DATA:
            return None, Reason.CANNOT_JUDGE, words
        case _:
            return True, Reason.HEALTHY, words
