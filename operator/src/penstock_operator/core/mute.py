"""When a policy is silent, and what somebody has to mend in spec.mute."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock_operator.api.v1alpha1.drift_policy import Mute
from penstock_operator.core.conditions import timestamp, unix_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nobody is told and nothing is trained until ``until`` (Unix seconds)."""

    until: float
    message: str


def silence_at(mutes: Sequence[Mute], now: float) -> Silence | None:
    """Return the silence at a moment, or None. Raises ValueError, naming the entry, where a time cannot be read.

    >>> night = Mute(start="2026-12-24T18:00:00Z", until="2026-12-25T06:00:00Z", reason="load test")
    >>> silence_at([night], unix_seconds("2026-12-24T20:00:00Z")).message
    'muted until 2026-12-25T06:00:00.000Z (load test)'
    >>> silence_at([night], unix_seconds("2026-12-25T06:00:00Z")) is None
    True
    """
    ends = []
    for index, mute in enumerate(mutes):
        start, until = (_moment(index, text) for text in (mute.start, mute.until))
        if start <= now < until:
            ends.append((until, mute.reason))
    if not ends:
        return None
    until, reason = max(ends, key=lambda end: end[0])
    why = f" ({reason})" if reason else ""
    return Silence(until=until, message=f"muted until {timestamp(until)}{why}")


def _moment(index: int, text: str) -> float:
    try:
        return unix_seconds(text)
    except ValueError as error:
        raise ValueError(f"spec.mute[{index}]: {text!r} is no time; write one such as 2026-12-24T18:00:00Z") from error
