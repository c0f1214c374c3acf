"""While the whole control plane is stopped answers go on; afterwards everything converges."""

import os
import time

import pytest
from cluster.embedded.cluster import Cluster
from cluster.embedded.layout import Layout
from tests.cluster.operators import Operators
from tests.cluster.stage import RATE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.alone]

#: The two minutes that are promised; a person who is in a hurry says less.
STOP_SECONDS = float(os.environ.get("PENSTOCK_CONTROL_PLANE_STOP_SECONDS", "120"))


class TestStoppedControlPlane:
    lasts_seconds = STOP_SECONDS + 40

    def test_answers_go_on_and_the_rollout_is_finished_afterwards(
        self, stage: Stage, local_operators: Operators
    ) -> None:
        api, traffic = stage.scene.api, stage.traffic
        control_plane = Cluster(Layout(state=api.kubeconfig.parent)).control_plane
        with stage.unharmed():
            candidate = stage.begin_rollout()
            api.close()
            # Stopped, not frozen: a controller manager that wakes up takes its own pause for the node's, calls the node
            # dead, and empties every Service until the kubelet has reported again.
            control_plane.stop()
            before = time.time()
            try:
                time.sleep(STOP_SECONDS)
            finally:
                after = time.time()
                control_plane.start()
            local_operators.wait_ready(seconds=240)
            stage.end_rollout(candidate, seconds=240)
        meanwhile = [second for second in traffic.read().seconds if before < second["t"] < after]
        assert len(meanwhile) > 0.9 * STOP_SECONDS
        assert [second for second in meanwhile if not second["answers"]] == []
        assert sum(sum(second["answers"].values()) for second in meanwhile) > 0.5 * RATE * STOP_SECONDS
