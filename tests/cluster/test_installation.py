"""Without the chart what serves goes on, deleting anything hangs nowhere, and it is taken up where it was."""

import pytest
from tests.cluster.api import Api, wait
from tests.cluster.chart import Chart
from tests.cluster.operators import Operators
from tests.cluster.scene import Scene
from tests.cluster.stage import Stage
from tests.cluster.test_deletion import KINDS, left, make, wait_until_nothing_is_left

pytestmark = pytest.mark.cluster

CRDS = ("modeldeployments.penstock.dev", "trafficsplits.penstock.dev", "driftpolicies.penstock.dev")
LASTING = (
    ("ModelDeployment", "tumor"),
    ("TrafficSplit", "tumor"),
    ("DriftPolicy", "tumor-guard"),
    ("Service", "tumor"),
    ("Deployment", "penstock-router"),
)
GONE_SECONDS = 60.0


@pytest.fixture
def chart(api: Api) -> Chart:
    """The release in the cluster."""
    return Chart(api.kubeconfig)


def crd_uids(api: Api) -> list[str]:
    """Return what tells one CRD from another that was made in its place."""
    return [api.the("CustomResourceDefinition", name)["metadata"]["uid"] for name in CRDS]


def uids(scene: Scene) -> dict[str, str]:
    """Return what must be the same objects afterwards: what people wrote, the endpoint, and the pods."""
    named = [*LASTING, *(("Pod", name) for name in scene.pods())]
    return {f"{kind}/{name}": scene.get(kind, name)["metadata"]["uid"] for kind, name in named}


@pytest.mark.alone
class TestUninstalledChart:
    lasts_seconds = 85

    def test_what_people_wrote_stays_and_serves_can_be_deleted_and_is_taken_up_again(
        self, stage: Stage, scene: Scene, api: Api, chart: Chart, local_operators: Operators
    ) -> None:
        lasting = stage.scene
        make(lasting, "orphan")
        make(scene, "tumor")
        before, kinds = uids(lasting), crd_uids(api)
        values = chart.values()
        with stage.unharmed():
            try:
                chart.uninstall()
                assert local_operators.pods() == []
                assert api.get("ClusterRole", "penstock-operator") is None
                for kind in KINDS:
                    lasting.delete(kind, "orphan")
                    scene.delete(kind, "tumor")
                wait(
                    "nothing is left of what was deleted",
                    lambda: not of(lasting, "orphan"),
                    seconds=GONE_SECONDS,
                    picture=lambda: str(left(lasting)),
                )
                wait_until_nothing_is_left(scene)
                assert uids(lasting) == before
                stage.traffic.wait_for_more(500)
            finally:
                chart.install(values)
            local_operators.wait_ready()
            assert crd_uids(api) == kinds
            lasting.wait_ready("ModelDeployment")
            lasting.wait_ready("TrafficSplit")
            assert uids(lasting) == before
            stage.end_rollout(stage.begin_rollout())


def of(scene: Scene, name: str) -> list[str]:
    """Return what is left of one ModelDeployment, its split and its policy."""
    return [each for each in left(scene) if each.partition("/")[2].startswith(name)]
