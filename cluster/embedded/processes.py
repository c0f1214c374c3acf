"""Daemons that are found again by their record, and ended by their pid only."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02
# Fields 20 and 22 of /proc/PID/stat, counted after the name, which may itself contain blanks.
STAT_THREADS = 17
STAT_START_TIME = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One started process. A pid alone may have been given to another process since; its start time tells."""

    name: str
    pid: int
    start_ticks: int
    boot_id: str
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What to run, and the folder where its record and its log are kept."""

    name: str
    argv: Sequence[str]
    run_dir: Path
    environment: Mapping[str, str] | None = None
    configuration: str = ""
    die_with_parent: bool = False

    @property
    def log_path(self) -> Path:
        """Return the file that gets the daemon's output."""
        return self.run_dir / f"{self.name}.log"

    @property
    def fingerprint(self) -> str:
        """Return a hash of how it is run: its arguments and the content of its configuration file."""
        return hashlib.sha256("\0".join([*self.argv, self.configuration]).encode()).hexdigest()


def is_current(daemon: Daemon) -> bool:
    """Tell whether ``daemon`` runs, and was started in exactly this way."""
    record = find(daemon.run_dir, daemon.name)
    return record is not None and is_alive(record) and record.fingerprint == daemon.fingerprint


def ensure(daemon: Daemon) -> None:
    """Start ``daemon`` unless it runs; one that was started in another way is stopped first."""
    if is_current(daemon):
        return
    if record := find(daemon.run_dir, daemon.name):
        stop(record)
    start(daemon)


def start(daemon: Daemon) -> ProcessRecord:
    """Start ``daemon`` in a session of its own and write its record; its log is appended to."""
    daemon.run_dir.mkdir(parents=True, exist_ok=True)
    argv = list(daemon.argv)
    if daemon.die_with_parent:
        # A test runner that is killed takes its control planes along.
        argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    with daemon.log_path.open("ab") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=daemon.run_dir,
            env={**os.environ, **(daemon.environment or {})},
        )
    # Reaped by `is_alive`; Popen itself would warn about a process that outlives its object.
    process.returncode = 0
    record = ProcessRecord(
        name=daemon.name,
        pid=process.pid,
        start_ticks=_start_ticks(process.pid) or 0,
        boot_id=boot_id(),
        fingerprint=daemon.fingerprint,
    )
    _write_record(daemon.run_dir, record)
    return record


def recorded(run_dir: Path) -> list[ProcessRecord]:
    """Return the records in ``run_dir``, of processes alive and dead."""
    return [record for path in sorted(run_dir.glob("*.pid.json")) if (record := _parse_record(path)) is not None]


def find(run_dir: Path, name: str) -> ProcessRecord | None:
    """Return the record of ``name``, or None where it was never started."""
    return _parse_record(run_dir / f"{name}.pid.json")


def identify(pid: int, name: str = "") -> ProcessRecord | None:
    """Return a record of the process that has ``pid`` now, or None where there is none."""
    start_ticks = _start_ticks(pid)
    if start_ticks is None:
        return None
    return ProcessRecord(name=name, pid=pid, start_ticks=start_ticks, boot_id=boot_id())


def is_alive(record: ProcessRecord) -> bool:
    """Tell whether exactly this process still runs (a zombie does not)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)  # reap, where it is a child of ours
    return boot_id() == record.boot_id and _start_ticks(record.pid) == record.start_ticks


def send(record: ProcessRecord, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; False where it is gone."""
    if not is_alive(record):
        return False
    try:
        os.kill(record.pid, number)
    except ProcessLookupError:
        return False
    return True


def stop(record: ProcessRecord, *, grace_seconds: float = 5.0) -> None:
    """End the process: SIGTERM, then SIGKILL after ``grace_seconds``; returns when it is gone."""
    send(record, signal.SIGCONT)  # a stopped process would keep SIGTERM pending
    if send(record, signal.SIGTERM) and wait_gone(record, timeout_seconds=grace_seconds):
        return
    kill(record)


def kill(record: ProcessRecord) -> None:
    """End the process by SIGKILL; returns when it is gone."""
    if send(record, signal.SIGKILL):
        wait_gone(record, timeout_seconds=10.0)


def wait_gone(record: ProcessRecord, *, timeout_seconds: float) -> bool:
    """Wait until the process is gone; False where it still runs after ``timeout_seconds``."""
    deadline = time.monotonic() + timeout_seconds
    while is_alive(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def forget(run_dir: Path, name: str) -> None:
    """Delete the record of ``name``."""
    (run_dir / f"{name}.pid.json").unlink(missing_ok=True)


def boot_id() -> str:
    """Return the identity of this boot: pids and start times mean nothing across two of them."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def tail(path: Path, *, lines: int = 15) -> str:
    """Return the last lines of a log, or why there are none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"


def _start_ticks(pid: int) -> int | None:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A main thread that is a zombie may have siblings that still hold the ports open.
    has_ended = after_name[0] in "ZX" and int(after_name[STAT_THREADS]) <= 1
    return None if has_ended else int(after_name[STAT_START_TIME])


def _write_record(run_dir: Path, record: ProcessRecord) -> None:
    path = run_dir / f"{record.name}.pid.json"
    partial = path.with_suffix(".partial")
    content = {
        "pid": record.pid,
        "startTicks": record.start_ticks,
        "bootId": record.boot_id,
        "fingerprint": record.fingerprint,
    }
    partial.write_text(json.dumps(content) + "\n")
    partial.rename(path)


def _parse_record(path: Path) -> ProcessRecord | None:
    try:
        raw = json.loads(path.read_text())
        return ProcessRecord(
            name=path.name.removesuffix(".pid.json"),
            pid=int(raw["pid"]),
            start_ticks=int(raw["startTicks"]),
            boot_id=str(raw["bootId"]),
            fingerprint=str(raw.get("fingerprint", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # never written whole: the process it would name was never reported as started
