"""How alarms are told to an endpoint that takes alerts as Alertmanager does."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from penstock_operator.core.action_state import AlarmState, Deed, Standing
from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.conditions import timestamp

_LABEL_MAX = 200
_TEXT_MAX = 1024
#: An alert that is not told again for so many intervals counts as ended at the receiver.
_PATIENCE = 3
_NAMES = {
    SignalClass.METRICS: "PenstockMetricBreached",
    SignalClass.INPUTS: "PenstockInputDrift",
    SignalClass.OUTPUTS: "PenstockOutputDrift",
    SignalClass.CORRELATION: "PenstockCorrelationDrift",
    SignalClass.CONTRIBUTION: "PenstockContributionDrift",
    SignalClass.DATA_QUALITY: "PenstockDataQuality",
    SignalClass.PERFORMANCE: "PenstockPerformance",
}
_CRITICAL = frozenset({SignalClass.METRICS, SignalClass.PERFORMANCE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert; ``ends_at`` is None while it lasts. Its labels tell it from every other and never change."""

    labels: tuple[tuple[str, str], ...]
    summary: str
    description: str
    starts_at: float
    ends_at: float | None = None

    def to_wire(self, *, now: float, repeat_seconds: float) -> dict[str, Any]:
        """Return the entry of the request's list."""
        ends = now + _PATIENCE * repeat_seconds if self.ends_at is None else self.ends_at
        return {
            "labels": dict(self.labels),
            "annotations": {"summary": self.summary, "description": self.description},
            "startsAt": timestamp(self.starts_at),
            "endsAt": timestamp(ends),
        }


def alerts_of(namespace: str, policy: str, alarms: Iterable[AlarmState], *, muted: bool) -> tuple[Alert, ...]:
    """Return what is to be told: alarms that fire, and as ended those that ended or that somebody has acknowledged.

    What a dry run would have told stays untold. While muted, only ends are told.
    """
    told = [entry for entry in alarms if Deed.ALERT in entry.deeds and not entry.rehearsed]
    return tuple(
        _alert(namespace, policy, entry) for entry in told if not (muted and entry.standing is Standing.FIRING)
    )


def _alert(namespace: str, policy: str, entry: AlarmState) -> Alert:
    alarm = entry.alarm
    labels = {
        "alertname": _NAMES[alarm.signal],
        "severity": "critical" if alarm.signal in _CRITICAL else "warning",
        "namespace": namespace,
        "policy": policy,
        "model_deployment": alarm.model_deployment,
        "revision": alarm.revision,
        "signal": alarm.name,
        "window": alarm.window_id,
    }
    about = alarm.revision or alarm.model_deployment or policy
    return Alert(
        labels=tuple((name, _printable(value, _LABEL_MAX)) for name, value in labels.items() if value),
        summary=_printable(f"{about}: {alarm.name}", _TEXT_MAX),
        description=_printable(alarm.message, _TEXT_MAX),
        starts_at=alarm.since,
        ends_at=None if entry.standing is Standing.FIRING else entry.changed_at,
    )


def _printable(text: str, length: int) -> str:
    """Return text of which no receiver's log or page takes harm: names of columns are whatever the data held."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)[:length]
