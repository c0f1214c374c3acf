"""The chart's alert rules in a real Prometheus that scrapes what the operator really says."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import pytest
from cluster.embedded import binaries
from prometheus_client import generate_latest
from tests.charts.test_monitoring import RULES, alerts

from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.adapters.metrics import Metrics
from penstock_operator.core.objects import Kind

_T = TypeVar("_T")
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [rules.yaml]
scrape_configs:
- {{job_name: penstock-operator, honor_labels: true, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
"""
POLICY: dict[str, Any] = {
    "apiVersion": "penstock.dev/v1alpha1",
    "kind": "DriftPolicy",
    "metadata": {"name": "guard", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
    "status": {
        "alarms": [{"signal": "Inputs", "state": "Firing"}, {"signal": "Inputs", "state": "Firing"}],
        "conditions": [{"type": "Healthy", "status": "False"}],
    },
}


def operator() -> Metrics:
    """An operator that leads and has a policy with two alarms."""
    metrics, cache = Metrics(), ObjectCache()
    cache.put(Kind.DRIFT_POLICY, POLICY)
    metrics.leads(leading=True)
    metrics.watch(cache=cache, last_event={}, queue_depth=lambda: 0, queue_oldest_seconds=lambda: 0.0)
    return metrics


class _Target(BaseHTTPRequestHandler):
    metrics = operator()

    def do_GET(self) -> None:
        body = generate_latest(self.metrics.registry)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


def asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)["data"]


def _is_ready(url: str) -> bool:
    """Return whether it answers questions already: it listens before it does."""
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
            return True
    except OSError:
        return False


def until(holds: Callable[[], _T | None], log: Path, seconds: float = 30.0) -> _T:
    """Return what ``holds`` as soon as it does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address and its log, once it has scraped the operator and evaluated every rule."""
    named = os.environ.get("PENSTOCK_PROMETHEUS")
    program = Path(named) if named else binaries.ensure((binaries.PROMETHEUS,)) / "prometheus"
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copy(RULES, folder / "rules.yaml")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Target) as target:
        Thread(target=target.serve_forever, daemon=True).start()
        (folder / "prometheus.yml").write_text(CONFIG.format(port=target.server_port))
        command = [
            *(str(program), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
            *("--web.listen-address=127.0.0.1:0", "--log.format=json"),
        ]
        log = folder / "log"
        with log.open("wb") as printed, subprocess.Popen(command, stdout=printed, stderr=printed) as process:
            try:
                found = until(lambda: re.search(r'"TLS is disabled.*"address":"([^"]+)"', log.read_text()), log)
                url = f"http://{found[1]}"
                until(lambda: _is_ready(url), log)
                yield url, log
            finally:
                process.terminate()
                target.shutdown()


def test_every_rule_is_evaluated_without_an_error(prometheus: tuple[str, Path]) -> None:
    url, log = prometheus

    def rules() -> list[dict[str, Any]]:
        found = [rule for group in asked(f"{url}/api/v1/rules")["groups"] for rule in group["rules"]]
        return found if found and all(rule["health"] != "unknown" for rule in found) else []

    told = until(rules, log)
    assert {rule["name"] for rule in told} == {rule["alert"] for rule in alerts()}
    assert [rule for rule in told if rule["health"] != "ok"] == []


def test_an_alarm_of_a_policy_fires_and_nothing_else_does(prometheus: tuple[str, Path]) -> None:
    url, log = prometheus

    def firing() -> list[dict[str, Any]]:
        return [one for one in asked(f"{url}/api/v1/alerts")["alerts"] if one["state"] == "firing"]

    (alert,) = until(firing, log)
    labels = {"alertname": "PenstockAlarm", "namespace": "shop", "policy": "guard", "signal": "Inputs"}
    assert labels.items() <= alert["labels"].items()
    assert alert["annotations"]["description"] == "2 signals of class Inputs are beyond their limits."
