"""What a training is told, and what its Job looks like."""

import json
from typing import Any

from tests.penstock_operator.core.alarms import START, alarm

from penstock_operator.core.action_state import Training, TrainingState
from penstock_operator.core.retraining import (
    REPORT_FILE,
    environment,
    job_of,
    progressed,
    remembered,
    report,
    report_map,
    report_text,
    training_of,
)

POLICY: dict[str, Any] = {
    "apiVersion": "penstock.dev/v1alpha1",
    "kind": "DriftPolicy",
    "metadata": {"name": "guard", "namespace": "shop", "uid": "uid-1"},
    "status": {"signals": [{"name": "inputs/amount", "psi": 0.31}], "windows": {"rows": 18234}},
}
REFERENCE = {"uri": "s3://models/fraud/3/profile.json", "sha256": "9f2c"}
TRAINING = training_of(alarm(), identity="uid-1", now=START)


def cron_job(**pod: Any) -> dict[str, Any]:
    container = {
        "name": "train",
        "image": "train:7",
        "env": [{"name": "EPOCHS", "value": "3"}, {"name": "PENSTOCK_ALARM", "value": "mine"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    inner = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "data", "emptyDir": {}}], **pod}
    template = {"metadata": {"labels": {"team": "risk"}}, "spec": {"backoffLimit": 1, "template": {"spec": inner}}}
    return {"metadata": {"name": "train"}, "spec": {"suspend": True, "schedule": "0 0 1 1 *", "jobTemplate": template}}


def job(template: dict[str, Any]) -> dict[str, Any]:
    return job_of(POLICY, TRAINING, template, environment(POLICY, TRAINING, alarm(), REFERENCE))


def test_the_job_is_the_template_with_what_it_must_know() -> None:
    made = job(cron_job())
    (container,) = made["spec"]["template"]["spec"]["containers"]
    told = {entry["name"]: entry["value"] for entry in container["env"]}
    assert told["EPOCHS"] == "3"
    assert told["PENSTOCK_ALARM"] == "inputs/amount"
    assert told["PENSTOCK_REVISION"] == "fraud-1"
    assert told["PENSTOCK_REFERENCE_URI"] == REFERENCE["uri"]
    assert len(told) == len(container["env"])
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/data", "/var/run/penstock"}
    assert made["spec"]["template"]["spec"]["volumes"][-1]["configMap"] == {"name": TRAINING.name}
    assert made["spec"]["backoffLimit"] == 1


def test_the_job_belongs_to_the_policy_and_goes_with_it() -> None:
    made = job(cron_job())
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("DriftPolicy", "uid-1", True)
    assert made["metadata"]["labels"]["team"] == "risk"
    assert report_map(POLICY, TRAINING, "{}")["metadata"]["ownerReferences"] == [owner]


def test_a_template_that_says_how_long_a_job_is_kept_is_believed() -> None:
    template = cron_job()
    assert job(template)["spec"]["ttlSecondsAfterFinished"] == 7 * 86_400
    template["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] = 60
    assert job(template)["spec"]["ttlSecondsAfterFinished"] == 60


def test_making_a_job_leaves_the_template_as_it_was() -> None:
    template = cron_job()
    job(template)
    assert template == cron_job()


def test_init_containers_know_it_too() -> None:
    made = job(cron_job(initContainers=[{"name": "fetch", "image": "fetch:1"}]))
    (first,) = made["spec"]["template"]["spec"]["initContainers"]
    assert "PENSTOCK_REPORT" in {entry["name"] for entry in first["env"]}


def test_the_report_holds_alarm_signals_and_reference() -> None:
    document = report(POLICY, TRAINING, alarm(), REFERENCE)
    text = report_map(POLICY, TRAINING, report_text(document))["data"][REPORT_FILE]
    read = json.loads(text)
    assert read["alarm"]["evidence"]["psi"] == 0.31
    assert read["signals"] == [{"name": "inputs/amount", "psi": 0.31}]
    assert read["reference"] == REFERENCE


def test_a_report_that_is_too_long_for_a_config_map_keeps_its_alarm() -> None:
    policy = {**POLICY, "status": {"signals": [{"name": "ä" * 300}] * 1000}}
    text = report_text(report(policy, TRAINING, alarm(), REFERENCE))
    assert len(text.encode()) < 256 * 1024
    assert json.loads(text)["alarm"]["name"] == "inputs/amount"
    assert json.loads(text)["shortened"] is True


def test_a_training_follows_its_job() -> None:
    def after(*conditions: dict[str, str]) -> Training:
        return progressed(TRAINING, {"status": {"conditions": list(conditions)}})

    assert after({"type": "Complete", "status": "True"}).state is TrainingState.SUCCEEDED
    failed = after({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"})
    assert (failed.state, failed.message) == (TrainingState.FAILED, "BackoffLimitExceeded: too often")
    assert after({"type": "Failed", "status": "False"}) == TRAINING
    assert progressed(TRAINING, None) == TRAINING


def test_trainings_are_remembered_as_long_as_they_count() -> None:
    old, new = TRAINING, training_of(alarm(window_id="w8"), identity="uid-1", now=START + 40 * 86_400)
    assert remembered([old, new], now=START + 40 * 86_400) == (new,)
    assert remembered([old, new], now=START + 30 * 86_400) == (new, old)
