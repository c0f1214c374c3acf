"""What a DriftPolicy shows of the split that it judges."""

from typing import Any

import pytest

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.drift_policy import Surroundings, policy_status
from penstock_operator.core.objects import Manifest

NOW = 1_800_000_000.0
SPEC: dict[str, Any] = {
    "target": {"name": "fraud"},
    "metrics": [{"name": "errors", "source": "ErrorRate", "against": "Stable"}],
}


def policy(**status: Any) -> Manifest:
    return {"metadata": {"name": "guard", "generation": 2}, "spec": SPEC, "status": status}


def split(policies: tuple[str, ...] = ("guard",), **status: Any) -> Manifest:
    return {"metadata": {"name": "fraud"}, "spec": {"policies": list(policies)}, "status": status}


def entry(metric: str, verdict: str, evidence: float = 1.0, of: str = "guard") -> dict[str, Any]:
    return {
        "policy": of,
        "metric": metric,
        "verdict": verdict,
        "evidence": evidence,
        "limit": 20.0,
        "message": f"{metric} is {verdict}",
        "stable": {"n": 1, "value": 0.0},
    }


def status_of(live: Manifest, judged: Manifest | None) -> dict[str, Any]:
    return policy_status(live, DriftPolicySpec.parse(SPEC), Surroundings(split=judged), now=NOW)


def condition(status: dict[str, Any], type_: str) -> tuple[str, str, str] | None:
    found = [item for item in status["conditions"] if item["type"] == type_]
    return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else None


def test_a_policy_for_nobody_says_whom_it_misses() -> None:
    status = status_of(policy(), None)

    assert condition(status, "Ready") == (
        "False",
        "TargetNotFound",
        "spec.target: there is no TrafficSplit fraud in this namespace",
    )
    assert condition(status, "Stalled") is not None


def test_a_policy_that_its_split_does_not_name_says_what_to_add() -> None:
    status = status_of(policy(), split(policies=()))

    assert condition(status, "Ready") == (
        "False",
        "NotReferenced",
        "TrafficSplit fraud does not list this policy; add guard to its spec.policies",
    )


def test_a_policy_before_any_traffic_does_not_know() -> None:
    status = status_of(policy(), split())

    assert condition(status, "Ready") == ("True", "Ready", "judges the candidates of TrafficSplit fraud")
    assert condition(status, "Healthy") == ("Unknown", "NothingToJudge", "no candidate has had traffic yet")
    assert condition(status, "Stalled") is None
    assert "worst" not in status
    assert status["observedGeneration"] == 2


@pytest.mark.parametrize(
    ("verdict", "healthy", "reason"),
    [
        ("Fail", "False", "MetricsBreached"),
        ("Error", "Unknown", "CannotJudge"),
        ("NoData", "Unknown", "CannotJudge"),
        ("Undecided", "True", "Healthy"),
        ("Pass", "True", "Healthy"),
    ],
)
def test_the_worst_signal_says_whether_all_is_well(verdict: str, healthy: str, reason: str) -> None:
    status = status_of(policy(), split(analysis=[entry("slow", "Pass"), entry("errors", verdict)]))

    assert condition(status, "Healthy") is not None
    worst = "slow" if verdict == "Pass" else "errors"
    told = f"{worst}: {worst} is {verdict}"
    assert condition(status, "Healthy") == (healthy, reason, told)
    assert status["worst"] == worst


def test_signals_are_the_policys_own_worst_first_and_the_strongest_of_them() -> None:
    analysis = [
        entry("calm", "Pass", 0.1),
        entry("weak", "Undecided", 2.0),
        entry("strong", "Undecided", 15.0),
        entry("bad", "Fail", 30.0, of="another"),
    ]
    status = status_of(policy(), split(analysis=analysis))

    assert [signal["name"] for signal in status["signals"]] == ["strong", "weak", "calm"]
    assert set(status["signals"][0]) == {"name", "verdict", "evidence", "limit", "message"}


def test_signals_are_bounded() -> None:
    status = status_of(policy(), split(analysis=[entry(f"m{number}", "Pass") for number in range(50)]))

    assert len(status["signals"]) == 20
