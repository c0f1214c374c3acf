"""Pods counted by an autoscaler: a rollout has its pods, also where nobody serves metrics."""

import pytest
from tests.cluster.api import condition, wait
from tests.cluster.scene import Scene, steps

pytestmark = pytest.mark.cluster

#: Kubernetes looks at a new autoscaler after 15 s.
AUTOSCALER_SECONDS = 90.0


class TestAutoscaling:
    lasts_seconds = 75

    def test_without_metrics_the_condition_says_so_and_traffic_goes_on_through_a_rollout(self, scene: Scene) -> None:
        manifest = scene.deployment()
        del manifest["spec"]["replicas"]
        manifest["spec"]["autoscaling"] = {"minReplicas": 1, "maxReplicas": 3}
        scene.apply(manifest)
        scene.wait_ready("ModelDeployment")
        scene.split(schedule=steps(50, 100), policies=False)
        traffic = scene.ask(rate=30)
        stable = str(scene.status("ModelDeployment")["stableRevision"])

        # As an autoscaler would that sees load. Without metrics it stays so.
        scene.api.merge("Deployment", stable, scene.namespace, {"spec": {"replicas": 2}})
        candidate = scene.change_model("tumor-v2.onnx", "2")
        scene.wait_phase(candidate, "Promoted")
        autoscaler = scene.get("HorizontalPodAutoscaler", candidate)
        assert autoscaler["spec"]["scaleTargetRef"]["name"] == candidate
        assert scene.get("Deployment", candidate)["spec"]["replicas"] == 2, "as many as the one that it takes over from"

        def said() -> bool:
            return condition(scene.get("ModelDeployment"), "AutoscalingActive").get("reason") == "NoCpuMetrics"

        wait("the condition says why", said, seconds=AUTOSCALER_SECONDS, picture=scene.picture)
        assert "install metrics-server" in condition(scene.get("ModelDeployment"), "AutoscalingActive")["message"]
        assert traffic.failed_otherwise() == {}

        scene.api.merge("ModelDeployment", "tumor", scene.namespace, {"spec": {"autoscaling": None, "replicas": 1}})

        def handed_back() -> bool:
            asked = scene.get("Deployment", candidate)["spec"]["replicas"]
            return scene.find("HorizontalPodAutoscaler", candidate) is None and asked == 1

        wait("the operator sets the pods again", handed_back, seconds=30, picture=scene.picture)
        traffic.wait_for_more(60)
        assert traffic.failed_otherwise() == {}
