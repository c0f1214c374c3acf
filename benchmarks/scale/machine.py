"""Who used the machine's processors between two moments: the operator, the control plane, the benchmark, others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Whose processes are whose, by name of the party."""

    pids: Mapping[str, int]

    def cores(self, before: quiet.Snapshot, after: quiet.Snapshot, seconds: float) -> dict[str, float]:
        """Return the processor time of each party by second, and of all others together under ``others``."""
        known = frozenset(self.pids.values())
        used = {
            name: quiet.usage(before, after, server={pid}, client=known - {pid}).server
            for name, pid in self.pids.items()
        }
        others = quiet.usage(before, after, server=known, client=()).disturbing
        return {name: round(took / seconds, 3) for name, took in {**used, "others": others}.items()}


def memory_megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    return _status_kilobytes(pid, "VmRSS") / 1024


def waited_seconds(pid: int) -> float:
    """Return how long the main thread of a process was ready to run and had no processor, since it began.

    The second number of ``/proc/PID/schedstat``; the event loop runs in that thread.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


def _status_kilobytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
