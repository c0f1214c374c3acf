"""``kubectl penstock`` at a live rollout."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cluster.api import Manifest, wait
from tests.cluster.scene import Scene

pytestmark = pytest.mark.cluster

PLUGIN = Path(sys.executable).with_name("kubectl-penstock")
SCHEDULE: list[Manifest] = [{"weight": 25, "hold": "600s"}, {"weight": 50}, {"pause": {}}, {"weight": 100}]


class Plugin:
    """Runs the plugin as kubectl does."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __call__(self, *arguments: str) -> str:
        where = ["--kubeconfig", str(self._scene.api.kubeconfig), "-n", self._scene.namespace]
        done = subprocess.run([PLUGIN, *arguments, *where], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, *arguments: str) -> str:
        where = ["--kubeconfig", str(self._scene.api.kubeconfig), "-n", self._scene.namespace]
        done = subprocess.run([PLUGIN, *arguments, *where], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1, f"{arguments}: {done.stdout}"
        return done.stderr


class TestCommands:
    lasts_seconds = 75

    def test_a_rollout_is_shown_held_let_go_aborted_tried_again_and_promoted(self, scene: Scene) -> None:
        plugin = Plugin(scene)
        scene.serve(replicas=1)
        scene.split(schedule=SCHEDULE, policies=False)
        assert "nothing" in plugin.refused("resume", "tumor")
        candidate = scene.change_model("tumor-v2.onnx", "2")
        wait("the canary has traffic", lambda: scene.weight() == 25, seconds=60, picture=scene.picture)
        shown = plugin("status")
        assert candidate in shown
        assert "25" in shown

        assert "held at 25%" in plugin("pause", "tumor")
        assert scene.status("TrafficSplit")["phase"] == "Paused"
        assert "paused" in plugin("status").lower()
        assert "going on" in plugin("resume", "tumor")

        assert f"{candidate} taken back" in plugin("abort", "tumor")
        status = scene.wait_phase(candidate, "RolledBack")
        assert status["rejected"][0]["reason"] == "Aborted"
        assert candidate in plugin("status")

        assert "may be tried again" in plugin("retry", "tumor")
        wait("it is tried again", lambda: scene.weight() == 25, seconds=60, picture=scene.picture)
        assert "last step" in plugin("promote", "tumor", "--full")
        scene.wait_phase(candidate, "Promoted")
        last = scene.status("TrafficSplit")["lastCommand"]
        assert (last["verb"], last["by"]) == ("promote", "kubernetes-admin")
        assert scene.status("TrafficSplit")["stableRevision"] == candidate

    def test_a_pause_step_is_opened_by_a_person(self, scene: Scene) -> None:
        plugin = Plugin(scene)
        steps = [{"weight": 50}, {"pause": {}}, {"weight": 100}]
        patch = {"spec": {"strategy": {"steps": steps}}}
        scene.api.merge("TrafficSplit", "tumor", scene.namespace, patch)
        candidate = scene.change_model("tumor-v1.onnx", "again")
        scene.wait_phase(candidate, "Paused")
        assert scene.weight() == 50
        plugin("promote", "tumor")
        scene.wait_phase(candidate, "Promoted")

    def test_a_person_goes_back_to_the_revision_before_whose_pods_start_first(self, scene: Scene) -> None:
        plugin = Plugin(scene)
        newest = scene.status("TrafficSplit")["stableRevision"]
        promoted = [entry for entry in scene.status("TrafficSplit")["history"] if entry["outcome"] == "Promoted"]
        before = promoted[0]["stable"]
        wait(
            "the old pods are gone",
            lambda: scene.pods(f"penstock.dev/revision={before}") == [],
            seconds=90,
            picture=scene.picture,
        )
        assert "there are: " in plugin.refused("rollback", "tumor", "--to", "tumor-00000000")
        assert f"going back to {before}" in plugin("rollback", "tumor")
        status = scene.wait_phase(newest, "RolledBack", seconds=90)
        assert status["stableRevision"] == before
        assert (status["history"][0]["revision"], status["history"][0]["outcome"]) == (newest, "RolledBack")
        assert newest in plugin("status")

    def test_what_was_on_trial_when_its_split_is_deleted_does_not_become_stable_by_itself(self, scene: Scene) -> None:
        stable = scene.status("TrafficSplit")["stableRevision"]
        candidate = scene.change_model("tumor-v2.onnx", "on trial")
        wait("it is on trial", lambda: scene.weight() == 50, seconds=60, picture=scene.picture)
        scene.delete("TrafficSplit")
        wait(
            "the candidate is unproven",
            lambda: scene.stalled("ModelDeployment").get("reason") == "RevisionUnproven",
            seconds=60,
            picture=scene.picture,
        )
        assert candidate in scene.stalled("ModelDeployment")["message"]
        assert scene.status("ModelDeployment")["stableRevision"] == stable
