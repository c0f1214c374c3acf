"""Alert rules and the dashboard: every metric in them exists, every alert has its runbook, and promtool agrees."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.embedded import binaries
from tests.charts.conftest import CHART, ROOT, Manifest, Render

RULES = CHART / "files" / "prometheus" / "rules.yaml"
DASHBOARD = json.loads((CHART / "files" / "grafana" / "dashboard.json").read_text())
UNIT_TESTS = Path(__file__).with_name("rules_test.yaml")
#: What Prometheus puts behind the names of histograms.
SUFFIXES = ("", "_bucket", "_count", "_sum")
#: Labels of serving pods' series, those that scraping adds, and the one of histograms.
EVERYWHERE = {"revision", "model", "model_version", "namespace", "pod", "instance", "job", "le"}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    """Every expression that the dashboard asks, with Grafana's variables filled in."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    return [one.replace("$__rate_interval", "5m").replace("$namespace", ".*") for one in asked]


def documented() -> dict[str, set[str]]:
    """Every metric of docs/metrics.md with its labels."""
    found: dict[str, set[str]] = {}
    labels: set[str] = set()
    for line in (ROOT / "docs" / "metrics.md").read_text().splitlines():
        if match := re.match(r"\| `(penstock_\w+)` \| ([^|]*)\|", line):
            told = match[2].strip()
            labels = labels if told == "the same" else {word.strip() for word in told.split(",") if word.strip()}
            found[match[1]] = labels
    return found


METRICS = {name + suffix: labels for name, labels in documented().items() for suffix in SUFFIXES}


@pytest.mark.parametrize("expression", [*(rule["expr"] for rule in alerts()), *expressions()])
def test_every_metric_and_label_is_one_that_is_documented(expression: str) -> None:
    named = re.findall(r"penstock_\w+", expression)
    assert named
    assert set(named) <= METRICS.keys()
    known = EVERYWHERE.union(*(METRICS[name] for name in named))
    chosen = {label for inner in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)\s*[=!]", inner)}
    grouped = {
        word.strip() for inner in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for word in inner.split(",")
    }
    assert chosen | grouped <= known


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    headings = re.findall(r"^## (Penstock\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"RUNBOOKS#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} < rule["annotations"].keys()


def test_every_alert_is_tested() -> None:
    told = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    fired = {one["alertname"] for test in told for one in test["alert_rule_test"] if one["exp_alerts"]}
    silent = {"PenstockCannotRetrain"}  # of which the test says that it ends in time
    assert fired | silent == {rule["alert"] for rule in alerts()}


@pytest.fixture(scope="session")
def promtool() -> Path:
    return binaries.ensure((binaries.PROMETHEUS,)) / "promtool"


def checked(promtool: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [str(promtool), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules(promtool: Path) -> None:
    assert f"{len(alerts())} rules found" in checked(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_the_rules_fire_when_they_should_and_not_before(promtool: Path, tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path / "rules.yaml")
    shutil.copy(UNIT_TESTS, tmp_path / "rules_test.yaml")
    assert "SUCCESS" in checked(promtool, "test", "rules", tmp_path / "rules_test.yaml")


def test_promtool_takes_every_expression_of_the_dashboard(promtool: Path, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{place}", "expr": expression} for place, expression in enumerate(expressions())]
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in checked(promtool, "check", "rules", file)


def test_no_panel_lies_on_another_and_each_says_what_it_shows() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert all(panel["description"] for panel in panels if panel["type"] != "row")
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def named(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def test_rules_and_dashboard_are_off_unless_asked_for(render: Render) -> None:
    manifests = render()
    assert named(manifests, "PrometheusRule") == []
    assert named(manifests, "ConfigMap") == []


def test_the_rules_come_through_the_chart_as_they_are(render: Render) -> None:
    base = "https://git.example.com/penstock/docs/runbooks.md"
    (rule,) = named(
        render("metrics.rules.enabled=true", "metrics.rules.labels.release=prom", f"metrics.rules.runbooks={base}"),
        "PrometheusRule",
    )
    expected = yaml.safe_load(RULES.read_text().replace("RUNBOOKS#", f"{base}#"))
    assert rule["spec"] == expected
    assert rule["metadata"]["labels"]["release"] == "prom"


def test_the_dashboard_comes_through_the_chart_as_it_is(render: Render) -> None:
    (made,) = named(
        render("metrics.dashboard.enabled=true", "metrics.dashboard.annotations.grafana_folder=Penstock"), "ConfigMap"
    )
    assert json.loads(made["data"]["penstock.json"]) == DASHBOARD
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["annotations"] == {"grafana_folder": "Penstock"}


def test_scraping_keeps_the_namespaces_of_the_objects(render: Render) -> None:
    (monitor,) = named(render("metrics.serviceMonitor.enabled=true"), "ServiceMonitor")
    assert [endpoint["honorLabels"] for endpoint in monitor["spec"]["endpoints"]] == [True]
