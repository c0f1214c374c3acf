"""Tell a person what is being done and how long it takes."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PROGRESS_SECONDS = 15.0


def say(message: str) -> None:
    """Print one line to standard error, which leaves standard output to results."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print ``title`` with the seconds it took; while it runs, a line of progress every 15 s."""
    started = time.monotonic()
    finished = threading.Event()

    def report() -> None:
        while not finished.wait(PROGRESS_SECONDS):
            say(f"   … {title}: {time.monotonic() - started:.0f} s")

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    outcome = "✗"
    try:
        yield
        outcome = "✓"
    finally:
        finished.set()
        reporter.join()
        say(f"{outcome}  {title} ({time.monotonic() - started:.1f} s)")
