"""Limits over unbounded time: rare false alarms, a regression found within minutes, and quiet again when it is gone."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.judge.counts import ArmCounts, Reading, Tick
from penstock_operator.core.steady import has_limits, judge_steady
from penstock_operator.core.trial import PolicyView, Trial

STABLE = "fraud-aaaaaaaa"
FEW: dict[str, Any] = {"name": "few", "source": "ErrorRate", "limit": "1%"}
ERRORS: dict[str, Any] = {"name": "errors", "source": "ErrorRate", "against": "Stable"}
LOAD: dict[str, Any] = {"name": "load", "source": "Prometheus", "query": 'x{r="{{revision}}"}', "limit": "3"}


def guard(*metrics: dict[str, Any], **changes: Any) -> PolicyView:
    wire = {"target": {"name": "fraud"}, "metrics": list(metrics), **changes}
    return PolicyView(name="guard", spec=DriftPolicySpec.parse(wire))


def tick(at: int, errors: int, requests: int = 600) -> Tick:
    return Tick(at=float(at), stable=None, candidate=ArmCounts(requests=requests, errors=errors))


def steady(ticks: Sequence[Tick], evidence: dict[str, Any] | None = None, **changes: Any) -> Trial:
    trial = judge_steady([guard(FEW, **changes)], evidence or {}, revision=STABLE, ticks=ticks, tick_seconds=30.0)
    assert trial is not None
    return trial


def test_what_compares_with_the_stable_needs_a_rollout() -> None:
    assert not has_limits([guard(ERRORS), PolicyView(name="gone", spec=None)])
    assert judge_steady([guard(ERRORS)], {}, revision=STABLE, ticks=[tick(1, 0)], tick_seconds=30.0) is None
    trial = judge_steady([guard(ERRORS, FEW)], {}, revision=STABLE, ticks=[tick(1, 0)], tick_seconds=30.0)
    assert trial is not None
    assert [entry["metric"] for entry in trial.analysis] == ["few"]


def test_the_limit_is_the_number_of_ticks_in_which_one_false_alarm_is_expected() -> None:
    assert steady([tick(1, 3)]).analysis[0]["limit"] == 30 * 24 * 3600 / 30
    assert steady([tick(1, 3)], falseAlarms={"per30Days": 4}).analysis[0]["limit"] == 30 * 24 * 3600 / 30 / 4


def test_at_the_limit_itself_the_detector_gains_what_time_gives_it_and_no_more() -> None:
    values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        trial = steady([tick(at, int(rng.binomial(600, 0.01))) for at in range(200)])
        values.append(trial.analysis[0]["evidence"])
    assert max(values) < 86_400 / 4
    assert float(np.median(values)) < 200


@pytest.mark.parametrize(("errors", "at_most"), [(12, 20), (24, 6), (60, 3)])
def test_a_regression_after_a_long_quiet_time_is_found_soon(errors: int, at_most: int) -> None:
    trial = steady([tick(at, 3) for at in range(2000)])
    assert trial.analysis[0]["verdict"] == "Pass"
    for late in range(1, 40):
        trial = steady([tick(2000 + late, errors)], json.loads(json.dumps(trial.evidence)))
        if trial.analysis[0]["verdict"] == "Fail":
            break
    assert late <= at_most


def test_it_is_quiet_again_when_the_cause_is_gone() -> None:
    trial = steady([tick(at, 300) for at in range(100)])
    assert trial.analysis[0]["verdict"] == "Fail"
    for healthy in range(1, 60):
        trial = steady([tick(100 + healthy, 2)], trial.evidence)
        if trial.analysis[0]["verdict"] != "Fail":
            break
    assert healthy <= 20


def test_nothing_rolls_back() -> None:
    trial = steady([tick(at, 300) for at in range(10)])
    assert trial.findings == ()


def test_another_stable_revision_begins_afresh() -> None:
    before = steady([tick(at, 300) for at in range(10)]).evidence
    trial = judge_steady([guard(FEW)], before, revision="fraud-b", ticks=[tick(11, 3)], tick_seconds=30.0)
    assert trial is not None
    assert trial.analysis[0]["candidate"]["n"] == 600


def test_a_mean_is_watched_too() -> None:
    rng = np.random.default_rng(1)
    evidence: dict[str, Any] = {}
    verdicts = []
    for at in range(200):
        value = (2.0 if at < 120 else 5.0) + 0.2 * float(rng.standard_normal())
        trial = judge_steady(
            [guard(LOAD)],
            evidence,
            revision=STABLE,
            ticks=[tick(at, 0)],
            tick_seconds=30.0,
            readings={"guard/load": Reading(at=float(at), candidate=value)},
        )
        assert trial is not None
        evidence = json.loads(json.dumps(trial.evidence))
        verdicts.append(trial.analysis[0]["verdict"])
    assert "Fail" not in verdicts[:120]
    assert "Fail" in verdicts[120:180]
