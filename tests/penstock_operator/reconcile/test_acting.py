"""Deeds of a policy: begun once, told as they go, and survived by a crash between any two writes."""

import json
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.letters import FakeLetterBox, FakeTrainer
from tests.penstock_operator.core.alarms import RETRAINS, START, alarm

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.alarms import Alarm
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.ports import RequestRejected
from penstock_operator.reconcile.acting import Acted, Actor, merged
from penstock_operator.reconcile.execute import report
from penstock_operator.reconcile.policy_case import Case

REF = ObjectRef(kind=Kind.DRIFT_POLICY, namespace="shop", name="guard")
METRIC = {"name": "errors", "source": "ErrorRate", "against": "Stable"}
WEBHOOK = {"url": "http://alertmanager.monitoring.svc:9093/api/v2/alerts"}
CRON_JOB: dict[str, Any] = {
    "metadata": {"name": "train", "namespace": "shop"},
    "spec": {
        "suspend": True,
        "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "train", "image": "train:7"}]}}}},
    },
}


class Desk:
    """One policy, acted on look after look as its reconciler does."""

    def __init__(self, **spec: Any) -> None:
        self.cluster = FakeCluster()
        self.letters = FakeLetterBox()
        self.trainer = FakeTrainer()
        self.trainer.cron_jobs["shop", "train"] = CRON_JOB
        self.now = START
        self.deeds: list[str] = []
        self.alerts: list[str] = []
        self.restart()
        self.change(**spec)

    def change(self, **spec: Any) -> None:
        """Do what ``kubectl apply`` does."""
        wanted = {"target": {"name": "fraud"}, "metrics": [METRIC], **spec}
        metadata = {"name": "guard", "namespace": "shop"}
        policy = {"apiVersion": "penstock.dev/v1alpha1", "kind": "DriftPolicy", "metadata": metadata, "spec": wanted}
        self.cluster.put(policy)

    def restart(self) -> None:
        """Begin with a new process that knows nothing but the cluster."""
        self.actor = Actor(cluster=self.cluster, letters=self.letters, trainer=self.trainer, observer=self)

    def acted(self, namespace: str, policy: str, action: str, *, dry_run: bool) -> None:
        assert (namespace, policy) == ("shop", "guard")
        self.deeds.append(f"{action} (dry run)" if dry_run else action)

    def alerted(self, namespace: str, policy: str, metric: str) -> None:
        assert (namespace, policy) == ("shop", "guard")
        self.alerts.append(metric)

    @property
    def policy(self) -> Manifest:
        live = self.cluster.get(REF)
        assert live is not None
        return live

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.policy.get("status", {})
        return status

    async def look(self, *alarms: Alarm, after: float = 1.0, crash: bool = False) -> Acted:
        """Act and write it down; with ``crash`` the process ends before it is written."""
        self.now += after
        policy = self.policy
        spec = DriftPolicySpec.parse(policy["spec"])
        case = Case(policy=policy, spec=spec, alarms=alarms, now=self.now)
        acted = await self.actor.act(case)
        if crash:
            self.restart()
            return acted
        await report(self.cluster, policy, merged({"conditions": []}, acted), acted.events)
        self.actor.count(case, acted)
        return acted

    def condition(self, type_: str) -> dict[str, Any]:
        found = (one for one in self.status.get("conditions", ()) if one["type"] == type_)
        condition: dict[str, Any] = next(found, {})
        return condition

    def told(self) -> list[dict[str, Any]]:
        """What the webhook would be sent now."""
        letter = self.letters.held.get(REF, {}).get("alerts")
        body: list[dict[str, Any]] = letter.body(now=self.now) if letter else []
        return body


async def test_what_is_begun_is_written_down_first_and_begun_once() -> None:
    desk = Desk(**RETRAINS)
    first = await desk.look(alarm())
    assert desk.trainer.starts == 0
    assert desk.status["trainings"][0]["state"] == "Starting"
    assert first.again_seconds is not None
    assert first.again_seconds < 0.1
    for _ in range(5):
        await desk.look(alarm())
    assert desk.trainer.starts == 1
    assert desk.status["trainings"][0]["state"] == "Started"
    ((_, name),) = desk.trainer.jobs
    assert name == desk.status["trainings"][0]["name"]
    assert desk.deeds == ["Retrain", "Alert"]


@pytest.mark.parametrize("crash", range(4))
async def test_a_crash_at_any_look_leaves_one_job_and_one_event(crash: int) -> None:
    desk = Desk(**RETRAINS)
    for number in range(6):
        await desk.look(alarm(), crash=number == crash)
    assert len(desk.trainer.jobs) == 1
    assert desk.deeds == ["Retrain", "Alert"]
    assert [event.reason for _, event in desk.cluster.events] == ["InputDrift"]


async def test_the_job_is_told_what_it_was_begun_for() -> None:
    desk = Desk(**RETRAINS)
    desk.cluster.put(
        {
            "apiVersion": "penstock.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "fraud", "namespace": "shop"},
            "spec": {"model": {"uri": "s3://models/fraud/3/model.onnx", "profile": {"sha256": "9f2c"}}},
        }
    )
    await desk.look(alarm())
    await desk.look(alarm())
    ((job, told),) = zip(desk.trainer.jobs.values(), desk.trainer.reports.values(), strict=True)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["PENSTOCK_REFERENCE_URI"] == "s3://models/fraud/3/profile.json"
    assert environment["PENSTOCK_REFERENCE_SHA256"] == "9f2c"
    assert json.loads(told["data"]["report.json"])["alarm"]["name"] == "inputs/amount"


async def test_a_cron_job_that_is_not_there_is_told_beforehand_and_waited_for() -> None:
    desk = Desk(**RETRAINS)
    missing = desk.trainer.cron_jobs.pop(("shop", "train"))
    await desk.look()
    assert desk.condition("RetrainReady")["reason"] == "CronJobNotFound"
    for _ in range(3):
        await desk.look(alarm())
    assert desk.trainer.starts == 0
    desk.trainer.cron_jobs["shop", "train"] = missing
    await desk.look(alarm())
    assert desk.condition("RetrainReady")["status"] == "True"
    assert desk.trainer.starts == 1


async def test_a_training_whose_alarm_ends_before_it_could_begin_is_dropped_and_costs_no_cooldown() -> None:
    desk = Desk(**RETRAINS)
    desk.trainer.cron_jobs.clear()
    await desk.look(alarm())
    await desk.look()
    assert desk.status["trainings"][0]["state"] == "Dropped"
    desk.trainer.cron_jobs["shop", "train"] = CRON_JOB
    await desk.look(alarm(window_id="w8"))
    await desk.look(alarm(window_id="w8"))
    assert desk.trainer.starts == 1


async def test_a_refusal_by_the_server_is_told_in_its_words_and_tried_again() -> None:
    desk = Desk(**RETRAINS)
    desk.trainer.refusal = RequestRejected("create jobs: 403 exceeded quota", 403, "Forbidden")
    await desk.look(alarm())
    await desk.look(alarm())
    assert desk.condition("RetrainReady")["reason"] == "RejectedByServer"
    assert "exceeded quota" in desk.condition("RetrainReady")["message"]
    desk.trainer.refusal = None
    await desk.look(alarm())
    assert desk.status["trainings"][0]["state"] == "Started"


async def test_somebody_elses_job_of_that_name_is_left_alone() -> None:
    desk = Desk(**RETRAINS)
    await desk.look(alarm())
    name = desk.status["trainings"][0]["name"]
    theirs = {"metadata": {"name": name, "namespace": "shop", "ownerReferences": []}}
    desk.trainer.jobs["shop", name] = theirs
    await desk.look(alarm())
    assert desk.condition("RetrainReady")["reason"] == "NotOwned"
    assert desk.trainer.jobs["shop", name] is theirs


async def test_how_a_job_ends_is_shown() -> None:
    desk = Desk(**RETRAINS)
    await desk.look(alarm())
    await desk.look(alarm())
    ((key, job),) = desk.trainer.jobs.items()
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}
    desk.trainer.jobs[key] = {**job, "status": {"conditions": [failed]}}
    await desk.look(alarm())
    assert desk.status["trainings"][0]["state"] == "Failed"
    assert desk.status["trainings"][0]["message"] == "BackoffLimitExceeded: too often"


async def test_somebody_who_trains_elsewhere_is_asked_until_it_is_taken() -> None:
    desk = Desk(**{**RETRAINS, "retrain": {"webhook": {"url": "https://ci.example.com/train", "secretName": "ci"}}})
    desk.letters.trouble = "ci.example.com answered 500"
    for _ in range(3):
        await desk.look(alarm())
    training = desk.status["trainings"][0]
    assert training["state"] == "Starting"
    assert "ci.example.com answered 500" in training["message"]
    letter = desk.letters.held[REF][training["name"]]
    assert (letter.id, letter.secret_name, letter.namespace) == (training["name"], "ci", "shop")
    assert letter.document["alarm"]["name"] == "inputs/amount"
    desk.letters.trouble = None
    await desk.look(alarm())
    await desk.look(alarm())
    assert desk.status["trainings"][0]["state"] == "Started"
    assert desk.letters.held[REF] == {}


async def test_an_alert_is_told_while_it_lasts_and_as_ended_when_it_ends() -> None:
    desk = Desk(alert={"webhook": WEBHOOK})
    await desk.look()
    assert desk.told() == []
    assert desk.condition("AlertsDelivered")["status"] == "True"
    await desk.look(alarm())
    (lasting,) = desk.told()
    assert lasting["endsAt"] == "2027-01-15T08:15:02.000Z"
    await desk.look(after=100)
    (ended,) = desk.told()
    assert ended["endsAt"] == "2027-01-15T08:01:42.000Z"
    await desk.look(after=1000)
    assert desk.told() == []


async def test_a_webhook_that_answers_500_is_a_condition_and_holds_up_nothing() -> None:
    desk = Desk(**RETRAINS, alert={"webhook": WEBHOOK})
    desk.letters.trouble = "alertmanager.monitoring.svc:9093 answered 500"
    await desk.look(alarm())
    await desk.look(alarm())
    assert desk.condition("AlertsDelivered")["reason"] == "DeliveryFailed"
    assert "answered 500" in desk.condition("AlertsDelivered")["message"]
    assert desk.trainer.starts == 1
    assert "InputDrift" in [event.reason for _, event in desk.cluster.events]
    desk.letters.trouble = None
    await desk.look(alarm())
    assert desk.condition("AlertsDelivered")["status"] == "True"


async def test_after_a_restart_the_webhooks_condition_stands_until_it_is_tried() -> None:
    desk = Desk(alert={"webhook": WEBHOOK})
    await desk.look(alarm())
    before = desk.condition("AlertsDelivered")
    desk.restart()
    desk.letters.away = True
    await desk.look(alarm())
    assert desk.condition("AlertsDelivered") == before


async def test_a_dry_run_tells_what_would_follow_and_does_nothing() -> None:
    desk = Desk(**RETRAINS, alert={"webhook": WEBHOOK}, dryRun=True)
    for _ in range(3):
        await desk.look(alarm())
    assert desk.trainer.starts == 0
    assert desk.told() == []
    assert desk.alerts == []
    assert desk.deeds == ["Retrain (dry run)", "Alert (dry run)"]
    assert desk.status["lastAction"]["dryRun"] is True


async def test_an_acknowledged_alarm_is_told_as_ended_and_stays_to_be_seen() -> None:
    desk = Desk(alert={"webhook": WEBHOOK})
    await desk.look(alarm())
    command = json.dumps({"verb": "ack", "id": "1", "by": "ada"})
    desk.cluster.edit(REF, lambda live: live["metadata"].update(annotations={"penstock.dev/command": command}))
    await desk.look(alarm(), after=59)
    assert desk.status["lastCommand"]["outcome"] == "acknowledged inputs/amount"
    assert desk.status["alarms"][0]["acknowledgedBy"] == "ada"
    assert desk.told()[0]["endsAt"] == "2027-01-15T08:01:00.000Z"
    assert [event.reason for _, event in desk.cluster.events] == ["InputDrift", "CommandReceived"]


async def test_every_deed_is_a_line_of_the_audit_log_once(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(**RETRAINS)
    with caplog.at_level("INFO", logger="penstock.audit"):
        for _ in range(3):
            await desk.look(alarm())
    told = [
        {key: getattr(line, key) for key in ("verb", "by", "namespace", "id", "outcome")} for line in caplog.records
    ]
    common = {"by": "policy/guard", "namespace": "shop", "id": "fraud-1-w7", "outcome": "PSI 0.31 over 18234 rows"}
    assert told == [{"verb": "retrain", **common}, {"verb": "alert", **common}]


async def test_a_look_at_an_unchanged_world_changes_nothing() -> None:
    desk = Desk(**RETRAINS, alert={"webhook": WEBHOOK})
    for _ in range(4):
        await desk.look(alarm())
    before = desk.policy["metadata"]["resourceVersion"]
    await desk.look(alarm())
    desk.restart()
    await desk.look(alarm())
    assert desk.policy["metadata"]["resourceVersion"] == before


async def test_of_a_policy_that_is_gone_nothing_is_sent() -> None:
    desk = Desk(alert={"webhook": WEBHOOK})
    await desk.look(alarm())
    desk.actor.forget(REF)
    assert desk.told() == []
