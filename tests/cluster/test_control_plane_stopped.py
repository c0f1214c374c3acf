"""While the whole control plane is stopped answers go on; afterwards everything converges."""

import os
import time

import pytest
from cluster.embedded.cluster import Cluster
from cluster.embedded.layout import Layout
from tests.cluster.api import wait
from tests.cluster.operators import Operators
from tests.cluster.scene import Scene, steps

pytestmark = pytest.mark.cluster

#: PENSTOCK_CONTROL_PLANE_STOP_SECONDS=120 is the whole two minutes; the operator's lease runs out long before either.
STOP_SECONDS = float(os.environ.get("PENSTOCK_CONTROL_PLANE_STOP_SECONDS", "45"))


class TestStoppedControlPlane:
    alone = True

    def test_answers_go_on_and_the_rollout_is_finished_afterwards(
        self, scene: Scene, local_operators: Operators
    ) -> None:
        control_plane = Cluster(Layout(state=scene.api.kubeconfig.parent)).control_plane
        scene.serve()
        scene.split(schedule=steps(25, 50, 100))
        traffic = scene.ask(rate=60)
        traffic.wait_until_routed()
        changed = scene.change_model("tumor-v2.onnx", "2")
        wait("the canary has traffic", lambda: scene.weight() > 0, seconds=90, picture=scene.picture)
        scene.api.close()
        before = time.time()
        with control_plane.paused():
            time.sleep(STOP_SECONDS)
        after = time.time()
        control_plane.wait_ready()
        local_operators.wait_ready(seconds=240)
        scene.wait_phase(changed, "Promoted", seconds=240)
        scene.wait_ready("ModelDeployment")
        assert traffic.failed_otherwise() == {}
        silent = [second for second in traffic.seconds if before < second["t"] < after and not second["answers"]]
        assert silent == []
        answered = sum(sum(second["answers"].values()) for second in traffic.seconds if before < second["t"] < after)
        assert answered > 30 * STOP_SECONDS
