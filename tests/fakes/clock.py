"""A clock that a test moves."""


class FakeClock:
    """Implements ports.Clock; ``monotonic`` goes with it."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._now = start

    def now(self) -> float:
        """Return Unix seconds."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds since the test began."""
        return self._now - self._start

    def move_to(self, moment: float) -> None:
        """Let time pass, never back."""
        self._now = max(self._now, round(moment, 3))
