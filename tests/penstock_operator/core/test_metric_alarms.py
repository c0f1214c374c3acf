"""What metrics have found in a rollout, as alarms: while it is tried, and after, until that is settled."""

from typing import Any

from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.conditions import unix_seconds
from penstock_operator.core.metric_alarms import metric_alarms

NOW = 1_800_000_000.0
FAILED = {
    "policy": "guard",
    "metric": "errors",
    "verdict": "Fail",
    "evidence": 40.0,
    "limit": 20.0,
    "message": "3% of 90",
}
CANDIDATE = {"name": "candidate", "revision": "fraud-2", "startedAt": "2026-11-21T12:00:00.000Z"}
TAKEN = {
    "revision": "fraud-2",
    "at": "2026-11-21T12:10:00.000Z",
    "by": "guard/errors",
    "reason": "PolicyBreached",
    "message": "3% of 90",
}
ENDED = {"revision": "fraud-2", "outcome": "RolledBack", "startedAt": CANDIDATE["startedAt"]}


def split(**status: Any) -> dict[str, Any]:
    return {"spec": {"stable": {"modelDeployment": "fraud"}}, "status": status}


def test_a_metric_that_fails_is_an_alarm_about_the_candidate() -> None:
    (alarm,) = metric_alarms("guard", split(phase="Progressing", candidates=[CANDIDATE], analysis=[FAILED]), now=NOW)
    assert (alarm.signal, alarm.name, alarm.revision) == (SignalClass.METRICS, "metrics/errors", "fraud-2")
    assert (alarm.model_deployment, alarm.attributable) == ("fraud", True)
    assert alarm.message == "3% of 90"
    assert alarm.evidence == {"evidence": 40.0, "limit": 20.0}


def test_it_is_the_same_alarm_after_the_candidate_was_taken_back() -> None:
    trial = split(phase="Progressing", candidates=[CANDIDATE], analysis=[FAILED])
    after = split(phase="RolledBack", rejected=[TAKEN], history=[ENDED], analysis=[FAILED])
    (during,), (then,) = metric_alarms("guard", trial, now=NOW), metric_alarms("guard", after, now=NOW)
    assert (during.window_id, during.revision) == (then.window_id, then.revision)
    assert then.since == unix_seconds("2026-11-21T12:10:00Z")
    assert len(then.window_id) <= 63


def test_a_second_try_of_the_same_revision_is_another_alarm() -> None:
    first = split(phase="Progressing", candidates=[CANDIDATE], analysis=[FAILED])
    later = {**CANDIDATE, "startedAt": "2026-11-22T12:00:00.000Z"}
    second = split(phase="Progressing", candidates=[later], history=[ENDED], analysis=[FAILED])
    assert metric_alarms("guard", first, now=NOW)[0].window_id != metric_alarms("guard", second, now=NOW)[0].window_id


def test_of_several_candidates_each_is_told_by_its_own_name() -> None:
    other = {"name": "xgb", "revision": "fraud-xgb-1", "startedAt": "x"}
    failed = {**FAILED, "revision": "fraud-xgb-1"}
    racing = split(phase="Progressing", candidates=[CANDIDATE, other], analysis=[failed])
    racing["spec"]["candidates"] = [{"name": "xgb", "modelDeployment": "fraud-xgb"}]
    (alarm,) = metric_alarms("guard", racing, now=NOW)
    assert (alarm.revision, alarm.model_deployment) == ("fraud-xgb-1", "fraud-xgb")


def test_nothing_is_said_of_what_passes_of_other_policies_or_once_it_is_settled() -> None:
    passed, others = {**FAILED, "verdict": "Undecided"}, {**FAILED, "policy": "other"}
    assert metric_alarms("guard", split(candidates=[CANDIDATE], analysis=[passed, others]), now=NOW) == ()
    assert metric_alarms("guard", split(phase="Idle", rejected=[TAKEN], analysis=[FAILED]), now=NOW) == ()
    assert metric_alarms("guard", None, now=NOW) == ()


AT_REST = {**FAILED, "revision": "fraud-1", "since": "2026-11-21T12:30:00.000Z"}


def test_a_limit_that_the_stable_revision_fails_at_rest_is_nobodys_fault() -> None:
    resting = split(phase="Promoted", stableRevision="fraud-1", analysis=[AT_REST])
    (alarm,) = metric_alarms("guard", resting, now=NOW)
    assert (alarm.revision, alarm.attributable) == ("fraud-1", False)
    assert alarm.since == unix_seconds("2026-11-21T12:30:00Z")


def test_each_time_at_rest_is_an_alarm_of_its_own() -> None:
    windows = {
        metric_alarms(
            "guard",
            split(phase="Idle", stableRevision="fraud-1", analysis=[{**AT_REST, "since": since}]),
            now=NOW,
        )[0].window_id
        for since in ("2026-11-21T12:30:00.000Z", "2026-11-22T12:30:00.000Z")
    }
    assert len(windows) == 2


def test_a_metric_that_runs_dry_raises_no_alarm() -> None:
    trial = split(phase="Progressing", candidates=[CANDIDATE], analysis=[{**FAILED, "dryRun": True}])
    assert metric_alarms("guard", trial, now=NOW, idle=["errors"]) == ()
    assert len(metric_alarms("guard", trial, now=NOW)) == 1
