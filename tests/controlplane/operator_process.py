"""An operator in a process of its own, as in its pod."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path


class OperatorProcess:
    """Starts ``python -m penstock_operator``; can be frozen, continued, asked to stop and killed."""

    def __init__(
        self, name: str, *, kubeconfig: Path, namespace: str, log: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.ops_port, self.xds_port = _free_port(), _free_port()
        settings = {
            "KUBECONFIG": str(kubeconfig),
            "OPERATOR_NAMESPACE": namespace,
            "WATCH_NAMESPACES": namespace,
            "POD_NAME": name,
            "OPS_PORT": str(self.ops_port),
            "XDS_PORT": str(self.xds_port),
            "XDS_ADDRESS": f"127.0.0.1:{self.xds_port}",
            "TICK_SECONDS": "0.5",
            **(environment or {}),
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "penstock_operator"], env={**inherited, **settings}, stderr=output, stdout=output
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait(self, seconds: float) -> int:
        """Return the exit status."""
        return self._process.wait(seconds)

    def running(self) -> bool:
        return self._process.poll() is None

    def get(self, path: str) -> tuple[int, str]:
        """Ask the ops port; status 0 while nobody answers there."""
        connection = HTTPConnection("127.0.0.1", self.ops_port, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def metric(self, line: str) -> float | None:
        """Return the value of a metric, named with its labels as exposed."""
        for text in self.get("/metrics")[1].splitlines():
            if text.startswith(f"{line} "):
                return float(text.rpartition(" ")[2])
        return None

    def wait_until_ready(self, seconds: float = 30) -> None:
        self._wait(lambda: self.get("/readyz")[0] == 200, "ready", seconds)

    def wait_until_leading(self, seconds: float = 30) -> None:
        self.wait_until_ready(seconds)
        self._wait(lambda: self.metric("penstock_leader") == 1, "leading", seconds)

    def _wait(self, holds: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if not self.running() or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} is not {what}:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
