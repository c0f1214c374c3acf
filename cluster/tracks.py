"""Commands of several tracks that run at the same time: what they print, and how long each took."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_STAT = Path("/proc/stat")
_END_SECONDS = 20.0


class PartFailedError(Exception):
    """A part without which nothing can go on has failed, or was ended because another one had."""


@dataclass(slots=True, kw_only=True)
class Part:
    """One command: when it began and ended, in seconds since the beginning of all, and what it ended with."""

    title: str
    track: str
    began: float
    ended: float = 0.0
    busy: float | None = None
    """The share of the machine's processors that was in use meanwhile, by whomever."""
    status: int | None = None


@dataclass(slots=True, kw_only=True)
class Work:
    """Runs commands for tracks; each line that they print is shown at once, behind the name of its track."""

    started: float = field(default_factory=time.monotonic)
    parts: list[Part] = field(default_factory=list)
    _running: list[subprocess.Popen[str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def run(self, track: str, title: str, *command: str, environment: Mapping[str, str], niceness: int = 0) -> int:
        """Run a command to its end and return its exit status; of less weight on the machine with ``niceness``."""
        with self._part(track, title) as part:
            weighed = command if not niceness else ("nice", "-n", str(niceness), *command)
            with self._start(weighed, environment) as process:
                for line in process.stdout or ():
                    self.say(f"{track:<8}| {line.rstrip()}")
                part.status = process.wait()
            with self._lock:
                self._running.remove(process)
                if self._stopped:
                    raise PartFailedError(title)
        return part.status

    def must(self, track: str, title: str, *command: str, environment: Mapping[str, str], niceness: int = 0) -> None:
        """Run a command without which nothing can go on. Raises PartFailedError."""
        if self.run(track, title, *command, environment=environment, niceness=niceness):
            raise PartFailedError(title)

    def stop(self) -> None:
        """Interrupt all that runs, as ctrl-C would, with all that it has started; what is begun afterwards fails."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            _send(process, signal.SIGINT)
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            _send(process, signal.SIGKILL)

    def say(self, text: str) -> None:
        """Print one line, whole."""
        with self._lock:
            print(text, flush=True)

    def table(self) -> str:
        """Return what was done, in the order in which it began, and how long it took."""
        rows = [f"{'part':<44}{'track':<10}{'began':>7}{'took':>7}{'busy':>7}"]
        for part in self.parts:
            busy = "" if part.busy is None else f"{100 * part.busy:.0f} %"
            mark = "" if part.status == 0 else "  FAILED"
            took = f"{part.ended - part.began:.0f} s"
            rows.append(f"{part.title:<44}{part.track:<10}{part.began:>5.0f} s{took:>7}{busy:>7}{mark}")
        return "\n".join(rows)

    def _start(self, command: tuple[str, ...], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise PartFailedError(" ".join(command))
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # A group of its own, so that it can be ended with all that it has started.
                start_new_session=True,
            )
            self._running.append(process)
        return process

    @contextmanager
    def _part(self, track: str, title: str) -> Iterator[Part]:
        part = Part(title=title, track=track, began=self._now())
        with self._lock:
            self.parts.append(part)
        self.say(f"{track:<8}| == {title}: begun at {part.began:.0f} s")
        before = _processors()
        try:
            yield part
        finally:
            part.ended = self._now()
            part.busy = _busy(before, _processors())
            outcome = "done" if part.status == 0 else "FAILED"
            self.say(f"{track:<8}| == {title}: {outcome} after {part.ended - part.began:.0f} s")

    def _now(self) -> float:
        return time.monotonic() - self.started


def _send(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to a command and to what it has started and left running."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _processors() -> tuple[int, int] | None:
    """Return the ticks that all processors were idle, and all ticks; None where the system does not tell."""
    if not _STAT.exists():
        return None
    ticks = [int(word) for word in _STAT.read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _busy(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    return 1 - (after[0] - before[0]) / (after[1] - before[1])


def last_line(*command: str) -> str:
    """Return the last line that a command prints; what it says beside goes to the terminal."""
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    return done.stdout.strip().splitlines()[-1]
