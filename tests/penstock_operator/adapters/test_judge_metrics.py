"""What the judge says of each metric can be scraped."""

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from penstock_operator.adapters.judge_metrics import JudgeMetrics

ENTRY: dict[str, Any] = {
    "policy": "guard",
    "metric": "errors",
    "revision": "fraud-b",
    "verdict": "Undecided",
    "evidence": 2.8,
    "limit": 20.0,
    "acceptance": 0.2,
    "stable": {"n": 1089, "value": 0.0046},
    "candidate": {"n": 121, "value": 0.025},
}


def lines(*statuses: Any) -> list[str]:
    splits = [{"metadata": {"namespace": "shop", "name": "fraud"}, "status": status} for status in statuses]
    registry = CollectorRegistry()
    registry.register(JudgeMetrics(lambda: splits))
    return generate_latest(registry).decode().splitlines()


def test_evidence_limit_and_what_was_seen_are_shown() -> None:
    found = lines({"analysis": [ENTRY]})
    labels = 'metric="errors",namespace="shop",policy="guard",revision="fraud-b",split="fraud"'
    assert f"penstock_judge_evidence{{{labels}}} 2.8" in found
    assert f"penstock_judge_evidence_limit{{{labels}}} 20.0" in found
    assert f"penstock_judge_acceptance{{{labels}}} 0.2" in found
    assert f'penstock_judge_verdict{{{labels},verdict="Undecided"}} 1.0' in found
    assert f'penstock_judge_value{{arm="candidate",{labels}}} 0.025' in found
    assert f'penstock_judge_samples{{arm="stable",{labels}}} 1089.0' in found


def test_a_metric_without_data_has_a_verdict_and_no_values() -> None:
    found = lines({"analysis": [{"policy": "guard", "metric": "errors", "verdict": "NoData"}]})
    assert any("penstock_judge_verdict{" in line and 'verdict="NoData"' in line for line in found)
    assert not any(line.startswith(("penstock_judge_value{", "penstock_judge_samples{")) for line in found)


def test_a_split_without_a_status_has_nothing_to_show() -> None:
    assert not [line for line in lines(None, {}, {"analysis": None}) if not line.startswith("#")]
