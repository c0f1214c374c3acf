"""When a model is trained again because of an alarm, and what the training is told."""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import Retrain
from penstock_operator.core.action_state import TRAININGS_MAX, AlarmState, Training, TrainingState
from penstock_operator.core.alarms import Alarm, SignalClass
from penstock_operator.core.conditions import timestamp
from penstock_operator.core.manifests.ownership import controller_reference
from penstock_operator.core.names import managed_labels
from penstock_operator.core.objects import Manifest

APP = "penstock-retrain"
REPORT_FILE = "report.json"
REPORT_FOLDER = "/var/run/penstock"
_VOLUME = "penstock-report"
_MONTH_SECONDS = 30 * 86_400.0
#: A Job that says nothing itself about how long it is kept goes after a week.
_KEPT_SECONDS = 7 * 86_400
_REPORT_MAX = 256 * 1024


def training_of(alarm: Alarm, *, identity: str, now: float) -> Training:
    """Return the training that an alarm begins. Its name follows from policy and alarm window, so there is only one.

    >>> alarm = Alarm(signal=SignalClass.INPUTS, name="inputs/amount", model_deployment="fraud", revision="fraud-1",
    ...               window_id="fraud-1-w7", since=0.0, message="")
    >>> training_of(alarm, identity="uid", now=1.0).name == training_of(alarm, identity="uid", now=9.0).name
    True
    """
    digest = hashlib.sha256(f"{identity}\0{alarm.model_deployment}\0{alarm.window_id}".encode()).hexdigest()[:12]
    return Training(
        name=f"{alarm.model_deployment[:40].rstrip('-.')}-retrain-{digest}",
        window_id=alarm.window_id,
        model_deployment=alarm.model_deployment,
        alarm=alarm.name,
        at=now,
        state=TrainingState.STARTING,
    )


def objection(
    spec: Retrain, trainings: Sequence[Training], entry: AlarmState, others: Sequence[AlarmState], *, now: float
) -> str | None:
    """Return why an alarm may not begin a training now; empty where its window has had one; None where it may."""
    alarm = entry.alarm
    own = [one for one in trainings if one.model_deployment == alarm.model_deployment]
    if any(one.window_id == alarm.window_id for one in own):
        return ""
    bad = next((other.alarm for other in others if _spoils(other, alarm)), None)
    if bad is not None:
        return f"the data are broken: {bad.name}"
    own = [one for one in own if one.state is not TrainingState.DROPPED]
    last = max((one.at for one in own), default=None)
    cooldown = spec.cooldown.total_seconds()
    if last is not None and now - last < cooldown:
        return f"cooldown until {timestamp(last + cooldown)}"
    recent = [one.at for one in own if now - one.at < _MONTH_SECONDS]
    if len(recent) >= spec.max_per_month:
        again = timestamp(sorted(recent)[-spec.max_per_month] + _MONTH_SECONDS)
        return f"maxPerMonth: {spec.max_per_month} trainings in 30 days; the next one at {again}"
    return None


def _spoils(other: AlarmState, alarm: Alarm) -> bool:
    """Return whether an alarm says that the rows of another one are no good to learn from."""
    return (
        other.alarm.signal is SignalClass.DATA_QUALITY
        and other.stands
        and other.alarm.model_deployment == alarm.model_deployment
    )


def remembered(trainings: Sequence[Training], *, now: float) -> tuple[Training, ...]:
    """Return the trainings that still count for cooldown and cap, the newest first."""
    recent = [one for one in trainings if now - one.at < _MONTH_SECONDS + 86_400]
    return tuple(sorted(recent, key=lambda one: -one.at)[:TRAININGS_MAX])


def progressed(training: Training, job: Manifest | None) -> Training:
    """Return a training that was started, as its Job says that it goes; the Job may be gone already."""
    for condition in ((job or {}).get("status") or {}).get("conditions") or ():
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            return replace(training, state=TrainingState.SUCCEEDED, message="")
        if condition.get("type") == "Failed":
            words = ": ".join(str(condition[part]) for part in ("reason", "message") if condition.get(part))
            return replace(training, state=TrainingState.FAILED, message=words or "the Job failed")
    return training


def environment(policy: Manifest, training: Training, alarm: Alarm, reference: Mapping[str, str]) -> dict[str, str]:
    """Return what a training is told in its environment."""
    return {
        "PENSTOCK_POLICY": policy["metadata"]["name"],
        "PENSTOCK_NAMESPACE": policy["metadata"]["namespace"],
        "PENSTOCK_TRAINING": training.name,
        "PENSTOCK_MODEL_DEPLOYMENT": training.model_deployment,
        "PENSTOCK_REVISION": alarm.revision,
        "PENSTOCK_SIGNAL": alarm.signal.value,
        "PENSTOCK_ALARM": alarm.name,
        "PENSTOCK_WINDOW": training.window_id,
        "PENSTOCK_WINDOW_SINCE": timestamp(alarm.since),
        "PENSTOCK_REFERENCE_URI": reference.get("uri", ""),
        "PENSTOCK_REFERENCE_SHA256": reference.get("sha256", ""),
        "PENSTOCK_REPORT": f"{REPORT_FOLDER}/{REPORT_FILE}",
    }


def report(policy: Manifest, training: Training, alarm: Alarm, reference: Mapping[str, str]) -> dict[str, Any]:
    """Return the document that a training finds at ``PENSTOCK_REPORT``, or a webhook is sent."""
    status = policy.get("status") or {}
    return {
        "schema": "penstock.retrain/v1",
        "policy": {"namespace": policy["metadata"]["namespace"], "name": policy["metadata"]["name"]},
        "training": training.name,
        "modelDeployment": training.model_deployment,
        "revision": alarm.revision,
        "alarm": {
            "signal": alarm.signal.value,
            "name": alarm.name,
            "window": alarm.window_id,
            "since": timestamp(alarm.since),
            "message": alarm.message,
            "evidence": dict(alarm.evidence),
        },
        "alarms": status.get("alarms", []),
        "signals": status.get("signals", []),
        "windows": status.get("windows", {}),
        "reference": dict(reference),
    }


def report_text(document: Mapping[str, Any]) -> str:
    """Return a report as text that fits into a ConfigMap: what is too long loses its lists, not its alarm."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    if len(text.encode()) > _REPORT_MAX:
        text = json.dumps({**document, "alarms": [], "signals": [], "shortened": True}, ensure_ascii=False, indent=1)
    return text


def report_map(policy: Manifest, training: Training, text: str) -> Manifest:
    """Return the ConfigMap with the report of a training."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(policy, training),
        "data": {REPORT_FILE: text},
    }


def job_of(policy: Manifest, training: Training, cron_job: Manifest, told: Mapping[str, str]) -> Manifest:
    """Return the Job that a CronJob's template makes, with the environment and the report for every container."""
    template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
    metadata = template.get("metadata") or {}
    own = _metadata(policy, training)
    spec = template["spec"]
    spec.setdefault("ttlSecondsAfterFinished", _KEPT_SECONDS)
    inner = spec["template"]["spec"]
    inner["volumes"] = [
        *(volume for volume in inner.get("volumes") or () if volume["name"] != _VOLUME),
        {"name": _VOLUME, "configMap": {"name": training.name}},
    ]
    for container in (*(inner.get("initContainers") or ()), *inner["containers"]):
        _tell(container, told)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **own,
            "labels": {**(metadata.get("labels") or {}), **own["labels"]},
            "annotations": {
                **(metadata.get("annotations") or {}),
                "penstock.dev/alarm": training.alarm,
                "penstock.dev/cron-job": cron_job["metadata"]["name"],
            },
        },
        "spec": spec,
    }


def _tell(container: dict[str, Any], told: Mapping[str, str]) -> None:
    kept = [entry for entry in container.get("env") or () if entry["name"] not in told]
    container["env"] = [*kept, *({"name": name, "value": value} for name, value in told.items())]
    container["volumeMounts"] = [
        *(mount for mount in container.get("volumeMounts") or () if mount["name"] != _VOLUME),
        {"name": _VOLUME, "mountPath": REPORT_FOLDER, "readOnly": True},
    ]


def _metadata(policy: Manifest, training: Training) -> dict[str, Any]:
    metadata = policy["metadata"]
    return {
        "name": training.name,
        "namespace": metadata["namespace"],
        "labels": managed_labels(APP),
        "ownerReferences": [controller_reference(policy)],
    }
