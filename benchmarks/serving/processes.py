"""One server under test as a process: pinned, its port certainly its own, stopped while another one is measured."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.serving.quiet import PROC, snapshot, tree

HOST = "127.0.0.1"
_READY_SECONDS_MAX = 90.0
_POLL_SECONDS = 0.004
_END_SECONDS_MAX = 8.0
_LISTEN = "0A"
#: What /proc calls kB.
_KERNEL_KILOBYTE = 1024


class ServerFailed(Exception):  # noqa: N818
    """A server under test did not come up, or its port is not its own."""


class ServerProcess:
    """A server and all processes that it started."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], core: int, log: Path) -> None:
        self._log = log
        with log.open("wb") as output, pinned(core):
            self.began = time.perf_counter()
            self._process = subprocess.Popen(
                command, env=dict(environment), stdout=output, stderr=output, cwd=log.parent, start_new_session=True
            )
        self.pid = self._process.pid

    def wait_ready(self, port: int, path: str) -> float:
        """Return the seconds from the start to the first 200 at ``path``; raise ServerFailed."""
        while time.perf_counter() - self.began < _READY_SECONDS_MAX:
            if self._process.poll() is not None:
                raise ServerFailed(f"it ended with status {self._process.returncode}:\n{self._last_words()}")
            if _answers(port, path):
                seconds = time.perf_counter() - self.began
                self.check_owns(port)
                return seconds
            time.sleep(_POLL_SECONDS)
        raise ServerFailed(f"not ready after {_READY_SECONDS_MAX:.0f} s at {path}:\n{self._last_words()}")

    def check_owns(self, port: int) -> None:
        """Raise ServerFailed unless every socket that listens on the port is held by this server, and one is."""
        inodes = listening_inodes(port)
        held = {inode for pid in self._pids() for inode in _socket_inodes(pid)}
        if not inodes or not inodes <= held:
            raise ServerFailed(f"port {port} is not (only) its own: somebody else answers there")

    def pause(self) -> None:
        """Stop every process, so that it takes no time from the one that is measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._signal(signal.SIGCONT)

    def resident_megabytes(self) -> float:
        """Return the memory in use: all of the largest process, of the others what they do not share."""
        sizes = [size for size in map(_memory, self._pids()) if size is not None]
        if not sizes:
            return 0.0
        largest = max(sizes)
        return (sum(private for _, private in sizes) - largest[1] + largest[0]) * _KERNEL_KILOBYTE / 1e6

    def end(self) -> None:
        """End every process, gently first."""
        self.resume()
        pids = self._pids()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS_MAX)
        for pid in pids | self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def _pids(self) -> frozenset[int]:
        return tree(snapshot().processes, self.pid)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace").rstrip()[-2000:]


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """What is started inside runs on that core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def listening_inodes(port: int, proc: Path = PROC) -> set[str]:
    """Return the inodes of the sockets that listen on a TCP port, IPv4 and IPv6."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found


def _socket_inodes(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(FileNotFoundError, PermissionError):
        for entry in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


def _memory(pid: int) -> tuple[int, int] | None:
    """Return the resident and the private kilobytes of a process."""
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return None
    kilobytes = {}
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        kilobytes[name] = int(rest.split()[0])
    return kilobytes["Rss"], kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return response.status == http.client.OK
    finally:
        connection.close()
