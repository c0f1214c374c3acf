"""After a promotion: a revision that turns bad is found, one that stays as it was is left alone."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.judge.counts import ArmCounts, LatencyHistogram, Reading, Tick
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.trial import PolicyView, Trial, judge_trial
from penstock_operator.core.watch import TRIAL_SHARE, WATCH_SHARE, judge_watch, watch_reference

NEW = "fraud-bbbbbbbb"
LE = (0.01, 0.1, 1.0)
ERRORS: dict[str, Any] = {"name": "errors", "source": "ErrorRate", "against": "Stable"}
SLOWER: dict[str, Any] = {"name": "slower", "source": "LatencyQuantile", "quantile": 0.95, "against": "Stable"}
SALES: dict[str, Any] = {
    "name": "sales",
    "source": "Prometheus",
    "query": 'x{r="{{revision}}"}',
    "against": "Stable",
    "direction": "HigherIsBetter",
}
#: What the old revision did during the trial.
ANALYSIS = [
    {"policy": "guard", "metric": "errors", "verdict": "Pass", "stable": {"n": 19_999, "value": 99 / 19_999}},
    {"policy": "guard", "metric": "slower", "verdict": "Pass", "stable": {"n": 20_000, "value": 0.01}},
    {"policy": "guard", "metric": "sales", "verdict": "Pass", "stable": {"n": 40, "value": 10.0}},
]


def guard(*metrics: dict[str, Any], **changes: Any) -> PolicyView:
    wire = {"target": {"name": "fraud"}, "metrics": list(metrics), **changes}
    return PolicyView(name="guard", spec=DriftPolicySpec.parse(wire))


def alone(at: int, errors: int, *, slow: int = 20, requests: int = 600) -> Tick:
    latency = LatencyHistogram(le=LE, counts=(requests - slow, 0, slow, 0))
    return Tick(at=float(at), stable=None, candidate=ArmCounts(requests=requests, errors=errors, latency=latency))


def watched(policy: PolicyView, ticks: Sequence[Tick], evidence: dict[str, Any] | None = None) -> Trial:
    trial = judge_watch([policy], evidence or {}, revision=NEW, ticks=ticks, analysis=ANALYSIS)
    assert trial is not None
    return trial


def test_without_a_new_tick_there_is_nothing_new() -> None:
    assert judge_watch([guard(ERRORS)], {}, revision=NEW, ticks=[], analysis=ANALYSIS) is None


def test_errors_are_held_to_what_was_good_enough_to_promote() -> None:
    trial = watched(guard(ERRORS), [alone(1, 3)])
    assert "limit 1%" in trial.analysis[0]["message"]
    assert trial.analysis[0]["limit"] == pytest.approx(20 / WATCH_SHARE)


def test_a_revision_that_turns_bad_after_its_promotion_fails_within_few_ticks() -> None:
    healthy = [alone(at, 3) for at in range(300)]
    trial = watched(guard(ERRORS), healthy)
    assert trial.verdict != "Fail"
    for late in range(1, 12):
        trial = watched(guard(ERRORS), [alone(300 + late, 20)], json.loads(json.dumps(trial.evidence)))
        if trial.verdict == "Fail":
            break
    assert late <= 8
    assert trial.findings is not None
    assert trial.findings[0].rolls_back


def test_a_slow_revision_fails() -> None:
    trial = watched(guard(SLOWER), [alone(at, 0, slow=200) for at in range(10)])
    assert trial.verdict == "Fail"


def test_a_mean_is_held_to_the_old_one() -> None:
    evidence: dict[str, Any] = {}
    for at in range(24):
        reading = Reading(at=float(at), candidate=2.0 + at % 2)
        trial = judge_watch(
            [guard(SALES)],
            evidence,
            revision=NEW,
            ticks=[alone(at, 0)],
            analysis=ANALYSIS,
            readings={"guard/sales": reading},
        )
        assert trial is not None
        evidence = json.loads(json.dumps(trial.evidence))
    assert trial is not None
    assert trial.verdict == "Fail"
    assert "limit at least 5" in trial.analysis[0]["message"]


def test_of_equal_revisions_hardly_any_fails_in_a_watch() -> None:
    failed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        ticks = [alone(at, int(rng.binomial(600, 0.005)), slow=int(rng.binomial(600, 0.04))) for at in range(60)]
        failed += watched(guard(ERRORS, SLOWER), ticks).verdict == "Fail"
    assert failed == 0


def test_a_restart_loses_neither_evidence_nor_what_is_compared_with() -> None:
    ticks = [alone(at, 6) for at in range(6)]
    at_once = watched(guard(ERRORS), ticks)
    evidence: dict[str, Any] = {}
    for tick in ticks:
        trial = judge_watch(
            [guard(ERRORS)], evidence, revision=NEW, ticks=[tick], analysis=[] if evidence else ANALYSIS
        )
        assert trial is not None
        evidence = json.loads(json.dumps(trial.evidence))
    assert trial is not None
    assert trial.analysis == at_once.analysis
    assert evidence == json.loads(json.dumps(at_once.evidence))


def test_the_evidence_of_the_trial_is_no_evidence_of_the_watch() -> None:
    trial = judge_trial([guard(ERRORS)], {}, candidate=NEW, ticks=[alone(1, 300)])
    assert trial is not None
    assert watched(guard(ERRORS), [alone(2, 3)], trial.evidence).analysis[0]["candidate"]["n"] == 600


def test_what_the_old_revision_has_no_value_of_is_not_judged() -> None:
    trial = judge_watch(
        [guard(ERRORS, {**SLOWER, "name": "other"})], {}, revision=NEW, ticks=[alone(1, 1)], analysis=ANALYSIS
    )
    assert trial is not None
    assert [entry["metric"] for entry in trial.analysis] == ["errors"]


def test_limits_of_the_policy_stay_limits() -> None:
    limit = {"name": "few", "source": "ErrorRate", "limit": "50%"}
    trial = judge_watch([guard(limit)], {}, revision=NEW, ticks=[alone(1, 600)], analysis=[])
    assert trial is not None
    assert trial.findings is not None
    assert trial.findings[0].verdict is Verdict.FAIL
    assert not trial.findings[0].needs_stable


def test_trial_and_watch_share_one_budget() -> None:
    assert sum((TRIAL_SHARE, WATCH_SHARE)) == pytest.approx(1.0)


def test_only_what_the_stable_was_seen_to_do_is_a_reference() -> None:
    assert (
        watch_reference(
            [{"policy": "a", "metric": "b"}, {"policy": "a", "metric": "c", "stable": {"n": 0, "value": 0}}]
        )
        == {}
    )
