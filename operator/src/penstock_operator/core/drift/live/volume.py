"""Whether rows come as often as usual, or not at all."""

from dataclasses import dataclass, replace
from math import exp

#: What is usual is the mean of about a day, what is recent that of some minutes.
_USUAL_SECONDS = 86_400.0
_RECENT_SECONDS = 300.0
#: Before, nobody knows what is usual; and from fewer rows chance makes any ratio.
_KNOWN_AFTER_SECONDS = 3600.0
_ROWS_MIN = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Rows per second, usually and recently, and when the last one came; None before there was any."""

    usual: float | None = None
    recent: float | None = None
    seconds: float = 0.0
    last_row_at: float | None = None

    def after(self, rows: int, seconds: float, now: float) -> "Volume":
        """Return it after ``seconds`` in which so many rows came; 0 where nobody knows how long that was."""
        if seconds <= 0:
            return replace(self, last_row_at=now) if rows else self
        rate, observed = rows / seconds, self.seconds + seconds
        return replace(
            self,
            # In the first day a plain mean of all of it.
            usual=_nearer(self.usual, rate, seconds / min(observed, _USUAL_SECONDS)),
            recent=_nearer(self.recent, rate, 1 - exp(-seconds / _RECENT_SECONDS)),
            seconds=observed,
            last_row_at=now if rows else self.last_row_at,
        )

    def change(self) -> float | None:
        """Return how many times as many rows come as usual; None while that cannot be said."""
        if self.usual is None or self.recent is None or self.seconds < _KNOWN_AFTER_SECONDS:
            return None
        return self.recent / self.usual if self.usual * _RECENT_SECONDS >= _ROWS_MIN else None

    def silent_seconds(self, now: float) -> float:
        """Return for how long no row has come; 0 if there never was one."""
        return 0.0 if self.last_row_at is None else max(0.0, now - self.last_row_at)


def _nearer(known: float | None, rate: float, share: float) -> float:
    return rate if known is None else known + min(1.0, share) * (rate - known)
