"""The control group that all pods live in."""

import os
import signal
import time
from pathlib import Path

ROOT_NAME = "penstock"
ROOT = f"/{ROOT_NAME}"
MOUNTS = Path("/proc/self/mounts")
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.05


def hierarchies(mounts: str) -> list[tuple[Path, frozenset[str]]]:
    r"""Return (mount point, options) of each control group hierarchy in the text of /proc/self/mounts.

    >>> [str(path) for path, _ in hierarchies("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\nproc /proc proc rw 0 0")]
    ['/sys/fs/cgroup/cpu']
    """
    fields = (line.split() for line in mounts.splitlines())
    return [(Path(field[1]), frozenset(field[3].split(","))) for field in fields if field[2] in ("cgroup", "cgroup2")]


def prepare() -> None:
    """Make the root group in each hierarchy; kubelet wants it to be there."""
    for mount, options in hierarchies(MOUNTS.read_text()):
        group = mount / ROOT_NAME
        group.mkdir(exist_ok=True)
        if "cpuset" in options:
            # A new cpuset is empty, and nothing may run in it.
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not (group / name).read_text().strip():
                    (group / name).write_text((mount / name).read_text())


def kill_all() -> None:
    """Kill every process in our groups: containers, and nothing else ever runs there."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (pids := _pids()) and time.monotonic() < deadline:
        for pid in pids:
            _kill(pid)
        time.sleep(POLL_SECONDS)


def remove() -> None:
    """Delete our groups, the inner ones first."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (groups := _groups()) and time.monotonic() < deadline:
        # A group can be busy for a moment after its last process is gone.
        if not all([_removed(group) for group in groups]):  # noqa: C419  # each one is tried
            time.sleep(POLL_SECONDS)


def _groups() -> list[Path]:
    found: list[Path] = []
    for mount, _ in hierarchies(MOUNTS.read_text()):
        found += [Path(folder) for folder, _, _ in os.walk(mount / ROOT_NAME, topdown=False)]
    return found


def _pids() -> set[int]:
    pids: set[int] = set()
    for group in _groups():
        try:
            pids.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
        except OSError:
            continue  # gone in the meantime
    return pids - {0, os.getpid()}


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
