"""A real Alertmanager beside the cluster, where pods reach it, and what it knows."""

import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster.embedded import binaries
from tests.cluster.api import wait

#: The node's own address on the pods' network, where pods reach what runs beside the cluster.
NODE = "10.244.0.1"
_CONFIG = """
route: {receiver: nobody, group_by: [alertname, policy], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: nobody}]
"""


class Alertmanager:
    """Asks what alerts stand."""

    def __init__(self, base: str) -> None:
        self._base = base

    @property
    def url(self) -> str:
        """Where alerts are sent to."""
        return f"{self._base}/api/v2/alerts"

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Return the alerts that stand and have these labels."""
        with urllib.request.urlopen(self.url, timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return [one for one in found if labels.items() <= one["labels"].items()]


@contextmanager
def running(folder: Path, host: str = NODE) -> Iterator[Alertmanager]:
    """Run an Alertmanager until the block ends."""
    program = binaries.ensure((binaries.ALERTMANAGER,)) / "alertmanager"
    try:
        with socket.create_server((host, 0)) as probe:
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip(f"needs a node that is this machine ({host}): CLUSTER=embedded")
    config = folder / "alertmanager.yaml"
    config.write_text(_CONFIG)
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.path={folder}",
        f"--web.listen-address={host}:{port}",
    ]
    with (folder / "alertmanager.log").open("w") as log:
        process = subprocess.Popen([*command, "--cluster.listen-address="], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait("Alertmanager listens", lambda: _listens(host, port), seconds=20)
        yield Alertmanager(f"http://{host}:{port}")
    finally:
        process.terminate()
        process.wait(10)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True
