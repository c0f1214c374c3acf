"""What a DriftPolicy shows: whether it judges, and what its metrics and live traffic say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core import watched
from penstock_operator.core.conditions import Condition, Conditions, Reason, Saying
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.objects import Manifest
from penstock_operator.core.traffic_report import TrafficReport, settled
from penstock_operator.core.trial import SEVERITY

_SIGNALS_LIMIT = 20
#: What else of a condition must be as before for its words to stay.
_UNWORDED = ("status", "reason", "observedGeneration")
_WORST = ("Fail", Reason.CANNOT_JUDGE.value, "Well", Reason.NOTHING_TO_JUDGE.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a policy sees: its split where it targets one, all ModelDeployments, and live traffic where it watches that.

    Where only numbers change, they are written once in ``numbers_seconds``.
    """

    split: Manifest | None = None
    deployments: Sequence[Manifest] = ()
    traffic: TrafficReport | None = None
    numbers_seconds: float = 0.0


def policy_status(policy: Manifest, spec: DriftPolicySpec, around: Surroundings, *, now: float) -> dict[str, Any]:
    """Return the status of a policy: what the split that it judges has found, and what live traffic says."""
    name = policy["metadata"]["name"]
    live = policy.get("status", {})
    conditions = Conditions(live.get("conditions", []), generation=policy["metadata"]["generation"], now=now)
    ready = _readiness(name, spec, around)
    conditions.set("Ready", status=ready.status, reason=ready.reason, message=ready.message)
    if not ready.status:
        conditions.set("Stalled", status=True, reason=ready.reason, message=ready.message)
    judged = _signals(name, around.split)
    seen: dict[str, Any] = {}
    if around.traffic is not None:
        state = around.traffic.watching
        conditions.set("Watching", status=state.status, reason=state.reason, message=state.message)
        seen = settled(around.traffic.to_wire(), live, now=now, seconds=around.numbers_seconds)
    healthy = _health(spec, judged, around.traffic)
    conditions.set("Healthy", status=healthy.status, reason=healthy.reason, message=healthy.message)
    status: dict[str, Any] = {
        "observedGeneration": policy["metadata"]["generation"],
        "conditions": _steady(conditions.to_wire(), live, seen, spec),
    }
    moved = [one for one in seen.pop("signals", ()) if "modelDeployment" in one]
    signals = sorted([*judged, *moved], key=_severity)[:_SIGNALS_LIMIT]
    if signals:
        status["signals"] = signals
        status["worst"] = signals[0]["name"]
    return {**status, **seen}


def _steady(
    conditions: list[Condition], live: Mapping[str, Any], seen: Mapping[str, Any], spec: DriftPolicySpec
) -> list[Condition]:
    """Return conditions with the words that they had where the numbers of status were left as they are."""
    if not seen or seen.get("windows") != live.get("windows"):
        return conditions
    of_traffic = {"Watching"} if spec.metrics else {"Watching", "Healthy"}
    before = {one["type"]: one for one in live.get("conditions", ())}
    steady: list[Condition] = []
    for one in conditions:
        known = before.get(one["type"])
        same = known is not None and all(known.get(key) == one[key] for key in _UNWORDED)
        steady.append(known if known is not None and same and one["type"] in of_traffic else one)
    return steady


def _readiness(name: str, spec: DriftPolicySpec, around: Surroundings) -> Saying:
    target, split = spec.target, around.split
    if target.kind == "ModelDeployment":
        return _readiness_of_models(spec, around)
    if split is None:
        text = f"spec.target: there is no TrafficSplit {target.name} in this namespace"
        return Saying(status=False, reason=Reason.TARGET_NOT_FOUND, message=text)
    if not spec.metrics:
        return Saying(status=True, reason=Reason.READY, message=f"watches the traffic of TrafficSplit {target.name}")
    if name not in split["spec"].get("policies", ()):
        text = f"TrafficSplit {target.name} does not list this policy; add {name} to its spec.policies"
        return Saying(status=False, reason=Reason.NOT_REFERENCED, message=text)
    return Saying(status=True, reason=Reason.READY, message=f"judges the candidates of TrafficSplit {target.name}")


def _readiness_of_models(spec: DriftPolicySpec, around: Surroundings) -> Saying:
    count, selector = watched.chosen(spec, around.deployments), spec.target.selector
    if count:
        which = f"ModelDeployment {spec.target.name}" if selector is None else f"{count} ModelDeployments"
        return Saying(status=True, reason=Reason.READY, message=f"watches the traffic of {which}")
    if selector is None:
        text = f"spec.target: there is no ModelDeployment {spec.target.name} in this namespace"
    else:
        labels = ", ".join(f"{key}: {value}" for key, value in sorted(selector.match_labels.items()))
        text = f"spec.target.selector: no ModelDeployment in this namespace has the labels {labels}"
    return Saying(status=False, reason=Reason.TARGET_NOT_FOUND, message=text)


def _signals(name: str, split: Manifest | None) -> list[dict[str, Any]]:
    analysis: Sequence[Mapping[str, Any]] = (split or {}).get("status", {}).get("analysis", ())
    signals = [
        {
            "name": entry["metric"],
            **{
                field: entry[field]
                for field in ("revision", "verdict", "evidence", "limit", "message")
                if field in entry
            },
        }
        for entry in analysis
        if entry.get("policy") == name
    ]
    return sorted(signals, key=_worst_first)[:_SIGNALS_LIMIT]


def _worst_first(signal: Mapping[str, Any]) -> tuple[int, float]:
    return SEVERITY.index(Verdict(signal["verdict"])), -float(signal.get("evidence", 0.0))


def _severity(signal: Mapping[str, Any]) -> int:
    return SEVERITY.index(Verdict(signal["verdict"]))


def _health(spec: DriftPolicySpec, judged: Sequence[Mapping[str, Any]], traffic: TrafficReport | None) -> Saying:
    """Return the worse of what metrics and live traffic say; what is not asked for says nothing."""
    said = [_health_of_metrics(judged)] if spec.metrics else []
    if traffic is not None:
        said.append(traffic.health)
    nothing = Saying(status=None, reason=Reason.NOTHING_TO_JUDGE, message="nothing is asked for")
    return min(said, key=lambda one: _WORST.index(_worth(one)), default=nothing)


def _worth(one: Saying) -> str:
    return "Fail" if one.status is False else "Well" if one.status else str(one.reason.value)


def _health_of_metrics(signals: Sequence[Mapping[str, Any]]) -> Saying:
    if not signals:
        text = "no candidate has had traffic yet"
        return Saying(status=None, reason=Reason.NOTHING_TO_JUDGE, message=text)
    worst = signals[0]
    words = f"{worst['name']}: {worst.get('message', '')}"
    match Verdict(worst["verdict"]):
        case Verdict.FAIL:
            return Saying(status=False, reason=Reason.METRICS_BREACHED, message=words)
        case Verdict.ERROR | Verdict.NO_DATA:
            return Saying(status=None, reason=Reason.CANNOT_JUDGE, message=words)
        case _:
            return Saying(status=True, reason=Reason.HEALTHY, message=words)
