"""A spec that asks for the revision that is stable already: no rollout, the condition says so, traffic stays."""

import pytest
from tests.cluster.api import Manifest, condition, wait
from tests.cluster.scene import Scene, Traffic
from tests.cluster.stage import unharmed

pytestmark = pytest.mark.cluster

#: Long enough to be changed in the middle.
SCHEDULE: list[Manifest] = [{"weight": 25, "hold": "600s"}, {"weight": 100}]


@pytest.fixture(scope="class")
def traffic(scene: Scene) -> Traffic:
    """A client of a model behind a split without policies."""
    scene.serve(replicas=1)
    scene.split(schedule=SCHEDULE, policies=False)
    asked = scene.ask(rate=100)
    asked.wait_until_routed()
    return asked


def says_that_all_is_served_by(scene: Scene, stable: str) -> bool:
    """Return whether split and ModelDeployment say that nothing is under way."""
    split, ready = scene.status("TrafficSplit"), condition(scene.get("TrafficSplit"), "Ready")
    served = (ready.get("status"), ready.get("reason"), ready.get("message"))
    at_rest = served == ("True", "Ready", f"{stable} serves all requests") and split["phase"] == "Idle"
    weights = split.get("weights") == [{"revision": stable, "weight": 100}]
    return at_rest and weights and condition(scene.get("ModelDeployment"), "Ready").get("status") == "True"


class TestCandidateEqualToStable:
    lasts_seconds = 40

    def test_a_change_that_makes_no_other_revision_starts_no_rollout(self, scene: Scene, traffic: Traffic) -> None:
        stable = scene.status("ModelDeployment")["stableRevision"]
        patch = {"spec": {"replicas": 2, "revisionHistoryLimit": 5}}
        with unharmed(traffic):
            scene.api.merge("ModelDeployment", "tumor", scene.namespace, patch)
            wait("both pods serve", lambda: says_that_all_is_served_by(scene, stable), seconds=60)
        assert scene.status("ModelDeployment")["latestRevision"] == stable
        assert "candidates" not in scene.status("TrafficSplit")
        assert "history" not in scene.status("TrafficSplit")

    def test_a_spec_that_goes_back_to_stable_in_a_rollout_withdraws_the_candidate(
        self, scene: Scene, traffic: Traffic
    ) -> None:
        stable = scene.status("ModelDeployment")["stableRevision"]
        with unharmed(traffic):
            candidate = scene.change_model("tumor-v2.onnx", "2")
            wait("the canary has traffic", lambda: scene.weight() == 25, seconds=60, picture=scene.picture)
            wait("it answers", lambda: traffic.read().asked(candidate) > 0, seconds=30, picture=scene.picture)
            assert scene.change_model("tumor-v1.onnx", "1") == stable
            wait("it is told", lambda: says_that_all_is_served_by(scene, stable), seconds=30, picture=scene.picture)
            traffic.wait_for_more(100)
            answered = traffic.asked(candidate)
        assert traffic.asked(candidate) == answered
        last = scene.status("TrafficSplit")["history"][0]
        assert (last["revision"], last["outcome"]) == (candidate, "Withdrawn")
        assert "candidates" not in scene.status("TrafficSplit")
        wait("its pods go", lambda: len(scene.pods()) == 2, seconds=60, picture=scene.picture)
