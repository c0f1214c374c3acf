"""Ends a run on the event loop's own thread that goes on for too long."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from penstock_server.protocol import Array
from penstock_server.session import Cancellation, RunTerminated, Session

#: A run that was expected to take a millisecond may hold up the server's other work for so long, and not longer.
INLINE_SECONDS_LIMIT = 0.1
_POLL_SECONDS = 0.05
#: The thread goes to sleep when nothing has run inline for so many looks.
_IDLE_LOOKS = 40
_NEVER = float("inf")


class RanOver(Exception):  # noqa: N818 - what happened
    """An inline run was ended because its time was over; it can be repeated where it harms nobody."""


class Watchdog:
    """Runs a session on the calling thread, and ends a run from another thread when its time is over.

    All runs share one cancellation, and being watched costs two assignments: who watches looks at a
    number now and then instead of being told.
    """

    def __init__(self, session: Session, clock: Callable[[], float] = time.perf_counter) -> None:
        self._session = session
        self._clock = clock
        self._cancellation = Cancellation()
        self._until = _NEVER
        self._looking = False
        self._runs = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def run(
        self, outputs: Sequence[str], inputs: Mapping[str, Array], started: float, seconds_max: float
    ) -> list[Array]:
        """Run at most ``seconds_max`` from ``started``; raise RanOver, and what Session.run raises."""
        until = started + min(seconds_max, INLINE_SECONDS_LIMIT)
        self._runs += 1
        self._until = until
        if not self._looking:
            self._look()
        try:
            return self._session.run(outputs, inputs, self._cancellation)
        except RunTerminated:
            self._cancellation = Cancellation()
            if self._clock() < until:
                # Meant for the run before, which ended just then.
                return self.run(outputs, inputs, started, seconds_max)
            raise RanOver from None
        finally:
            self._until = _NEVER

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        self._looking = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        self._wake.set()

    def _watch(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._watch_while_busy()

    def _watch_while_busy(self) -> None:
        seen, idle = self._runs, 0
        while not self._closing.wait(_POLL_SECONDS):
            if self._clock() >= self._until:
                self._cancellation.cancel()
            idle = idle + 1 if self._runs == seen and self._until == _NEVER else 0
            seen = self._runs
            if idle < _IDLE_LOOKS:
                continue
            self._looking = False
            if self._runs == seen:
                return
            self._looking = True  # a run began in between, and saw that somebody looks
            idle = 0
