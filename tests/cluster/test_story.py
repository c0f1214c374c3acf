"""The whole story under load: a model served, a good canary promoted, three bad ones kept out, and nobody noticed."""

import pytest
from tests.cluster.api import wait
from tests.cluster.scene import STEPS, Scene, Traffic, keep, steps, unix
from tests.cluster.stage import unharmed

pytestmark = pytest.mark.cluster

#: A promise to the user, also where other tests run beside this one.
ROLLBACK_SECONDS = 1.0
#: The endpoint answers whatever it is called: by port-forward, ingress, another DNS name, an address.
HOSTS = "tumor,localhost:8080,fraud.example.com,10.96.0.99,UPPER.Case:1"


def weights_of(scene: Scene, revision: str) -> list[int]:
    """Return the weights that a candidate has until its rollout is over, in their order."""
    seen: list[int] = []

    def over() -> bool:
        status = scene.status("TrafficSplit")
        candidates = [entry for entry in status.get("candidates", []) if entry["revision"] == revision]
        if candidates and candidates[0].get("weight", 0) not in [0, *seen]:
            seen.append(candidates[0]["weight"])
        return any(entry["revision"] == revision for entry in status.get("history", [])[:1])

    wait(f"the rollout of {revision} is over", over, seconds=180, picture=scene.picture)
    return seen


def rollback_seconds(scene: Scene, traffic: Traffic, revision: str) -> float:
    """Return the seconds from the deciding tick until the last request was sent that the candidate answered."""
    traffic.wait_for_more(300)
    rejected = scene.status("TrafficSplit")["rejected"][0]
    assert rejected["revision"] == revision
    return round(max(0.0, traffic.sent.get(revision, 0.0) - unix(rejected["at"])), 3)


class TestStory:
    lasts_seconds = 145

    def test_good_models_are_served_and_bad_ones_kept_out_without_a_request_lost(self, scene: Scene) -> None:
        figures: dict[str, object] = {}
        scene.apply(scene.deployment())
        wait("the first right answer", scene.answers_right, seconds=120, picture=scene.picture)
        scene.wait_ready("ModelDeployment")
        traffic = scene.ask(rate=150, HOSTS=HOSTS)
        address = scene.get("Service")["spec"]["clusterIP"]
        scene.split()
        traffic.wait_until_routed()
        assert scene.get("Service")["spec"]["clusterIP"] == address

        good = scene.change_model("tumor-v2.onnx", "2")
        assert weights_of(scene, good) == list(STEPS)
        assert scene.wait_phase(good, "Promoted")["stableRevision"] == good
        wait("the old revision goes", lambda: len(scene.pods()) == 2, seconds=120, picture=scene.picture)
        scene.wait_ready("ModelDeployment")

        failing = scene.change_model("tumor-v3-errors.onnx", "3")
        status = scene.wait_phase(failing, "RolledBack")
        assert status["rejected"][0]["by"] == "tumor-guard/errors"
        assert status["stableRevision"] == good
        figures["errors_taken_back_after_seconds"] = errors = rollback_seconds(scene, traffic, failing)

        slow = scene.change_model("tumor-v4-slow.onnx", "4")
        status = scene.wait_phase(slow, "RolledBack")
        assert status["rejected"][0]["by"] == "tumor-guard/slower"
        assert "p90" in status["rejected"][0]["message"]
        figures["slow_taken_back_after_seconds"] = slowness = rollback_seconds(scene, traffic, slow)

        broken = scene.change_model("tumor-v5-broken.onnx", "5")
        scene.wait_phase(broken, "Failed")
        assert "QuantumNormalize" in scene.stalled("TrafficSplit")["message"]
        assert traffic.read().asked(broken) == 0

        assert scene.change_model("tumor-v2.onnx", "2") == good
        scene.wait_ready("ModelDeployment", seconds=30)
        traffic.wait_for_more(300)
        told = "\n".join(scene.events())
        for words in (f"{good} is the stable revision now", f"{failing} taken back", f"{slow} taken back"):
            assert words in told
        failures = traffic.failures()
        figures["requests"] = traffic.total()
        figures["failed_by_bad_models"] = {key: n for key, n in failures.items() if key.split()[0] in {failing, slow}}
        figures["failed_otherwise"] = otherwise = traffic.failed_otherwise({failing, slow})
        keep("rollout.json", figures)
        assert otherwise == {}
        assert max(errors, slowness) <= ROLLBACK_SECONDS


@pytest.fixture(scope="class")
def traffic(scene: Scene) -> Traffic:
    """A client of a model behind a split."""
    scene.serve()
    scene.split(schedule=steps(25, 100))
    asked = scene.ask(rate=100)
    asked.wait_until_routed()
    return asked


class TestDisturbances:
    lasts_seconds = 75

    @pytest.mark.parametrize(
        "selector", ["penstock.dev/model-deployment=tumor", "app.kubernetes.io/name=penstock-router"]
    )
    def test_pods_that_are_deleted_finish_what_they_began(self, scene: Scene, traffic: Traffic, selector: str) -> None:
        with unharmed(traffic):
            for pod in scene.pods(selector):
                scene.delete("Pod", pod)
                wait("another is ready", lambda: ready(scene, selector) == 2, seconds=90, picture=scene.picture)

    def test_a_split_that_is_deleted_and_made_again_moves_the_endpoint_and_loses_nothing(
        self, scene: Scene, traffic: Traffic
    ) -> None:
        address = scene.get("Service")["spec"]["clusterIP"]
        with unharmed(traffic):
            scene.delete("TrafficSplit")
            wait("answers come directly", lambda: is_direct(traffic), seconds=90, picture=scene.picture)
            scene.split(schedule=steps(25, 100))
            traffic.wait_until_routed()
        assert scene.get("Service")["spec"]["clusterIP"] == address


def ready(scene: Scene, selector: str) -> int:
    """Return how many pods are ready and not on their way out."""
    found = scene.api.list("Pod", scene.namespace, selector)
    staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    conditions = [item for pod in staying for item in pod["status"].get("conditions", [])]
    return sum(1 for item in conditions if item["type"] == "Ready" and item["status"] == "True")


def is_direct(traffic: Traffic) -> bool:
    """Return whether in the last second every answer came from a pod without a router between."""
    seconds = traffic.read().seconds
    return bool(seconds) and bool(seconds[-1]["answers"]) and all("direct" in key for key in seconds[-1]["answers"])
