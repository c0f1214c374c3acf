"""Lines that tell how far a download is, never more often than people read."""

from penstock_server.log import Log

_SECONDS_BETWEEN = 2.0


class Progress:
    """Tells bytes, rate and the time left. The rate is that of this attempt, not of waits in between."""

    def __init__(self, log: Log, *, at: float) -> None:
        self._log = log
        self._told_at = at
        self._from_at, self._from_bytes = at, 0

    def attempt(self, done: int, *, at: float) -> None:
        """Begin to measure the rate anew, from this many bytes."""
        self._from_at, self._from_bytes = at, done

    def tell(self, done: int, size: int | None, *, at: float) -> None:
        """Write a line if it is time for one."""
        if at - self._told_at < _SECONDS_BETWEEN:
            return
        self._told_at = at
        rate = (done - self._from_bytes) / max(at - self._from_at, 1e-3)
        left = None if size is None or rate <= 0 else round((size - done) / rate, 1)
        self._log("fetching", bytes=done, of=size, bytes_per_second=round(rate), seconds_left=left)
