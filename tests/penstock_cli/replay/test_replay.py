"""Replay: the documented form in and out, and every input that it cannot use."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from penstock_cli.__main__ import app

Run = Callable[..., Result]
Line = dict[str, Any]

LE = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25]
POLICY = """
apiVersion: penstock.dev/v1alpha1
kind: DriftPolicy
metadata: {name: fraud-guard}
spec:
  target: {kind: TrafficSplit, name: fraud}
  falseAlarms: {perRollout: 0.05}
  metrics:
  - {name: errors, source: ErrorRate, against: Stable, tolerateRatio: 1.2, critical: true}
  - {name: slo, source: LatencyQuantile, quantile: 0.99, limit: 50ms}
  - {name: slower, source: LatencyQuantile, quantile: 0.95, against: Stable, tolerateRatio: 1.2}
"""
ERRORS_ONLY = """
kind: DriftPolicy
metadata: {name: guard}
spec: {metrics: [{name: errors, source: ErrorRate, against: Stable, tolerateRatio: 1.0}]}
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Replay ticks, one list for each file, under a policy; as JSON unless ``arguments`` say otherwise."""

    def call(policy: str, *files: Sequence[Line | str], arguments: Sequence[str] = ("-o", "json")) -> Result:
        (tmp_path / "policy.yaml").write_text(policy)
        paths = [tmp_path / f"{number}.jsonl" for number in range(len(files))]
        for path, lines in zip(paths, files, strict=True):
            path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        options = ["--policy", str(tmp_path / "policy.yaml"), "--ticks", *map(str, paths), *arguments]
        return CliRunner().invoke(app, ["replay", *options])

    return call


def arm(requests: int, errors: int, counts: Sequence[int] | None = None) -> Line:
    shares = (0.2, 0.4, 0.3, 0.098, 0.002)
    known = [round(requests * share) for share in shares] if counts is None else list(counts)
    return {
        "requests": requests,
        "errors": errors,
        "latencySeconds": {"le": LE, "counts": [*known, *[0] * (len(LE) + 1 - len(known))]},
    }


def tick(t: float, *, stable: Line | None = None, candidate: Line | None = None) -> Line:
    return {"t": t, "arms": {"stable": stable or arm(5400, 27), "candidate": candidate or arm(600, 3)}}


def replays(result: Result) -> list[Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_equal_arms_are_promoted_at_the_first_tick_at_which_every_metric_passes(run: Run) -> None:
    (one,) = replays(run(POLICY, [tick(60 * t) for t in range(1, 61)]))
    assert one["outcome"] == "Promoted"
    last = one["ticks"][-1]
    assert one["decidedAt"] == last["t"]
    assert last["action"] == "Advance"
    assert {verdict["verdict"] for verdict in last["verdicts"]} == {"Pass"}
    for earlier in one["ticks"][:-1]:
        assert {verdict["verdict"] for verdict in earlier["verdicts"]} != {"Pass"}


def test_a_candidate_with_four_times_the_errors_is_rolled_back_on_evidence(run: Run) -> None:
    (one,) = replays(run(POLICY, [tick(60 * t, candidate=arm(600, 12)) for t in range(1, 61)]))
    assert (one["outcome"], one["decidedAt"], one["ticks"][-1]["action"]) == ("RolledBack", 60, "Rollback")
    errors = one["ticks"][-1]["verdicts"][0]
    assert (errors["policy"], errors["metric"], errors["verdict"]) == ("fraud-guard", "errors", "Fail")
    assert errors["evidence"] >= errors["limit"] == 40
    assert errors["candidate"] == {"n": 600, "value": 0.02}
    assert errors["stable"] == {"n": 5400, "value": 0.005}


def test_every_tick_has_one_verdict_for_each_metric(run: Run) -> None:
    lines: list[Line | str] = [tick(60), {"t": 120, "arms": {}}, {"t": 300, "arms": {"stable": arm(10, 0)}}]
    (one,) = replays(run(POLICY, lines))
    assert [[verdict["metric"] for verdict in each["verdicts"]] for each in one["ticks"]] == [
        ["errors", "slo", "slower"]
    ] * 3


@pytest.mark.parametrize(
    "arms",
    [{}, None, {"stable": arm(5400, 27)}, {"stable": arm(5400, 27), "candidate": arm(0, 0)}],
    ids=["no arms", "null", "no candidate", "no requests"],
)
def test_a_tick_without_data_holds_whatever_the_evidence_says(run: Run, arms: Line | None) -> None:
    before = [tick(60 * t) for t in range(1, 4)]
    (one,) = replays(run(POLICY, [*before, {"t": 240, "arms": arms}]))
    assert one["outcome"] == "Undecided"
    assert one["decidedAt"] is None
    assert one["ticks"][-1]["action"] == "Hold"
    assert {verdict["verdict"] for verdict in one["ticks"][-1]["verdicts"]} == {"NoData"}


def test_a_metric_against_a_limit_needs_no_stable(run: Run) -> None:
    slow = arm(600, 0, [0, 0, 0, 0, 600])
    (one,) = replays(run(POLICY, [{"t": 60, "arms": {"candidate": slow}}]))
    assert one["outcome"] == "RolledBack"
    verdicts = {verdict["metric"]: verdict["verdict"] for verdict in one["ticks"][0]["verdicts"]}
    assert verdicts == {"errors": "NoData", "slo": "Fail", "slower": "NoData"}


@pytest.mark.parametrize("errors", [(0, 0), (1, 9)], ids=["no errors at all", "one in 10,000 in both"])
def test_where_errors_are_rare_a_candidate_passes(run: Run, errors: tuple[int, int]) -> None:
    candidate, stable = arm(10_000, errors[0]), arm(90_000, errors[1])
    (one,) = replays(run(ERRORS_ONLY, [tick(60 * t, stable=stable, candidate=candidate) for t in range(1, 61)]))
    assert one["outcome"] == "Promoted"


def test_the_same_tick_twice_counts_once(run: Run) -> None:
    (one,) = replays(run(ERRORS_ONLY, [tick(60, candidate=arm(600, 4)), tick(60, candidate=arm(600, 9))]))
    assert one["ticks"][1]["verdicts"][0]["verdict"] == "NoData"
    assert one["ticks"][1]["verdicts"][0]["candidate"]["n"] == 600


@pytest.mark.parametrize(
    "candidate",
    [
        arm(10, 11),
        {"requests": -1, "errors": 0},
        {"requests": 1.5, "errors": 0},
        {"requests": True, "errors": 0},
        {"requests": 10, "errors": 0, "latencySeconds": {"le": LE, "counts": [1]}},
        {"requests": 10, "errors": 0, "latencySeconds": {"le": [], "counts": []}},
        {"requests": 10, "errors": 0, "latencySeconds": []},
        "ten",
    ],
    ids=str,
)
def test_counts_that_no_requests_can_give_are_an_error_of_their_tick_alone(run: Run, candidate: Any) -> None:
    lie: Line = {"t": 120, "arms": {"stable": arm(5400, 27), "candidate": candidate}}
    (one,) = replays(run(POLICY, [tick(60), lie, *(tick(60 * t) for t in range(3, 61))]))
    assert {verdict["verdict"] for verdict in one["ticks"][1]["verdicts"]} == {"Error"}
    assert all("candidate" in verdict["message"] for verdict in one["ticks"][1]["verdicts"])
    assert one["ticks"][1]["action"] == "Hold"
    assert one["outcome"] == "Promoted"


def test_what_is_said_of_a_tick_depends_on_no_later_one(run: Run) -> None:
    rng = np.random.default_rng(7)
    lines = [
        tick(60.0 * t, stable=arm(540, int(rng.binomial(540, 0.01))), candidate=arm(60, int(rng.binomial(60, 0.01))))
        for t in range(1, 31)
    ]
    (whole,) = replays(run(POLICY, lines))
    (part,) = replays(run(POLICY, lines[:10]))
    assert whole["ticks"][:10] == part["ticks"]


def test_files_with_other_buckets_are_judged_each_by_its_own(run: Run) -> None:
    fine = {"le": [0.05], "counts": [600, 0]}
    lines = [
        {
            "t": 60 * t,
            "arms": {
                "stable": {"requests": 600, "errors": 0, "latencySeconds": fine},
                "candidate": {"requests": 600, "errors": 0, "latencySeconds": fine},
            },
        }
        for t in range(1, 30)
    ]
    first, second = replays(run(POLICY, [tick(60 * t) for t in range(1, 61)], lines))
    assert (first["outcome"], second["outcome"]) == ("Promoted", "Promoted")


def test_the_policies_of_a_file_share_one_budget(run: Run) -> None:
    other = ERRORS_ONLY.replace("guard", "other")
    (one,) = replays(run(f"{ERRORS_ONLY}\n---\n{other}", [tick(60)]))
    assert [(verdict["policy"], verdict["limit"]) for verdict in one["ticks"][0]["verdicts"]] == [
        ("guard", 40),
        ("other", 40),
    ]


def test_a_single_metric_with_a_budget_of_5_percent_fails_at_20(run: Run) -> None:
    (one,) = replays(run(ERRORS_ONLY, [tick(60)]))
    assert one["ticks"][0]["verdicts"][0]["limit"] == 20


def test_fields_that_the_judge_does_not_need_are_left_aside(run: Run) -> None:
    policy = POLICY + "  drift: {reference: Profile}\n  actions: [{on: [DataQuality], do: [Alert]}]\n"
    assert run(policy, [tick(60)]).exit_code == 0


def test_an_empty_file_is_undecided(run: Run) -> None:
    (one,) = replays(run(POLICY, []))
    assert (one["ticks"], one["outcome"], one["decidedAt"]) == ([], "Undecided", None)


def test_the_table_says_what_decided(run: Run) -> None:
    result = run(POLICY, [tick(60 * t, candidate=arm(600, 12)) for t in range(1, 61)], [tick(60)], [], arguments=())
    assert result.exit_code == 0
    assert "RolledBack" in result.stdout
    assert "fraud-guard/errors: Fail: 2% of 600 against 0.5% of 5400 (evidence" in result.stdout
    assert "1 RolledBack, 2 Undecided" in result.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "0.jsonl:2: not JSON"),
        ("[" * 100_000, "0.jsonl:2: not JSON"),
        ("[]", "0.jsonl:2: a tick is an object with t and arms, not list"),
        ('{"arms": {}}', "0.jsonl:2: t must be a number of seconds, such as 60; got null"),
        ('{"t": NaN}', "0.jsonl:2: t must be a number"),
        ('{"t": 1, "arms": []}', "0.jsonl:2: arms must be an object"),
    ],
    ids=lambda text: text[:20],
)
def test_a_line_that_is_no_tick_is_named(run: Run, line: str, said: str) -> None:
    result = run(POLICY, [tick(60), line])
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("{", "is not YAML"),
        ("kind: Secret", "holds no DriftPolicy; give the manifest that you would apply"),
        ("kind: DriftPolicy\nmetadata: {name: guard}", "DriftPolicy guard: spec is missing"),
        ("kind: DriftPolicy\nspec: {}", "DriftPolicy policy: spec.metrics must list at least one metric"),
        ("spec: {metrics: [3]}", "spec.metrics[0] must be an object"),
        ("spec: {metrics: [{name: a, source: Magic, against: Stable}]}", "spec.metrics[0].source: Input should be"),
        ("spec: {metrics: [{name: a, source: ErrorRate}]}", "spec.metrics[0]: give either against: Stable or a limit"),
        ("spec: {metrics: [{name: a, source: LatencyQuantile, against: Stable}]}", "needs quantile, such as 0.99"),
        ("spec: {metrics: [{name: a, source: ErrorRate, limit: many}]}", "spec.metrics[0]: "),
        (
            "spec: {falseAlarms: {perRollout: 2}, metrics: [{name: a, source: ErrorRate, against: Stable}]}",
            "falseAlarms.perRollout must be above 0 and below 1, got 2",
        ),
        (
            "spec: {metrics: [{name: a, source: ErrorRate, against: Stable}, {name: a, source: ErrorRate, limit: 1%}]}",
            "metric names must be unique",
        ),
        (f"{ERRORS_ONLY}\n---\n{ERRORS_ONLY}", "two policies with one name: guard, guard"),
    ],
)
def test_a_policy_that_cannot_judge_is_refused_with_the_field(run: Run, policy: str, said: str) -> None:
    result = run(policy, [tick(60)])
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stdout == ""


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    arguments = ["replay", "--policy", str(tmp_path / "none.yaml"), "--ticks", str(tmp_path / "none.jsonl")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "none.yaml: No such file or directory" in result.stderr


SALES = """
kind: DriftPolicy
metadata: {name: guard}
spec:
  metrics:
  - name: sales
    source: Prometheus
    query: sum(sales{revision="{{revision}}"})
    against: Stable
    direction: HigherIsBetter
"""


def with_values(t: int, stable: float, candidate: float) -> Line:
    arms = {"stable": {"values": {"sales": stable}}, "candidate": {"values": {"sales": candidate}}}
    return {"t": t, "arms": arms}


def test_values_of_other_sources_are_judged_as_means(run: Run) -> None:
    falling = [with_values(t, 10 + t % 3, 4 + t % 2) for t in range(1, 40)]
    (found,) = json.loads(run(SALES, falling).stdout)
    assert found["outcome"] == "RolledBack"
    assert found["ticks"][-1]["verdicts"][0]["stable"]["n"] == found["decidedAt"]


def test_a_tick_without_values_has_no_data_whatever_came_before(run: Run) -> None:
    lines = [with_values(t, 10 + t % 3, 4 + t % 2) for t in range(1, 4)]
    (found,) = json.loads(run(SALES, [*lines, {"t": 4, "arms": {}}, with_values(5, 10, 4)]).stdout)
    silent = found["ticks"][3]
    assert (silent["verdicts"][0]["verdict"], silent["action"]) == ("NoData", "Hold")


def test_values_that_are_no_numbers_are_an_error_of_their_tick(run: Run) -> None:
    broken = {"t": 1, "arms": {"candidate": {"values": {"sales": "many"}}}}
    (found,) = json.loads(run(SALES, [broken]).stdout)
    assert found["ticks"][0]["verdicts"][0]["verdict"] == "Error"


def test_a_metric_with_dry_run_is_told_and_decides_nothing(run: Run) -> None:
    dry = POLICY.replace("critical: true", "dryRun: true")
    bad = [{"t": t, "arms": {"stable": arm(5400, 27), "candidate": arm(600, 300)}} for t in range(1, 4)]
    (found,) = json.loads(run(dry, bad).stdout)
    verdicts = {one["metric"]: one["verdict"] for one in found["ticks"][-1]["verdicts"]}
    assert verdicts["errors"] == "Fail"
    assert found["outcome"] != "RolledBack"
