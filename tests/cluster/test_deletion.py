"""Deleting everything, in any order, never hangs and leaves nothing; without any operator: test_installation."""

import itertools

import pytest
from tests.cluster.api import Api, wait
from tests.cluster.operators import Operators
from tests.cluster.scene import Scene, example, steps

pytestmark = pytest.mark.cluster

KINDS = ("ModelDeployment", "TrafficSplit", "DriftPolicy")
CHILDREN = (
    "Deployment",
    "ControllerRevision",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Service",
    "Pod",
)
GONE_SECONDS = 90.0


def left(scene: Scene) -> list[str]:
    """Return what is left of what a person or the operator made."""
    kept = [f"{kind}/{item['metadata']['name']}" for kind in KINDS for item in scene.api.list(kind, scene.namespace)]
    children = [
        f"{kind}/{item['metadata']['name']}"
        for kind in CHILDREN
        for item in scene.api.list(kind, scene.namespace, "app.kubernetes.io/managed-by=penstock")
    ]
    return [*kept, *children]


def make(scene: Scene, *names: str) -> None:
    """Serve small models behind splits with policies."""
    for name in names:
        scene.apply(scene.deployment(name, replicas=1))
    for name in names:
        policy, split = example("driftpolicy"), example("trafficsplit")
        for manifest in (policy, split):
            manifest["metadata"]["name"] = name
        policy["spec"]["target"]["name"] = name
        split["spec"] |= {"stable": {"modelDeployment": name}, "policies": [name]}
        split["spec"]["strategy"]["steps"] = steps(50, 100)
        scene.apply(policy)
        scene.apply(split)
    for name in names:
        scene.wait_ready("TrafficSplit", name)


def wait_until_nothing_is_left(scene: Scene) -> None:
    wait("nothing is left", lambda: left(scene) == [], seconds=GONE_SECONDS, picture=lambda: str(left(scene)))


class TestDeletion:
    lasts_seconds = 95

    def test_in_every_order_in_the_middle_of_rollouts(self, scene: Scene) -> None:
        orders = list(itertools.permutations(KINDS))
        names = [f"m{number}" for number in range(len(orders))]
        make(scene, *names)
        for name in names:
            scene.change_model("tumor-v2.onnx", "2", name)
        for turn in range(len(KINDS)):
            for name, order in zip(names, orders, strict=True):
                scene.delete(order[turn], name)
        wait_until_nothing_is_left(scene)


class TestDeletedNamespace:
    lasts_seconds = 50

    def test_with_all_that_is_in_it_it_goes(self, api: Api, scene: Scene, operators: Operators) -> None:
        doomed = Scene(api, f"{scene.namespace}-doomed")
        doomed.prepare()
        make(doomed, "tumor")
        doomed.change_model("tumor-v2.onnx", "2")
        started = {pod["metadata"]["uid"]: restarts(pod) for pod in operators.pods()}
        api.delete("Namespace", doomed.namespace)
        wait("the namespace is gone", lambda: api.get("Namespace", doomed.namespace) is None, seconds=GONE_SECONDS)
        assert {pod["metadata"]["uid"]: restarts(pod) for pod in operators.pods()} == started


class TestHistory:
    lasts_seconds = 30

    def test_revisions_beyond_the_limit_are_forgotten_with_all_that_was_theirs(self, scene: Scene) -> None:
        scene.serve(replicas=1, revisionHistoryLimit=1)
        served = [scene.status("ModelDeployment")["stableRevision"]]
        for version, file in (("2", "tumor-v2.onnx"), ("3", "tumor-v1.onnx")):
            served.append(scene.change_model(file, version))
            scene.wait_ready("ModelDeployment")
        oldest, *kept = served

        def remembered() -> list[set[str]]:
            records = scene.api.list("ControllerRevision", scene.namespace)
            told = scene.status("ModelDeployment")["revisions"]
            return [{item["metadata"]["name"] for item in records}, {entry["name"] for entry in told}]

        wait(
            "the oldest is forgotten",
            lambda: remembered() == [set(kept), set(kept)],
            seconds=GONE_SECONDS,
            picture=scene.picture,
        )

        def remains() -> list[str]:
            return [each for each in left(scene) if oldest in each]

        wait("nothing of it is left", lambda: remains() == [], seconds=GONE_SECONDS, picture=lambda: str(remains()))


def restarts(pod: dict[str, dict[str, list[dict[str, int]]]]) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))
