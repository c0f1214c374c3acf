"""The manifests of the pages about strategies, applied as they are: what each page promises, under traffic."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from examples.quickstart.quickstart import MODELS
from tests.cluster.api import Manifest, wait
from tests.cluster.scene import Scene, Traffic
from tests.cluster.stage import unharmed
from tests.cluster.test_commands import Plugin

pytestmark = pytest.mark.cluster

PAGES = Path(__file__).parents[2] / "docs" / "tasks"


def manifests(page: str) -> Iterator[Manifest]:
    """Yield the objects that a page shows, in its order."""
    for block in re.findall(r"```yaml\n(.*?)```", (PAGES / page).read_text(), re.DOTALL):
        yield from yaml.safe_load_all(block)


def apply_page(scene: Scene, page: str) -> None:
    """Apply what a page shows; the split is ready with it."""
    generation = 0
    for manifest in manifests(page):
        applied = scene.apply(manifest)
        if manifest["kind"] == "TrafficSplit":
            generation = applied["metadata"]["generation"]

    def seen() -> bool:
        return int(scene.status("TrafficSplit").get("observedGeneration", -1)) >= generation

    wait("the operator has seen the page", seen, seconds=60, picture=scene.picture)
    scene.wait_ready("TrafficSplit")


def answered_by(scene: Scene, **headers: str) -> str:
    """Return the version of the model that answers a request with these headers."""
    rows = json.loads((MODELS / "rows.json").read_text())
    asked = {"name": rows["input"], "shape": [1, 30], "datatype": "FP32", "data": rows["rows"][0]["x"]}
    where = f"/api/v1/namespaces/{scene.namespace}/services/tumor:80/proxy/v2/models/tumor/infer"
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    status, text = scene.api.raw("POST", where, {"inputs": [asked]}, headers=sent)
    assert status == 200, text
    return str(json.loads(text)["model_version"])


def verdicts(scene: Scene, revision: str) -> dict[str, Any]:
    """Return what each metric says of a revision."""
    told = scene.status("TrafficSplit").get("analysis", [])
    return {one["metric"]: one.get("verdict") for one in told if one.get("revision") == revision}


def outcomes(scene: Scene) -> list[tuple[str, str]]:
    """Return how the trials ended, newest first."""
    return [(entry["revision"], entry["outcome"]) for entry in scene.status("TrafficSplit").get("history", [])]


@pytest.fixture(scope="class")
def traffic(scene: Scene, request: pytest.FixtureRequest) -> Traffic:
    """A client of the quickstart's model behind the split of the class's first page."""
    scene.serve(replicas=1)
    apply_page(scene, request.cls.first_page)
    asked = scene.ask(rate=80)
    asked.wait_until_routed()
    return asked


class TestShadowAndCanary:
    lasts_seconds = 100
    first_page = "shadow.md"

    def test_a_shadow_answers_nobody_and_is_compared(self, scene: Scene, traffic: Traffic) -> None:
        plugin = Plugin(scene)
        with unharmed(traffic):
            shadow = scene.change_model("tumor-v2.onnx", "2")
            wait(
                "its answers were compared and its copies counted",
                lambda: verdicts(scene, shadow) == {"disagreement": "Pass", "errors": "Pass"},
                seconds=90,
                picture=scene.picture,
            )
            status = scene.status("TrafficSplit")
            assert [(one["revision"], one["weight"]) for one in status["candidates"]] == [(shadow, 0)]
            assert traffic.read().asked(shadow) == 0
            assert answered_by(scene) == "1"
            plugin("promote", "tumor")
            scene.wait_phase(shadow, "Promoted", seconds=60)
            wait("it answers", lambda: answered_by(scene) == "2", seconds=10, picture=scene.picture)

    def test_a_canary_rises_by_evidence_and_waits_for_a_person(self, scene: Scene, traffic: Traffic) -> None:
        plugin = Plugin(scene)
        apply_page(scene, "canary.md")
        with unharmed(traffic):
            canary = scene.change_model("tumor-v1.onnx", "3")
            scene.wait_phase(canary, "Paused", seconds=120)
            assert scene.weight() == 50
            share = scene.status("TrafficSplit")["candidates"][0].get("realisedShare", 0.5)
            assert 0.3 < share < 0.7
            plugin("promote", "tumor")
            scene.wait_phase(canary, "Promoted", seconds=60)
        assert traffic.read().asked(canary) > 100


class TestBlueGreenAndChallengers:
    lasts_seconds = 125
    first_page = "blue-green.md"

    def test_blue_green_shows_the_new_one_to_a_header_moves_all_at_once_and_back(
        self, scene: Scene, traffic: Traffic
    ) -> None:
        plugin = Plugin(scene)
        blue = scene.status("TrafficSplit")["stableRevision"]
        with unharmed(traffic):
            green = scene.change_model("tumor-v2.onnx", "4")
            scene.wait_phase(green, "Paused", seconds=90)
            wait("the header finds it", lambda: answered_by(scene, x_preview="yes") == "4", seconds=20)
            assert answered_by(scene) == "1"
            assert traffic.read().asked(green) == 0
            plugin("promote", "tumor")
            status = scene.wait_phase(green, "Promoted", seconds=60)
            assert status["watch"]["revision"] == blue, "kept to return to"
            assert answered_by(scene) == "4"
        bad = scene.change_model("tumor-v3-errors.onnx", "5")
        scene.wait_phase(bad, "Paused", seconds=90)
        plugin("promote", "tumor")
        scene.wait_phase(bad, "RolledBack", seconds=60)
        traffic.wait_for_more(100)
        assert outcomes(scene)[:2] == [(bad, "RolledBack"), (green, "Promoted")]
        assert traffic.failed_otherwise({bad}) == {}
        with unharmed(traffic):
            assert scene.change_model("tumor-v2.onnx", "4") == green
            scene.wait_ready("ModelDeployment", seconds=60)

    def test_of_several_challengers_the_bad_one_drops_out_and_the_good_one_wins(
        self, scene: Scene, traffic: Traffic
    ) -> None:
        before = traffic.read().failures()
        # Both challengers begin together: where the node has no room for one of them yet, the other would win alone.
        challengers = [one for one in manifests("ab-test.md") if one["kind"] == "ModelDeployment"]
        for challenger in challengers:
            scene.apply(challenger)
        for challenger in challengers:
            scene.wait_ready("ModelDeployment", challenger["metadata"]["name"])
        apply_page(scene, "ab-test.md")

        expected = {("tumor-deep", "Promoted"), ("tumor-wide", "RolledBack")}

        def ended() -> bool:
            return {(name.rpartition("-")[0], outcome) for name, outcome in outcomes(scene)[:2]} == expected

        wait("the test is over", ended, seconds=150, picture=scene.picture)
        deep = scene.status("ModelDeployment", "tumor-deep")["stableRevision"]
        wide = scene.status("ModelDeployment", "tumor-wide")["stableRevision"]
        assert scene.status("TrafficSplit")["stableRevision"] == deep
        wait("the winner answers everybody", lambda: answered_by(scene) == "deep", seconds=10, picture=scene.picture)
        traffic.wait_for_more(200)
        assert {key.split()[0] for key in traffic.failures() - before} <= {wide}
