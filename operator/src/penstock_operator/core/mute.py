"""When a policy is silent, and what somebody has to mend in spec.mute."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock_operator.api.v1alpha1.drift_policy import Mute
from penstock_operator.api.v1alpha1.traffic_split import FreezeWindow
from penstock_operator.core.conditions import timestamp, unix_seconds
from penstock_operator.core.freeze import freeze_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nobody is told and nothing is trained until ``until`` (Unix seconds)."""

    until: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Muting:
    """The silence at a moment, if there is one, and what of spec.mute cannot be read: that keeps nobody silent."""

    silence: Silence | None = None
    errors: tuple[str, ...] = ()


def muting_at(mutes: Sequence[Mute], now: float) -> Muting:
    """Return whether a policy is silent at a moment (Unix seconds).

    >>> party = Mute(start="2026-12-24T18:00:00Z", until="2026-12-25T06:00:00Z", reason="load test")
    >>> muting_at([party], unix_seconds("2026-12-24T20:00:00Z")).silence.message
    'muted until 2026-12-25T06:00:00.000Z (load test)'
    >>> muting_at([party], unix_seconds("2026-12-25T06:00:00Z")).silence is None
    True
    >>> sundays = Mute(cron="0 2 * * 0", duration="3h", time_zone="Europe/Berlin")
    >>> muting_at([sundays], unix_seconds("2026-12-27T01:30:00Z")).silence.message
    'muted until 2026-12-27T04:00:00.000Z'
    """
    ends: list[tuple[float, str]] = []
    errors: list[str] = []
    for index, mute in enumerate(mutes):
        try:
            until = _end(mute, now)
        except ValueError as error:
            errors.append(f"spec.mute[{index}]: {error}")
            continue
        if until is not None:
            ends.append((until, mute.reason or ""))
    if not ends:
        return Muting(errors=tuple(errors))
    until, reason = max(ends)
    why = f" ({reason})" if reason else ""
    silence = Silence(until=until, message=f"muted until {timestamp(until)}{why}")
    return Muting(silence=silence, errors=tuple(errors))


def _end(mute: Mute, now: float) -> float | None:
    """Return when a mute that holds now ends, or None. Raises ValueError where it cannot be read."""
    if mute.cron is not None and mute.duration is not None:
        window = FreezeWindow(cron=mute.cron, duration=mute.duration, time_zone=mute.time_zone)
        found = freeze_at([window], now)
        if found is not None and found.until is None:
            raise ValueError(found.error.replace("spec.freeze[0].", "").replace("spec.freeze: ", ""))
        return found.until if found else None
    if mute.start is None or mute.until is None:
        raise ValueError('write either {from: …, until: …} or {cron: "0 2 * * 0", duration: 3h}')
    start, until = _moment(mute.start), _moment(mute.until)
    return until if start <= now < until else None


def _moment(text: str) -> float:
    try:
        return unix_seconds(text.upper())
    except ValueError as error:
        raise ValueError(f"{text!r} is no time; write one such as 2026-12-24T18:00:00Z") from error
