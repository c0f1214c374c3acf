"""Does what follows from the alarms of a policy, and tells how that goes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.api.v1alpha1.drift_policy import Retrain as RetrainSpec
from penstock_operator.api.v1alpha1.traffic_split import COMMAND_ANNOTATION
from penstock_operator.core.acknowledgement import answer
from penstock_operator.core.action_state import (
    ActionState,
    Done,
    Standing,
    Training,
    TrainingState,
    parse_state,
)
from penstock_operator.core.actions import Look, decide
from penstock_operator.core.alarms import Alarm, SignalClass
from penstock_operator.core.alerting import alerts_of
from penstock_operator.core.conditions import Condition, Conditions, Reason, find
from penstock_operator.core.letters import Delivery, Letter
from penstock_operator.core.mute import Muting, muting_at
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.retraining import (
    environment,
    job_of,
    progressed,
    remembered,
    report,
    report_map,
    report_text,
)
from penstock_operator.ports import ActionObserver, Cluster, LetterBox, RequestRejected, Trainer

#: Where the operator tells who did what, whatever the log level is.
_AUDIT = logging.getLogger("penstock.audit")
_ALERTS = "alerts"
#: How soon to look again: at once where something is to be begun, often while an answer is awaited, else now and then.
_AT_ONCE_SECONDS = 0.01
_AWAITING_SECONDS = 2.0
_OBSTACLE_SECONDS = 30.0
_ALARM_SECONDS = 60.0
#: A training that has not ended by then is watched no longer.
_WATCHED_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One policy at one moment. ``unknown``: ModelDeployments of which nothing can be said now."""

    policy: Manifest
    spec: DriftPolicySpec
    alarms: tuple[Alarm, ...]
    now: float
    unknown: frozenset[str] = frozenset()

    @property
    def ref(self) -> ObjectRef:
        """The policy."""
        return ref_of(Kind.DRIFT_POLICY, self.policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What came of it: fields and conditions of status, Events to record once it is written, when to look again."""

    status: dict[str, Any]
    conditions: list[Condition]
    events: tuple[EventRecord, ...] = ()
    news: tuple[Done, ...] = ()
    again_seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class _Round:
    """One round of acting: what is collected on the way."""

    case: Case
    conditions: Conditions
    letters: dict[str, Letter] = field(default_factory=dict)
    again: list[float] = field(default_factory=list)


class Actor:
    """Carries out decisions in two strides: what is to be begun is in status before it is begun.

    So a crash between deed and status repeats the deed under the same name, where it changes nothing.
    """

    def __init__(self, *, cluster: Cluster, letters: LetterBox, trainer: Trainer, observer: ActionObserver) -> None:
        self._cluster = cluster
        self._letters = letters
        self._trainer = trainer
        self._observer = observer

    async def act(self, case: Case) -> Acted:
        """Decide and act for one policy. Raises what ports.Trainer raises, save RequestRejected."""
        live = case.policy.get("status") or {}
        stored = parse_state(live)
        answered = answer(
            (case.policy["metadata"].get("annotations") or {}).get(COMMAND_ANNOTATION), stored, now=case.now
        )
        muting = muting_at(case.spec.mute, case.now)
        decision = decide(case.spec, answered.state, _look(case, muting))
        generation = case.policy["metadata"]["generation"]
        turn = _Round(case=case, conditions=Conditions(live.get("conditions", []), generation=generation, now=case.now))
        trainings = await self._train(turn, decision.state, stored)
        state = replace(decision.state, trainings=remembered(trainings, now=case.now))
        self._write_alerts(turn, state, muted=muting.silence is not None)
        if muting.errors:
            words = "; ".join(muting.errors)
            turn.conditions.set("MutesReadable", status=False, reason=Reason.INVALID_SPEC, message=words)
        deliveries = self._letters.hold(case.ref, turn.letters)
        state = replace(state, trainings=_delivered(state.trainings, deliveries))
        _tell_of_alerts(turn, deliveries)
        if any(one.state is TrainingState.STARTING for one in state.trainings if one not in stored.trainings):
            turn.again.append(_AT_ONCE_SECONDS)
        if state.alarms:
            turn.again.append(_ALARM_SECONDS)
        return Acted(
            status=state.to_wire(),
            conditions=turn.conditions.to_wire(),
            events=(*answered.events, *decision.events),
            news=decision.news,
            again_seconds=min(turn.again, default=None),
        )

    def count(self, case: Case, acted: Acted) -> None:
        """Count what was decided and write it into the audit log, once the status that tells it is written."""
        metadata = case.policy["metadata"]
        for done in acted.news:
            _AUDIT.info("audit", extra=done.to_audit(metadata["namespace"], metadata["name"]))
            self._observer.acted(metadata["namespace"], metadata["name"], done.deed.value, dry_run=done.dry_run)
            if done.deed.value == "Alert" and not done.dry_run:
                self._observer.alerted(metadata["namespace"], metadata["name"], _counted(done.alarm))

    def forget(self, ref: ObjectRef) -> None:
        """Send nothing more for a policy that is gone."""
        self._letters.hold(ref, {})

    async def _train(self, turn: _Round, state: ActionState, stored: ActionState) -> tuple[Training, ...]:
        retrain = turn.case.spec.retrain
        if retrain is None:
            return tuple(_dropped(one, "spec.retrain is gone") for one in state.trainings)
        cron_job = await self._cron_job(turn, retrain)
        known = {one.name for one in stored.trainings if one.state is TrainingState.STARTING}
        trainings = []
        for one in state.trainings:
            if one.state is TrainingState.STARTED and retrain.cron_job is not None:
                trainings.append(await self._watched(turn, one))
            elif one.name in known and one.state is TrainingState.STARTING:
                trainings.append(await self._begin(turn, one, state, cron_job))
            else:
                trainings.append(one)
        return tuple(trainings)

    async def _cron_job(self, turn: _Round, retrain: RetrainSpec) -> Manifest | None:
        """Return the CronJob; that there is none is told before it is needed."""
        if retrain.cron_job is None:
            return None
        name = retrain.cron_job
        try:
            found = await self._trainer.cron_job(turn.case.ref.namespace, name)
        except RequestRejected as error:
            _cannot_train(turn, Reason.REJECTED_BY_SERVER, str(error))
            return None
        if found is None:
            words = f"there is no CronJob {name} in this namespace; create it, or correct spec.retrain.cronJob"
            _cannot_train(turn, Reason.CRON_JOB_NOT_FOUND, words)
        else:
            turn.conditions.set("RetrainReady", status=True, reason=Reason.READY, message=f"by CronJob {name}")
        return found

    async def _begin(self, turn: _Round, training: Training, state: ActionState, cron_job: Manifest | None) -> Training:
        """Begin what status says is to be begun; what cannot be begun yet stays so."""
        standing = (Standing.FIRING, Standing.ACKNOWLEDGED)
        alarm = next(
            (
                entry.alarm
                for entry in state.alarms
                if entry.alarm.window_id == training.window_id
                and entry.alarm.model_deployment == training.model_deployment
                and entry.standing in standing
            ),
            None,
        )
        if alarm is None:
            return _dropped(training, "the alarm ended before the training was begun")
        policy = turn.case.policy
        reference = self._reference(turn.case.ref.namespace, training.model_deployment)
        document = report(policy, training, alarm, reference)
        webhook = turn.case.spec.retrain.webhook if turn.case.spec.retrain else None
        if webhook is not None:
            turn.letters[training.name] = Letter(
                namespace=turn.case.ref.namespace,
                url=webhook.url,
                id=training.name,
                secret_name=webhook.secret_name,
                document=document,
            )
            turn.again.append(_AWAITING_SECONDS)
            return training
        if cron_job is None:
            return training
        job = job_of(policy, training, cron_job, environment(policy, training, alarm, reference))
        try:
            ours = await self._trainer.start(job, report_map(policy, training, report_text(document)))
        except RequestRejected as error:
            _cannot_train(turn, Reason.REJECTED_BY_SERVER, str(error))
            return training
        if not ours:
            _cannot_train(turn, Reason.NOT_OWNED, f"Job {training.name} exists and belongs to somebody else; delete it")
            return training
        turn.again.append(_OBSTACLE_SECONDS)
        return replace(training, state=TrainingState.STARTED)

    async def _watched(self, turn: _Round, training: Training) -> Training:
        if turn.case.now - training.at > _WATCHED_SECONDS:
            return training
        try:
            job = await self._trainer.job(turn.case.ref.namespace, training.name)
        except RequestRejected:
            return training
        after = progressed(training, job)
        if after.state is TrainingState.STARTED:
            turn.again.append(_OBSTACLE_SECONDS)
        return after

    def _reference(self, namespace: str, model_deployment: str) -> Mapping[str, str]:
        """Return what the ModelDeployment says of its reference profile."""
        ref = ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=namespace, name=model_deployment)
        model = ((self._cluster.get(ref) or {}).get("spec") or {}).get("model") or {}
        profile = model.get("profile") or {}
        uri = profile.get("uri") or f"{str(model.get('uri', '')).rpartition('/')[0]}/profile.json"
        return {"uri": str(uri), "sha256": str(profile.get("sha256", "")), "model": str(model.get("uri", ""))}

    def _write_alerts(self, turn: _Round, state: ActionState, *, muted: bool) -> None:
        alert = turn.case.spec.alert
        if alert is None or alert.webhook is None:
            return
        ref = turn.case.ref
        told = alerts_of(ref.namespace, ref.name, state.alarms, muted=muted)
        turn.letters[_ALERTS] = Letter(
            namespace=ref.namespace,
            url=alert.webhook.url,
            id=f"{turn.case.policy['metadata']['uid']}-{_ALERTS}",
            secret_name=alert.webhook.secret_name,
            alerts=told,
            repeat_seconds=alert.webhook.repeat_every.total_seconds(),
        )


def _look(case: Case, muting: Muting) -> Look:
    return Look(
        now=case.now,
        identity=case.policy["metadata"]["uid"],
        alarms=case.alarms,
        unknown=case.unknown,
        silence=muting.silence,
    )


def _tell_of_alerts(turn: _Round, deliveries: Mapping[str, Delivery]) -> None:
    if _ALERTS not in turn.letters:
        return
    delivery = deliveries.get(_ALERTS)
    if delivery is None:
        turn.again.append(_AWAITING_SECONDS)
        before = find((turn.case.policy.get("status") or {}).get("conditions", []), "AlertsDelivered")
        if before is not None and before["status"] != "Unknown":  # after a restart, until the first try
            held = before["status"] == "True"
            turn.conditions.set(
                "AlertsDelivered", status=held, reason=Reason(before["reason"]), message=before["message"]
            )
        return
    if delivery.arrived:
        words = "the webhook takes alerts"
        turn.conditions.set("AlertsDelivered", status=True, reason=Reason.DELIVERED, message=words)
        return
    words = f"spec.alert.webhook: {delivery.message}; it is tried again"
    turn.conditions.set("AlertsDelivered", status=False, reason=Reason.DELIVERY_FAILED, message=words)
    turn.again.append(_OBSTACLE_SECONDS)


def _delivered(trainings: tuple[Training, ...], deliveries: Mapping[str, Delivery]) -> tuple[Training, ...]:
    """Return the trainings with what came of those that somebody else was asked for."""
    told = []
    for one in trainings:
        delivery = deliveries.get(one.name)
        if delivery is None or one.state is not TrainingState.STARTING:
            told.append(one)
        elif delivery.arrived:
            told.append(replace(one, state=TrainingState.STARTED, message=""))
        else:
            told.append(replace(one, message=f"spec.retrain.webhook: {delivery.message}; it is tried again"))
    return tuple(told)


def _cannot_train(turn: _Round, reason: Reason, message: str) -> None:
    turn.conditions.set("RetrainReady", status=False, reason=reason, message=message)
    turn.again.append(_OBSTACLE_SECONDS)


def _dropped(training: Training, why: str) -> Training:
    if training.state is not TrainingState.STARTING:
        return training
    return replace(training, state=TrainingState.DROPPED, message=why)


def _counted(alarm: Alarm) -> str:
    """Return the label of an alert: a metric's name is the policy's, but names of columns are whatever data held."""
    return alarm.name.partition("/")[2] if alarm.signal is SignalClass.METRICS else alarm.signal.value


def merged(status: dict[str, Any], acted: Acted) -> dict[str, Any]:
    """Return a policy's status with what acting says; conditions stay in their order."""
    conditions = sorted([*status.get("conditions", ()), *acted.conditions], key=lambda one: str(one["type"]))
    return {**status, **acted.status, "conditions": conditions}
