"""Does what follows from the alarms of a policy, and tells how that goes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock_operator.api.v1alpha1.traffic_split import COMMAND_ANNOTATION
from penstock_operator.core.acknowledgement import answer
from penstock_operator.core.action_state import ActionState, AlarmState, Done, TrainingState, parse_state
from penstock_operator.core.actions import ENDED_SECONDS, Look, decide
from penstock_operator.core.alarms import Alarm, SignalClass
from penstock_operator.core.alerting import alerts_of
from penstock_operator.core.conditions import Condition, Conditions, Reason, find
from penstock_operator.core.letters import Delivery, Letter
from penstock_operator.core.mute import Muting, muting_at
from penstock_operator.core.objects import ObjectRef
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.retraining import remembered
from penstock_operator.ports import ActionObserver, Cluster, LetterBox, Trainer
from penstock_operator.reconcile.policy_case import Case, Round
from penstock_operator.reconcile.training import Trainings, delivered
from penstock_operator.reconcile.updating import Updates

#: Where the operator tells who did what, whatever the log level is.
_AUDIT = logging.getLogger("penstock.audit")
_ALERTS = "alerts"
#: How soon to look again: at once where something is to be begun, often while an answer is awaited, else now and then.
_AT_ONCE_SECONDS = 0.01
_AWAITING_SECONDS = 2.0
_OBSTACLE_SECONDS = 15.0
_ALARM_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What came of it: fields and conditions of status, Events to record once it is written, when to look again."""

    status: dict[str, Any]
    conditions: list[Condition]
    events: tuple[EventRecord, ...] = ()
    news: tuple[Done, ...] = ()
    again_seconds: float | None = None


class Actor:
    """Carries out decisions in two strides: what is to be begun is in status before it is begun.

    So a crash between deed and status repeats the deed under the same name, where it changes nothing.
    """

    def __init__(self, *, cluster: Cluster, letters: LetterBox, trainer: Trainer, observer: ActionObserver) -> None:
        self._letters = letters
        self._trainings = Trainings(cluster=cluster, trainer=trainer)
        self._updates = Updates(trainer)
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
        turn = Round(case=case, conditions=Conditions(live.get("conditions", []), generation=generation, now=case.now))
        trainings = await self._trainings.advance(turn, decision.state, stored)
        trainings = await self._updates.advance(turn, trainings)
        state = replace(decision.state, trainings=remembered(trainings, now=case.now))
        self._write_alerts(turn, state, muted=muting.silence is not None)
        if muting.errors:
            words = "; ".join(muting.errors)
            turn.conditions.set("MutesReadable", status=False, reason=Reason.INVALID_SPEC, message=words)
        deliveries = self._letters.hold(case.ref, turn.letters)
        state = replace(state, trainings=delivered(state.trainings, deliveries))
        _tell_of_alerts(turn, deliveries)
        if any(one.state is TrainingState.STARTING for one in state.trainings if one not in stored.trainings):
            turn.again.append(_AT_ONCE_SECONDS)
        turn.again += [_again(entry, case.now) for entry in state.alarms]
        return Acted(
            status=state.to_wire(),
            conditions=turn.conditions.to_wire(),
            events=(*answered.events, *decision.events, *turn.events),
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
        self._trainings.forget(ref)

    def _write_alerts(self, turn: Round, state: ActionState, *, muted: bool) -> None:
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
        silence=muting.silence,
        around=case.around,
    )


def _again(entry: AlarmState, now: float) -> float:
    """Return when to look again because of one alarm: when it is forgotten, or now and then."""
    if entry.stands:
        return _ALARM_SECONDS
    return max(entry.changed_at + ENDED_SECONDS - now, _AT_ONCE_SECONDS)


def _tell_of_alerts(turn: Round, deliveries: Mapping[str, Delivery]) -> None:
    if _ALERTS not in turn.letters:
        return
    delivery = deliveries.get(_ALERTS)
    if delivery is None:
        turn.again.append(_AWAITING_SECONDS)
        before = find((turn.case.policy.get("status") or {}).get("conditions", []), "AlertsDelivered")
        if before is not None:  # after a restart, until the first try
            held = before["status"] == "True"
            reason = Reason.DELIVERED if held else Reason.DELIVERY_FAILED
            turn.conditions.set("AlertsDelivered", status=held, reason=reason, message=before["message"])
        return
    if delivery.arrived:
        words = "the webhook takes alerts"
        turn.conditions.set("AlertsDelivered", status=True, reason=Reason.DELIVERED, message=words)
        return
    words = f"spec.alert.webhook: {delivery.message}; it is tried again"
    turn.conditions.set("AlertsDelivered", status=False, reason=Reason.DELIVERY_FAILED, message=words)
    turn.again.append(_OBSTACLE_SECONDS)


def _counted(alarm: Alarm) -> str:
    """Return the label of an alert: a metric's name is the policy's, but names of columns are whatever data held."""
    return alarm.name.partition("/")[2] if alarm.signal is SignalClass.METRICS else alarm.signal.value


def merged(status: dict[str, Any], acted: Acted) -> dict[str, Any]:
    """Return a policy's status with what acting says; conditions stay in their order."""
    conditions = sorted([*status.get("conditions", ()), *acted.conditions], key=lambda one: str(one["type"]))
    return {**status, **acted.status, "conditions": conditions}
