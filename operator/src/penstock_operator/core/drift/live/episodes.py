"""Alarms that go on: when one begins, what keeps it the same one, and when it ends."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from penstock_operator.core.alarms import SignalClass

_SEEN = 16
#: An alarm ends when it was looked for so many times in vain.
_MISSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """An alarm that goes on. ``hold``: in every how many windows it is looked for; ``quiet``: since how many not seen.

    ``window_id`` is empty until ``carried`` has made it one of an episode.
    """

    signal: SignalClass
    name: str
    since: float
    message: str
    window_id: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)
    seen: str = "1"
    hold: int = 1
    quiet: int = 0


def carried(
    known: Mapping[str, Open], found: Iterable[Open], *, about: Callable[[str], bool], revision: str
) -> dict[str, Open]:
    """Return the alarms after those that are ``about`` something were looked for and ``found`` came of it.

    A known one that is found again stays the same, with what is new to say. All that begin while another goes on
    belong to one episode.
    """
    again = {one.name: one for one in found}
    result: dict[str, Open] = {}
    for name, one in known.items():
        if name in again:
            result[name] = _found_again(one, again[name])
        elif not about(name):
            result[name] = one
        elif missed := _missed(one):
            result[name] = missed
    episode = next((one.window_id for one in result.values()), None)
    for name, one in again.items():
        if name not in result:
            episode = episode or _window_id(revision, one.since)
            result[name] = replace(one, window_id=episode)
    return result


def _found_again(known: Open, now: Open) -> Open:
    return replace(
        now,
        since=known.since,
        window_id=known.window_id,
        seen=(known.seen + "1")[-_SEEN:],
        # Looked for as often as the look-back that found it last asks for; a longer one may still hold it.
        hold=max(now.hold, known.hold if known.quiet else now.hold),
    )


def _missed(one: Open) -> Open | None:
    quiet = one.quiet + 1
    if quiet >= _MISSES * one.hold:
        return None
    seen = (one.seen + "0")[-_SEEN:] if quiet % one.hold == 0 else one.seen
    return replace(one, quiet=quiet, seen=seen)


def _window_id(revision: str, since: float) -> str:
    """Return a DNS label that names an episode of a revision.

    >>> _window_id("fraud-7c9f2b41", 1_800_000_000.0)
    '6b49d200-54704dfa'
    """
    return f"{int(since):x}-{hashlib.sha256(revision.encode()).hexdigest()[:8]}"
