"""What is deleted or edited by hand comes back; what belongs to somebody else stays as it is."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.cluster.api import Manifest, condition, wait
from tests.cluster.scene import Scene, Traffic

pytestmark = pytest.mark.cluster

#: A promise to the user.
BACK_SECONDS = 10.0


@pytest.fixture(scope="class")
def traffic(scene: Scene) -> Traffic:
    """A client of a model behind a split."""
    scene.serve()
    scene.split()
    asked = scene.ask(rate=30)
    asked.wait_until_routed()
    return asked


def revision(scene: Scene) -> str:
    return str(scene.status("ModelDeployment")["stableRevision"])


#: Name of each child by kind; ``{}`` is the stable revision.
CHILDREN = [
    ("ServiceAccount", "tumor-serving"),
    ("NetworkPolicy", "tumor-serving"),
    ("ControllerRevision", "{}"),
    ("PodDisruptionBudget", "{}"),
    ("Service", "{}"),
    ("Service", "tumor"),
    ("Deployment", "{}"),
    ("ServiceAccount", "penstock-router"),
    ("PodDisruptionBudget", "penstock-router"),
    ("NetworkPolicy", "penstock-router"),
    ("Deployment", "penstock-router"),
]

Edit = Callable[[Manifest], Manifest]


def _selector(_: Manifest) -> Manifest:
    return {"spec": {"selector": {"penstock.dev/revision": "nobody"}}}


def _replicas(_: Manifest) -> Manifest:
    return {"spec": {"replicas": 5}}


def _budget(_: Manifest) -> Manifest:
    return {"spec": {"maxUnavailable": 2}}


def _ingress(_: Manifest) -> Manifest:
    return {"spec": {"ingress": []}}


def _unlabelled(live: Manifest) -> Manifest:
    return {"metadata": {"labels": dict.fromkeys(live["metadata"]["labels"])}}


EDITS: list[tuple[str, str, Edit]] = [
    ("Service", "tumor", _selector),
    ("Service", "{}", _selector),
    ("Deployment", "{}", _replicas),
    ("PodDisruptionBudget", "{}", _budget),
    ("NetworkPolicy", "tumor-serving", _ingress),
    ("ServiceAccount", "tumor-serving", _unlabelled),
    ("Deployment", "penstock-router", _replicas),
]


def ours(manifest: Manifest | None) -> dict[str, Any]:
    """Return what of a child must come back: all that a person or controller did not put there."""
    if manifest is None:
        return {}
    metadata = {key: manifest["metadata"].get(key) for key in ("labels", "ownerReferences")}
    content = {key: value for key, value in manifest.items() if key in {"spec", "data", "revision"}}
    if manifest["kind"] == "ControllerRevision":
        # Its pods are taken from the Deployment that runs, where the API server has filled in its defaults.
        content["data"] = {"spec": content["data"]["spec"]}
    return {**content, "metadata": metadata}


@pytest.mark.usefixtures("traffic")
class TestChildren:
    lasts_seconds = 70

    @pytest.mark.parametrize(("kind", "name"), CHILDREN)
    def test_a_deleted_child_comes_back(self, scene: Scene, kind: str, name: str) -> None:
        name = name.format(revision(scene))
        before = scene.get(kind, name)
        scene.delete(kind, name)

        def back() -> bool:
            now = scene.find(kind, name)
            return now is not None and now["metadata"]["uid"] != before["metadata"]["uid"] and ours(now) == ours(before)

        wait(f"{kind} {name} comes back", back, seconds=BACK_SECONDS, picture=scene.picture)

    @pytest.mark.parametrize(("kind", "name", "edit"), EDITS)
    def test_an_edited_child_is_mended(self, scene: Scene, kind: str, name: str, edit: Edit) -> None:
        name = name.format(revision(scene))
        before = scene.get(kind, name)
        edited = scene.api.merge(kind, name, scene.namespace, edit(before))
        assert ours(edited) != ours(before)

        def mended() -> bool:
            return ours(scene.find(kind, name)) == ours(before)

        wait(f"{kind} {name} is mended", mended, seconds=BACK_SECONDS, picture=scene.picture)

    def test_afterwards_all_is_as_before_and_the_client_gets_right_answers(
        self, scene: Scene, traffic: Traffic
    ) -> None:
        scene.wait_ready("ModelDeployment")
        scene.wait_ready("TrafficSplit")
        wait("two pods", lambda: len(scene.pods()) == 2, seconds=60, picture=scene.picture)
        wait("right answers only", lambda: traffic.read().are_right_for(5), seconds=90, picture=scene.picture)


class TestForeignObjects:
    def test_an_object_of_somebody_else_with_a_childs_name_is_left_alone_and_told(self, scene: Scene) -> None:
        foreign = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "tumor", "labels": {"team": "payments"}},
            "spec": {"selector": {"app": "legacy"}, "ports": [{"port": 80}]},
        }
        before = scene.apply(foreign)
        scene.apply(scene.deployment(replicas=1))

        def told() -> bool:
            return condition(scene.find("ModelDeployment"), "Ready").get("reason") == "NotOwned"

        wait("the ModelDeployment says NotOwned", told, seconds=30, picture=scene.picture)
        assert "Service" in scene.stalled("ModelDeployment")["message"]
        after = scene.get("Service")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        scene.delete("Service")
        scene.wait_ready("ModelDeployment", seconds=60)
        assert scene.get("Service")["spec"]["selector"].keys() == {"penstock.dev/revision"}
