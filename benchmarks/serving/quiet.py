"""Was the machine quiet: who used CPU during a round, read from /proc."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
#: Foreign CPU time per second of a round from which on the round is repeated. 0.03 of one core moves a figure by at
#: most about 3%; a desktop or a system service that wakes up now and then stays below.
FOREIGN_SHARE_MAX = 0.03
#: /proc counts in ticks of 10 ms, for each process and each core separately: that much may be rounding.
_ROUNDING_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What /proc/PID/stat says of one process. ``began`` tells a process from a later one with the same id."""

    parent: int
    session: int
    name: str
    cpu_seconds: float
    began: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All processes, and what the hypervisor took, at one moment."""

    processes: Mapping[int, Process]
    stolen_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """CPU seconds between two snapshots: the server's, the client's, everybody else's by name, the hypervisor's."""

    server: float
    client: float
    foreign: Mapping[str, float]
    stolen: float

    @property
    def disturbing(self) -> float:
        """CPU seconds that neither server nor client had."""
        return sum(self.foreign.values()) + self.stolen


def snapshot(proc: Path = PROC) -> Snapshot:
    """Read the processes that exist now."""
    processes = {}
    for entry in os.scandir(proc):
        if entry.name.isdecimal():
            process = _process(Path(entry.path))
            if process is not None:
                processes[int(entry.name)] = process
    first_line = (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0]
    return Snapshot(processes=processes, stolen_seconds=int(first_line.split()[8]) / _TICKS_PER_SECOND)


def tree(processes: Mapping[int, Process], root: int) -> frozenset[int]:
    """Return a process, everything in the session that it leads, and all their descendants."""
    found = {pid for pid, process in processes.items() if root in (pid, process.session)}
    while True:
        more = {pid for pid, process in processes.items() if process.parent in found} - found
        if not more:
            return frozenset(found)
        found |= more


def usage(before: Snapshot, after: Snapshot, *, server: Collection[int], client: Collection[int]) -> Usage:
    """Return who used how much CPU between two snapshots; a process that ended meanwhile is lost."""
    used = {"server": 0.0, "client": 0.0}
    foreign: dict[str, float] = {}
    for pid, process in after.processes.items():
        earlier = before.processes.get(pid)
        known = earlier is not None and earlier.began == process.began
        seconds = process.cpu_seconds - (earlier.cpu_seconds if known and earlier else 0.0)
        if pid in server:
            used["server"] += seconds
        elif pid in client:
            used["client"] += seconds
        elif seconds > 0:
            foreign[process.name] = foreign.get(process.name, 0.0) + seconds
    stolen = after.stolen_seconds - before.stolen_seconds
    return Usage(server=used["server"], client=used["client"], foreign=foreign, stolen=stolen)


def disturbance(used: Usage, seconds: float) -> str | None:
    """Return who disturbed a round of that length, as a person should read it; None where it was quiet.

    >>> quiet = Usage(server=1, client=0.5, foreign={"sshd": 0.01}, stolen=0)
    >>> disturbance(quiet, 1.5) is None
    True
    >>> disturbance(Usage(server=1, client=0.5, foreign={"cc1": 0.4, "make": 0.1}, stolen=0.1), 2)
    'cc1 0.40 s, make 0.10 s, the hypervisor 0.10 s of 2.0 s'
    """
    if used.disturbing - _ROUNDING_SECONDS <= FOREIGN_SHARE_MAX * seconds:
        return None
    worst = sorted(used.foreign.items(), key=lambda item: -item[1])[:3]
    said = [f"{name} {took:.2f} s" for name, took in worst]
    if used.stolen > 0:
        said.append(f"the hypervisor {used.stolen:.2f} s")
    return f"{', '.join(said)} of {seconds:.1f} s"


def _process(folder: Path) -> Process | None:
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # it ended while we looked
    name_end = text.rindex(")")  # the name may hold blanks and brackets
    rest = text[name_end + 2 :].split()
    return Process(
        parent=int(rest[1]),
        session=int(rest[3]),
        name=text[text.index("(") + 1 : name_end],
        cpu_seconds=(int(rest[11]) + int(rest[12])) / _TICKS_PER_SECOND,
        began=int(rest[19]),
    )
