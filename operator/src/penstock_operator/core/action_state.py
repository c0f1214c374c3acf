"""What a policy remembers in status of its alarms and of what it did about them: small and bounded."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from penstock_operator.core.alarms import Alarm, SignalClass
from penstock_operator.core.conditions import timestamp, unix_seconds
from penstock_operator.core.retirement import Retired

#: An alarm beyond these is counted, and nothing is done about it until another one has ended.
ALARMS_MAX = 50
HISTORY_MAX = 10
#: More than may be begun in 30 days by one model, so that the cap is always counted over all of them.
TRAININGS_MAX = 64
_TEXT_MAX = 512
_DIGITS = 6
_T = TypeVar("_T")


class Standing(StrEnum):
    """Where an alarm is."""

    PENDING = "Pending"
    FIRING = "Firing"
    ACKNOWLEDGED = "Acknowledged"
    ENDED = "Ended"


class Deed(StrEnum):
    """What a policy may do; the most drastic first."""

    RETIRE = "Retire"
    ROLLBACK = "Rollback"
    PAUSE = "Pause"
    RETRAIN = "Retrain"
    ALERT = "Alert"


class TrainingState(StrEnum):
    """How far a training is. What is ``Starting`` may have been begun already: beginning it again changes nothing."""

    STARTING = "Starting"
    STARTED = "Started"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DROPPED = "Dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmState:
    """One alarm, and what was done about it. ``held`` says why something that should follow has not followed yet."""

    alarm: Alarm
    standing: Standing
    changed_at: float
    deeds: tuple[Deed, ...] = ()
    held: str = ""
    acknowledged_by: str = ""
    rehearsed: bool = False
    """Whether ``deeds`` were only told of, by dryRun."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells one alarm from another."""
        return key_of(self.alarm)

    @property
    def stands(self) -> bool:
        """Whether the signal is still beyond its limit."""
        return self.standing is not Standing.ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training that was begun, by its name, which is the same however often it is begun."""

    name: str
    window_id: str
    model_deployment: str
    alarm: str
    at: float
    state: TrainingState
    message: str = ""
    updated: str = ""
    """What its model has become, where the policy says that it becomes something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One entry of the audit trail."""

    deed: Deed
    at: float
    alarm: Alarm
    dry_run: bool = False

    def to_audit(self, namespace: str, policy: str) -> dict[str, Any]:
        """Return the line of the audit log."""
        told = _done_to_wire(self)
        return {
            "time": told.pop("at"),
            "namespace": namespace,
            "policy": policy,
            "verb": told.pop("action").lower(),
            "id": told.pop("window", ""),
            "by": f"policy/{policy}",
            "outcome": told.pop("message", ""),
            **told,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionState:
    """Everything about acting that is in a policy's status."""

    alarms: tuple[AlarmState, ...] = ()
    trainings: tuple[Training, ...] = ()
    retired: tuple[Retired, ...] = ()
    history: tuple[Done, ...] = ()
    command: Mapping[str, str] = field(default_factory=dict)
    """The last command, as status shows it."""
    omitted: int = 0
    """Alarms for which there was no room."""

    def to_wire(self) -> dict[str, Any]:
        """Return the fields of status; what is empty is left out."""
        wire: dict[str, Any] = {
            "alarms": [_alarm_to_wire(entry) for entry in self.alarms],
            "trainings": [_training_to_wire(entry) for entry in self.trainings],
            "retired": [entry.to_wire() for entry in self.retired],
            "history": [_done_to_wire(entry) for entry in self.history],
            "lastCommand": dict(self.command),
            "alarmsOmitted": self.omitted,
        }
        if self.history:
            last = max(self.history, key=lambda entry: (entry.at, -list(Deed).index(entry.deed)))
            wire["lastAction"] = _done_to_wire(last)
        return {name: value for name, value in wire.items() if value}


def key_of(alarm: Alarm) -> tuple[str, str, str]:
    """Return what tells one alarm from another: its episode, the signal and the model."""
    return alarm.window_id, alarm.name, alarm.model_deployment


def parse_state(status: Mapping[str, Any]) -> ActionState:
    """Return the state that a status holds; an entry that a person has made unreadable is forgotten."""
    return ActionState(
        alarms=tuple(_readable(_alarm_from_wire, status.get("alarms"))),
        trainings=tuple(_readable(_training_from_wire, status.get("trainings"))),
        retired=tuple(_readable(Retired.from_wire, status.get("retired"))),
        history=tuple(_readable(_done_from_wire, status.get("history"))),
        command={str(key): str(value) for key, value in _mapping(status.get("lastCommand")).items()},
    )


def _readable(read: Callable[[Any], _T], entries: Any) -> list[_T]:
    found: list[_T] = []
    for entry in entries if isinstance(entries, Sequence) and not isinstance(entries, str) else ():
        try:
            found.append(read(entry))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return found


def _alarm_to_wire(entry: AlarmState) -> dict[str, Any]:
    alarm = entry.alarm
    wire: dict[str, Any] = {
        "name": alarm.name,
        "modelDeployment": alarm.model_deployment,
        "revision": alarm.revision,
        "signal": alarm.signal.value,
        "state": entry.standing.value,
        "since": timestamp(alarm.since),
        "changedAt": timestamp(entry.changed_at),
        "window": alarm.window_id,
        "message": alarm.message[:_TEXT_MAX],
        "seen": alarm.seen[-16:],
        "evidence": _numbers(alarm.evidence),
        "actions": [deed.value for deed in entry.deeds],
        "held": entry.held[:_TEXT_MAX],
        "acknowledgedBy": entry.acknowledged_by,
        "attributable": alarm.attributable,
        "dryRun": entry.rehearsed,
    }
    return {name: value for name, value in wire.items() if value not in ("", [], {}, False)}


def _alarm_from_wire(wire: Mapping[str, Any]) -> AlarmState:
    return AlarmState(
        alarm=Alarm(
            signal=SignalClass(wire["signal"]),
            name=str(wire["name"]),
            model_deployment=str(wire.get("modelDeployment", "")),
            revision=str(wire.get("revision", "")),
            window_id=str(wire["window"]),
            since=unix_seconds(wire["since"]),
            message=str(wire.get("message", "")),
            evidence={str(name): float(value) for name, value in _mapping(wire.get("evidence")).items()},
            attributable=wire.get("attributable") is True,
            seen=str(wire.get("seen", "1")),
        ),
        standing=Standing(wire["state"]),
        changed_at=unix_seconds(wire["changedAt"]),
        deeds=tuple(Deed(word) for word in wire.get("actions", ())),
        held=str(wire.get("held", "")),
        acknowledged_by=str(wire.get("acknowledgedBy", "")),
        rehearsed=wire.get("dryRun") is True,
    )


def _training_to_wire(entry: Training) -> dict[str, Any]:
    wire = {
        "name": entry.name,
        "modelDeployment": entry.model_deployment,
        "alarm": entry.alarm,
        "window": entry.window_id,
        "at": timestamp(entry.at),
        "state": entry.state.value,
        "message": entry.message[:_TEXT_MAX],
        "updated": entry.updated[:_TEXT_MAX],
    }
    return {name: value for name, value in wire.items() if value}


def _training_from_wire(wire: Mapping[str, Any]) -> Training:
    return Training(
        name=str(wire["name"]),
        window_id=str(wire["window"]),
        model_deployment=str(wire.get("modelDeployment", "")),
        alarm=str(wire.get("alarm", "")),
        at=unix_seconds(wire["at"]),
        state=TrainingState(wire["state"]),
        message=str(wire.get("message", "")),
        updated=str(wire.get("updated", "")),
    )


def _done_to_wire(entry: Done) -> dict[str, Any]:
    alarm = entry.alarm
    wire: dict[str, Any] = {
        "action": entry.deed.value,
        "at": timestamp(entry.at),
        "metric": alarm.name.partition("/")[2] if alarm.signal is SignalClass.METRICS else alarm.name,
        "signal": alarm.signal.value,
        "modelDeployment": alarm.model_deployment,
        "revision": alarm.revision,
        "window": alarm.window_id,
        "message": alarm.message[:_TEXT_MAX],
        "evidence": _numbers(alarm.evidence),
        "dryRun": entry.dry_run,
    }
    return {name: value for name, value in wire.items() if value not in ("", {}, False)}


def _done_from_wire(wire: Mapping[str, Any]) -> Done:
    signal = SignalClass(wire["signal"])
    name = str(wire["metric"])
    return Done(
        deed=Deed(wire["action"]),
        at=unix_seconds(wire["at"]),
        alarm=Alarm(
            signal=signal,
            name=f"metrics/{name}" if signal is SignalClass.METRICS else name,
            model_deployment=str(wire.get("modelDeployment", "")),
            revision=str(wire.get("revision", "")),
            window_id=str(wire.get("window", "")),
            since=unix_seconds(wire["at"]),
            message=str(wire.get("message", "")),
            evidence={str(key): float(value) for key, value in _mapping(wire.get("evidence")).items()},
        ),
        dry_run=wire.get("dryRun") is True,
    )


def _numbers(evidence: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in evidence.items() if math.isfinite(value)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
