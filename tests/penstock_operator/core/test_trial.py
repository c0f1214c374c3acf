"""The trial of a candidate: policies that cannot judge, evidence that stays or goes, and what is told."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.core.judge.counts import Reading, Shadowed, Tick
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    MeanAgainstStable,
)
from penstock_operator.core.measurement import RevisionCounts
from penstock_operator.core.metric_terms import filled, metric_of
from penstock_operator.core.objects import Manifest
from penstock_operator.core.policy_view import policy_views
from penstock_operator.core.routes import LatencyCounts
from penstock_operator.core.trial import (
    SEVERITY,
    PolicyView,
    Trial,
    judge_trial,
    tick_of,
    unjudged_trial,
)

A, B = "fraud-aaaaaaaa", "fraud-bbbbbbbb"
ERRORS: dict[str, Any] = {"name": "errors", "source": "ErrorRate", "against": "Stable"}
LIMIT: dict[str, Any] = {"name": "few", "source": "ErrorRate", "limit": "50%"}


def spec(*metrics: dict[str, Any], **changes: Any) -> DriftPolicySpec:
    return DriftPolicySpec.parse({"target": {"name": "fraud"}, "metrics": list(metrics or [ERRORS]), **changes})


def guard(*metrics: dict[str, Any], **changes: Any) -> PolicyView:
    return PolicyView(name="guard", spec=spec(*metrics, **changes))


def counts(requests: int, errors: int) -> RevisionCounts:
    latency = LatencyCounts(le=(0.01, 0.1), counts=(requests - errors, errors, 0))
    return RevisionCounts(requests=requests, errors=errors, latency=latency, healthy_hosts=1)


def ticks(number: int, *, errors: int = 0, start: int = 0, stable: int = 100) -> list[Tick]:
    return [
        tick_of(float(start + at), {A: counts(stable, 0), B: counts(100, errors)}, stable=A, candidate=B)
        for at in range(1, number + 1)
    ]


def judged(policies: Sequence[PolicyView], evidence: dict[str, Any], made: list[Tick], **changes: Any) -> Trial:
    trial = judge_trial(policies, evidence, candidate=B, ticks=made, **changes)
    assert trial is not None
    return trial


def test_without_a_new_tick_there_is_nothing_new() -> None:
    assert judge_trial([guard()], {}, candidate=B, ticks=[]) is None


def test_many_ticks_at_once_say_the_same_as_one_by_one_with_restarts_between() -> None:
    at_once = judged([guard()], {}, ticks(6, errors=1))
    evidence: dict[str, Any] = {}
    for tick in ticks(6, errors=1):
        step = judged([guard()], json.loads(json.dumps(evidence)), [tick])
        evidence = step.evidence

    assert evidence == at_once.evidence
    assert step.analysis == at_once.analysis


def test_the_same_tick_again_adds_nothing() -> None:
    once = judged([guard()], {}, ticks(3))
    again = judged([guard()], once.evidence, ticks(3))

    assert again.evidence == once.evidence


def test_a_breach_is_told_on_the_tick_that_decides_though_more_are_waiting() -> None:
    trial = judged([guard()], {}, ticks(3) + ticks(5, errors=60, start=3) + ticks(1000, start=8))

    assert trial.verdict == "Fail"
    assert trial.findings is not None
    assert trial.findings[0].verdict is Verdict.FAIL
    assert trial.analysis[0]["candidate"]["n"] < 900


def test_evidence_about_another_revision_is_left_behind() -> None:
    other = {**judged([guard()], {}, ticks(3, errors=60)).evidence, "revision": "fraud-cccccccc"}
    fresh = judged([guard()], other, ticks(1))

    assert fresh.analysis[0]["candidate"]["n"] == 100
    assert fresh.evidence["revision"] == B


def test_evidence_about_a_metric_that_was_defined_anew_is_left_behind() -> None:
    before = judged([guard()], {}, ticks(3)).evidence
    after = judged([guard({**ERRORS, "tolerateRatio": 1.5})], before, ticks(1, start=3))

    assert after.analysis[0]["candidate"]["n"] == 100


@pytest.mark.parametrize("damaged", [{}, {"schema": 99}, "text", None, {"schema": 1}], ids=str)
def test_damaged_evidence_begins_afresh(damaged: object) -> None:
    trial = judged([guard()], {"revision": B, "metrics": {"guard/errors": damaged}}, ticks(1))

    assert trial.analysis[0]["candidate"]["n"] == 100


@pytest.mark.parametrize(("do", "rolls_back"), [(["Rollback", "Alert"], True), (["Alert"], False)])
def test_only_a_policy_that_says_so_rolls_back(do: list[str], *, rolls_back: bool) -> None:
    trial = judged([guard(actions=[{"signals": ["Metrics"], "do": do}])], {}, ticks(1))

    assert trial.findings is not None
    assert trial.findings[0].rolls_back is rolls_back


def test_each_metric_of_each_policy_is_found_and_told() -> None:
    other = PolicyView(name="other", spec=spec(LIMIT))
    trial = judged([guard(ERRORS, LIMIT), other], {}, ticks(1))

    assert [finding.source for finding in trial.findings or ()] == ["guard/errors", "guard/few", "other/few"]
    assert [finding.needs_stable for finding in trial.findings or ()] == [True, False, False]
    assert [(entry["policy"], entry["metric"]) for entry in trial.analysis] == [
        ("guard", "errors"),
        ("guard", "few"),
        ("other", "few"),
    ]
    assert set(trial.evidence["metrics"]) == {"guard/errors", "guard/few", "other/few"}


def test_the_policies_of_a_split_share_one_budget() -> None:
    broken = PolicyView(name="broken", spec=None, problem="it is not there")
    other = PolicyView(name="other", spec=spec())
    assert [entry["limit"] for entry in judged([guard(), broken], {}, ticks(1)).analysis] == [20.0]
    assert [entry["limit"] for entry in judged([guard(), other], {}, ticks(1)).analysis] == [40.0, 40.0]


SALES: dict[str, Any] = {
    "name": "sales",
    "source": "Prometheus",
    "query": 'sum(sales{revision="{{revision}}"})',
    "against": "Stable",
    "tolerateRatio": 0.95,
    "direction": "HigherIsBetter",
}


def test_readings_of_other_sources_are_judged_beside_the_counts() -> None:
    evidence: dict[str, Any] = {}
    for at in range(1, 13):
        reading = Reading(at=float(at), stable=10.0 + at % 2, candidate=3.0 + at % 3)
        trial = judged([guard(ERRORS, SALES)], evidence, ticks(1, start=at), readings={"guard/sales": reading})
        evidence = json.loads(json.dumps(trial.evidence))

    verdicts = {entry["metric"]: entry["verdict"] for entry in trial.analysis}
    assert verdicts["sales"] == "Fail"
    assert verdicts["errors"] != "Fail"


def test_a_reading_of_another_policy_is_not_mistaken() -> None:
    reading = Reading(at=1.0, problem="Prometheus is down")
    trial = judged([guard(SALES)], {}, ticks(1), readings={"other/sales": reading})
    assert trial.verdict == "NoData"
    assert judged([guard(SALES)], {}, ticks(1), readings={"guard/sales": reading}).verdict == "Error"


SHADOW: list[dict[str, Any]] = [
    {"name": "answers", "source": "OutputDisagreement", "limit": "1%"},
    {"name": "scores", "source": "ScoreDifference", "limit": "0.02"},
    {"name": "delay", "source": "LatencyDifference", "limit": "5ms"},
]


def shadow_ticks(number: int, *, wrong: int, score: float, seconds: float, every: int = 5) -> list[Tick]:
    found = []
    for at in range(number):
        shadowed = Shadowed(
            n=200,
            disagreements=wrong,
            score_difference=score * (1 + at % 3 / 10),
            latency_difference=seconds * (1 + at % 3 / 10),
        )
        compared = shadowed if at % every == 0 else None
        found.append(tick_of(float(at), {}, stable=A, candidate=B, shadowed=compared))
    return found


def test_a_shadow_that_answers_otherwise_or_later_fails() -> None:
    trial = judged([guard(*SHADOW)], {}, shadow_ticks(100, wrong=20, score=0.1, seconds=0.02))
    assert "Fail" in {entry["verdict"] for entry in trial.analysis}
    for metric in SHADOW:
        alone = judged([guard(metric)], {}, shadow_ticks(100, wrong=20, score=0.1, seconds=0.02))
        assert alone.verdict == "Fail", metric["name"]


def test_a_shadow_that_answers_the_same_passes_and_the_verdict_stands_between_comparisons() -> None:
    trial = judged([guard(*SHADOW)], {}, shadow_ticks(99, wrong=0, score=0.001, seconds=-0.001))
    assert {entry["metric"]: entry["verdict"] for entry in trial.analysis} == dict.fromkeys(
        ("answers", "scores", "delay"), "Pass"
    )
    assert "limit at most 5 ms" in trial.analysis[2]["message"]


def test_a_shadow_that_is_compared_no_more_has_no_data() -> None:
    before = judged([guard(*SHADOW)], {}, shadow_ticks(99, wrong=0, score=0.001, seconds=0.0))
    late = [tick_of(500.0, {}, stable=A, candidate=B)]
    assert judged([guard(*SHADOW)], before.evidence, late).verdict == "NoData"


def test_shares_are_told_with_their_bounds_and_times_without() -> None:
    slower = {"name": "slower", "source": "LatencyQuantile", "quantile": 0.5, "against": "Stable"}
    errors, latency = judged([guard(ERRORS, slower)], {}, ticks(3, errors=6)).analysis
    assert errors["candidate"] == {"n": 200, "value": 0.06, "low": 0.0187699, "high": 0.134795}
    assert set(latency["candidate"]) == {"n", "value"}


@pytest.mark.parametrize("whole_policy", [True, False], ids=["policy", "metric"])
def test_a_dry_run_is_told_and_does_nothing(*, whole_policy: bool) -> None:
    broken = ticks(20, errors=60)
    dry = guard(ERRORS, dryRun=True) if whole_policy else guard({**ERRORS, "dryRun": True})
    trial = judged([dry], {}, broken)

    assert trial.findings == ()
    assert trial.verdict is None
    assert [(entry["verdict"], entry["dryRun"]) for entry in trial.analysis] == [("Fail", True)]


def test_a_dry_run_costs_the_others_none_of_the_budget() -> None:
    one = judged([guard(ERRORS, {**LIMIT, "dryRun": True})], {}, ticks(1))
    assert {entry["metric"]: entry["limit"] for entry in one.analysis} == {"errors": 20.0, "few": 40.0}
    two = judged([guard(), PolicyView(name="other", spec=spec(dryRun=True))], {}, ticks(1))
    assert {entry["policy"]: entry["limit"] for entry in two.analysis} == {"guard": 20.0, "other": 40.0}
    alone = judged([guard(ERRORS, LIMIT, dryRun=True)], {}, ticks(1))
    assert {entry["metric"]: entry["limit"] for entry in alone.analysis} == {"errors": 40.0, "few": 40.0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"query": None}, "needs query"),
        ({"query": "up{{{pod}}}"}, "not known"),
        ({"query": 'up{revision="{{revision}}"'}, "query: a selector's braces are not closed"),
        ({"against": None, "limit": "50ms"}, "limit must be a number"),
        ({"source": "OutputDisagreement", "query": None}, "compares with a limit"),
        ({"source": "Web", "query": None}, "needs web"),
        ({"source": "Web", "web": {"url": "https://a/{{rev}}", "pointer": ""}}, "web.url: {{rev}} is not known"),
    ],
)
def test_a_question_that_cannot_be_asked_says_so(change: dict[str, Any], words: str) -> None:
    (metric,) = spec({**SALES, **change}).metrics
    with pytest.raises(ValueError, match="metric sales: ") as refused:
        metric_of(metric)
    assert words in str(refused.value)


def test_names_are_filled_in() -> None:
    template = "{{revision}} {{ namespace }} {{split}} {revision}"
    assert filled(template, revision="a", namespace="b", split="c") == "a b c {revision}"


@pytest.mark.parametrize(
    ("query", "interval", "batch"),
    [
        ('sales{revision="{{revision}}"}', "30s", 2),
        ('rate(sales{revision="{{revision}}"}[5m])', "30s", 10),
        ('rate(sales{revision="{{revision}}"}[5m])', "5m", 2),
        ('rate(sales{revision="{{revision}}"}[70s])', "30s", 3),
    ],
)
def test_answers_that_overlap_become_one_value(query: str, interval: str, batch: int) -> None:
    (metric,) = spec({**SALES, "query": query, "interval": interval}).metrics
    terms = metric_of(metric)
    assert isinstance(terms, MeanAgainstStable)
    assert terms.batch == batch


@pytest.mark.parametrize(("ratio", "meant"), [(0.8, 0.8), (1.25, 0.8), (1.0, 1.0)])
def test_with_higher_is_better_a_ratio_above_1_is_turned_over(ratio: float, meant: float) -> None:
    (metric,) = spec({**SALES, "tolerateRatio": ratio, "acceptRatio": 2}).metrics
    terms = metric_of(metric)
    assert isinstance(terms, MeanAgainstStable)
    assert terms.tolerate_ratio == pytest.approx(meant)
    assert terms.accept_ratio == 0.5


def test_candidates_that_are_judged_at_once_share_one_budget() -> None:
    assert [entry["limit"] for entry in judged([guard()], {}, ticks(1), budget_share=1 / 4).analysis] == [80.0]


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_of_the_budget_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="budget_share"):
        judged([guard()], {}, ticks(1), budget_share=share)


def test_a_policy_that_cannot_judge_is_an_error_that_does_not_roll_back() -> None:
    missing = PolicyView(name="gone", spec=None, problem="there is no DriftPolicy gone")
    trial = judged([missing, guard()], {}, ticks(1))

    assert trial.verdict == "Error"
    assert trial.findings is not None
    assert (trial.findings[0].verdict, trial.findings[0].rolls_back) == (Verdict.ERROR, False)
    assert unjudged_trial([missing, guard()]) == trial.findings[:1]
    assert unjudged_trial([guard()]) is None


def test_where_the_candidate_has_all_traffic_comparisons_stand_as_they_were() -> None:
    before = judged([guard(ERRORS, LIMIT)], {}, ticks(30))
    alone = judged([guard(ERRORS, LIMIT)], before.evidence, ticks(1, start=30, stable=0), alone_after=before.analysis)

    assert alone.analysis[0] == before.analysis[0]
    assert alone.analysis[1]["candidate"]["n"] == 3100
    assert alone.evidence["metrics"]["guard/errors"] == before.evidence["metrics"]["guard/errors"]
    assert alone.verdict == before.verdict != "NoData"


def test_the_worst_verdict_is_the_verdict() -> None:
    assert SEVERITY[0] is Verdict.FAIL
    assert set(SEVERITY) == set(Verdict)
    assert Trial(findings=None, analysis=(), evidence={}).verdict is None


def test_an_arm_that_no_router_told_of_is_absent() -> None:
    tick = tick_of(1.0, {A: counts(10, 1)}, stable=A, candidate=B)

    assert tick.candidate is None
    assert tick.stable is not None
    assert (tick.stable.requests, tick.stable.errors) == (10, 1)
    assert tick.stable.latency is not None


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (ERRORS, ErrorRateAgainstStable(name="errors")),
        ({**LIMIT, "limit": "2.5%", "critical": True}, ErrorRateAgainstLimit(name="few", limit=0.025, critical=True)),
        (
            {"name": "slo", "source": "LatencyQuantile", "quantile": 0.99, "limit": "50ms"},
            LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0.05),
        ),
        (
            {"name": "slow", "source": "LatencyQuantile", "quantile": 0.95, "against": "Stable", "tolerateRatio": 1.3},
            LatencyAgainstStable(name="slow", quantile=0.95, tolerate_ratio=1.3),
        ),
    ],
    ids=["errors against stable", "errors against a limit", "latency against a limit", "latency against stable"],
)
def test_metrics_in_the_judges_terms(wire: dict[str, Any], expected: object) -> None:
    assert metric_of(spec(wire).metrics[0]) == expected


def test_a_latency_without_a_quantile_is_refused_with_the_field() -> None:
    with pytest.raises(ValueError, match="metric slow: a LatencyQuantile needs quantile"):
        metric_of(spec({"name": "slow", "source": "LatencyQuantile", "limit": "5ms"}).metrics[0])


# --- which policies judge ---


def policy(name: str = "guard", **changes: Any) -> Manifest:
    return {"metadata": {"name": name}, "spec": {"target": {"name": "fraud"}, "metrics": [ERRORS], **changes}}


def views(*named: str, policies: Sequence[Manifest]) -> list[PolicyView]:
    wire = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": []}, "policies": list(named)}
    return policy_views(TrafficSplitSpec.parse(wire), "fraud", policies)


def test_policies_judge_in_the_order_in_which_the_split_names_them() -> None:
    found = views("b", "a", policies=[policy("a"), policy("b"), policy("c")])

    assert [view.name for view in found] == ["b", "a"]
    assert all(view.spec is not None for view in found)


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ([], "there is no DriftPolicy guard in this namespace; apply it"),
        ([policy(target={"name": "other"})], "targets other; set its spec.target.name to fraud"),
        ([policy(metrics=[{"name": "x"}])], "DriftPolicy guard is invalid"),
        ([policy(metrics=[{**ERRORS, "acceptRatio": 0.5}])], "DriftPolicy guard cannot judge: errors: accept_ratio"),
    ],
    ids=["missing", "another target", "invalid", "impossible margins"],
)
def test_a_policy_that_cannot_judge_says_what_to_do(policies: list[Manifest], words: str) -> None:
    [view] = views("guard", policies=policies)

    assert view.spec is None
    assert words in view.problem
