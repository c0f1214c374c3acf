"""Times in which a rollout may not go forward: cron, duration and time zone to "frozen until"."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from penstock_operator.api.v1alpha1.traffic_split import FreezeWindow

#: How far ahead an opening is looked for. Who wants a longer freeze wants no rollouts at all.
_HORIZON = timedelta(days=366)
#: How many beginnings of windows are looked at; with one in each hour that is a quarter of a year.
_STARTS_LIMIT = 2_000
#: A search backwards begins so much later, because where clocks go back a later moment has an earlier local time. No
#: zone goes back by more nowadays.
_CLOCK_CHANGE = timedelta(hours=4)
_FIVE_FIELDS = "minute hour day-of-month month day-of-week, such as 0 18 * * 5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Why a rollout may not go forward now. Nothing in it ever keeps traffic from being taken back.

    ``until`` is when the last of the windows that touch each other ends, in Unix seconds; None where that cannot be
    told, and then ``error`` says what to mend.
    """

    message: str
    until: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """One entry of spec.freeze in the form that is computed with."""

    field: str
    cron: str
    lasts: timedelta
    zone: ZoneInfo

    def last_start(self, now: datetime) -> datetime:
        """Return when it began last, at ``now`` at the latest; long ago if it never did."""
        later = (now + _CLOCK_CHANGE).astimezone(self.zone)
        starts = (start.astimezone(UTC) for start in CronSim(self.cron, later, reverse=True))
        return next((start for start in starts if start <= now), datetime.min.replace(tzinfo=UTC))

    def starts_after(self, moment: datetime) -> Iterator[tuple[datetime, Self]]:
        """Yield when it begins after ``moment``, in order, each time with itself."""
        for start in CronSim(self.cron, moment.astimezone(self.zone)):
            yield start.astimezone(UTC), self


def freeze_at(windows: Sequence[FreezeWindow], now: float) -> Freeze | None:
    """Return why nothing may go forward at ``now`` (Unix seconds), or None while it may.

    A window begins at each moment that its cron expression names in its time zone, as Debian's cron would: once where
    clocks go back, and right after the gap where they go forward. It lasts ``duration`` of real time.

    What cannot be read freezes too: somebody wanted a freeze, and only a promotion is lost.

    >>> weekend = FreezeWindow.parse({"cron": "0 18 * * 5", "duration": "60h", "timeZone": "Europe/Berlin"})
    >>> saturday, tuesday = 1795252800.0, 1795478400.0
    >>> freeze_at([weekend], saturday).message
    'frozen until Mon 2026-11-23 06:00 Europe/Berlin (spec.freeze[0])'
    >>> freeze_at([weekend], tuesday) is None
    True
    """
    try:
        ready = [_window(index, window) for index, window in enumerate(windows)]
        moment = datetime.fromtimestamp(now, UTC)
        end, last = _thawing(ready, moment)
    except _Unusable as error:
        return Freeze(message=f"frozen, because {error}", error=str(error))
    if last is None:
        return None
    local = end.astimezone(last.zone)
    return Freeze(
        message=f"frozen until {local:%a %Y-%m-%d %H:%M} {last.zone.key} ({last.field})", until=end.timestamp()
    )


class _Unusable(ValueError):  # noqa: N818 - it becomes a sentence for a person
    """What somebody has to write otherwise."""


def _window(index: int, window: FreezeWindow) -> _Window:
    field = f"spec.freeze[{index}]"
    try:
        zone = ZoneInfo(window.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise _Unusable(
            f"{field}.timeZone: there is no time zone {window.time_zone!r}; write an IANA name such as Europe/Berlin"
        ) from error
    if window.duration <= timedelta(0):
        raise _Unusable(f"{field}.duration: must be more than 0s")
    if len(window.cron.split()) != 5:  # noqa: PLR2004 - the library would take six as well
        raise _Unusable(f"{field}.cron: {window.cron!r} has not five fields; write {_FIVE_FIELDS}")
    try:
        CronSim(window.cron, datetime(2000, 1, 1, tzinfo=zone))
    except CronSimError as error:
        raise _Unusable(f"{field}.cron: {window.cron!r}: {error}; write {_FIVE_FIELDS}") from error
    return _Window(field=field, cron=window.cron, lasts=window.duration, zone=zone)


def _thawing(windows: Sequence[_Window], now: datetime) -> tuple[datetime, _Window | None]:
    """Return the first moment from ``now`` on that is in no window, and the window that ends then, if any."""
    end, last = now, None
    for window in windows:
        if (over := window.last_start(now) + window.lasts) > end:
            end, last = over, window
    if last is None:
        return now, None
    coming = merge(*(window.starts_after(now) for window in windows), key=itemgetter(0))
    for start, window in islice(coming, _STARTS_LIMIT):
        if start > end:
            return end, last
        if start + window.lasts > end:
            end, last = start + window.lasts, window
        if end - now > _HORIZON:
            break
    raise _Unusable(
        f"spec.freeze: the windows leave no opening before {end:%Y-%m-%d}; shorten a duration or begin less often"
    )
