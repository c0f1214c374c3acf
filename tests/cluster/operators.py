"""The operator's replicas as processes of this machine: who leads, what they use, what they wrote."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.cluster.api import Api, Manifest, wait

NAMESPACE = "penstock-system"
NAME = "penstock-operator"
SELECTOR = f"app.kubernetes.io/name={NAME}"
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


class Operators:
    """Looks at and does things to the replicas."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def pods(self) -> list[Manifest]:
        """Return the pods that are not on their way out."""
        found = self._api.list("Pod", NAMESPACE, SELECTOR)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def holder(self) -> str:
        """Return the identity of the leading process, or an empty string."""
        lease = self._api.get("Lease", NAME, NAMESPACE) or {}
        return str(lease.get("spec", {}).get("holderIdentity") or "")

    def leader(self) -> str:
        """Return the name of the leading pod, or an empty string."""
        return self.holder().partition("_")[0]

    def wait_ready(self, replicas: int = 2, *, seconds: float = 120.0) -> None:
        """Wait until all replicas are ready and one of them leads."""

        def there() -> bool:
            ready = [pod["metadata"]["name"] for pod in self.pods() if _is_ready(pod)]
            return len(ready) == replicas and (replicas == 0 or self.leader() in ready)

        wait(f"{replicas} operator replicas are ready", there, seconds=seconds)

    def scale(self, replicas: int) -> None:
        """Set how many replicas there are, and wait until it is so."""
        self._api.merge("Deployment", NAME, NAMESPACE, {"spec": {"replicas": replicas}})
        self.wait_ready(replicas)

    def unready(self) -> list[str]:
        """Return the pods that are not ready."""
        return [pod["metadata"]["name"] for pod in self.pods() if not _is_ready(pod)]

    def replace_if_restarted(self, pod: str) -> None:
        """Delete a pod whose container was started again before; its Deployment makes another one.

        The kubelet would start it again only after pauses of up to minutes.
        """
        found = self._api.get("Pod", pod, NAMESPACE) or {}
        if any(status["restartCount"] for status in found.get("status", {}).get("containerStatuses", [])):
            self._api.delete("Pod", pod, NAMESPACE, grace_seconds=0)

    def pid(self, pod: str) -> int | None:
        """Return the process of a pod's operator container, found by the environment that Kubernetes gave it."""
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and _environment(folder).get("POD_NAME") == pod:
                return int(folder.name)
        return None

    def send(self, pod: str, number: signal.Signals) -> int | None:
        """Send a signal to a pod's operator process; return the process, or None where there is none."""
        pid = self.pid(pod)
        if pid is not None:
            os.kill(pid, number)
        return pid


def _is_ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _environment(folder: Path) -> dict[str, str]:
    try:
        entries = (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (entry.decode(errors="replace").partition("=") for entry in entries)
    return {key: value for key, _, value in pairs}


def is_alive(pid: int) -> bool:
    """Return whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def memory_megabytes(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write that the API server carried out for the operator."""

    pod: str
    verb: str
    what: str
    at: float


class AuditLog:
    """What the API server has answered since this object was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._since = time.time()

    def writes(self, *, accepted_only: bool = True) -> Iterator[Write]:
        """Yield the operator's writes, without those that keep its Lease."""
        for line in lines(self._path, b"penstock-operator (", since=self._since):
            entry = json.loads(line)
            if _is_write(entry) and (not accepted_only or entry["responseStatus"]["code"] < 400):
                write = _write(entry)
                if write.at >= self._since:
                    yield write


def lines(path: Path, about: bytes, *, since: float = 0.0) -> Iterator[bytes]:
    """Yield the whole lines of an audit log that contain ``about``, also of its files that were rotated away.

    Files that were not written to ``since`` then are left out.
    """
    for file in sorted(path.parent.glob(f"{path.stem}*{path.suffix}")):
        if file.stat().st_mtime < since:
            continue
        with file.open("rb") as log:
            yield from (line for line in log if about in line and line.endswith(b"\n"))


def _is_write(entry: Manifest) -> bool:
    agent = str(entry.get("userAgent", ""))
    about = entry.get("objectRef", {})
    return agent.startswith("penstock-operator (") and entry["verb"] in _WRITES and about.get("resource") != "leases"


def _write(entry: Manifest) -> Write:
    about = entry.get("objectRef", {})
    parts = (about.get(field, "") for field in ("resource", "namespace", "name", "subresource"))
    return Write(
        pod=entry["userAgent"].partition("(")[2].rstrip(")"),
        verb=entry["verb"],
        what="/".join(part for part in parts if part),
        at=datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp(),
    )
