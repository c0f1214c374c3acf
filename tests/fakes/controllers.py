"""What Kubernetes' own controllers and kubelets do with Deployments: pods, ready or in trouble."""

from collections.abc import Callable
from typing import Any

from tests.fakes.cluster import FakeCluster

from penstock_operator.core.objects import Kind, Manifest, ObjectRef

#: A pod's status, given its manifest.
Kubelet = Callable[[Manifest], dict[str, Any]]


def ready(pod: Manifest) -> dict[str, Any]:
    """All is well."""
    return {
        "phase": "Running",
        "podIP": f"10.0.0.{sum(pod['metadata']['name'].encode()) % 250 + 1}",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
    }


def starting(_: Manifest) -> dict[str, Any]:
    """Nothing to complain about yet."""
    return {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}


class Controllers:
    """Keeps as many pods as Deployments ask for. ``kubelets`` says by Deployment how its pods fare.

    While ``lingering``, pods that are too many take their time to end.
    """

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.kubelets: dict[str, Kubelet] = {}
        self.default: Kubelet = ready
        self.lingering = False
        self.loads: dict[str, int] = {}
        """How many pods the load needs, by Deployment; what is not named has no metrics."""

    def act(self, namespace: str) -> None:
        """Make and remove pods, and let kubelets report."""
        for autoscaler in list(self._cluster.list(Kind.HORIZONTAL_POD_AUTOSCALER, namespace)):
            self._autoscale(autoscaler)
        for deployment in list(self._cluster.list(Kind.DEPLOYMENT, namespace)):
            self._scale(deployment)
        for pod in list(self._cluster.list(Kind.POD, namespace)):
            owner = ObjectRef(kind=Kind.DEPLOYMENT, namespace=namespace, name=pod["metadata"]["annotations"]["of"])
            if self._cluster.live(owner) is None:
                self._cluster.remove(_pod_ref(pod))
            else:
                self._report(pod)

    def _autoscale(self, autoscaler: Manifest) -> None:
        """Do what Kubernetes' own controller does: bounds are kept without metrics too, and 0 pods mean hands off."""
        name, spec = autoscaler["metadata"]["name"], autoscaler["spec"]
        ref = ObjectRef(kind=Kind.DEPLOYMENT, namespace=autoscaler["metadata"]["namespace"], name=name)
        deployment = self._cluster.live(ref)
        if deployment is None or not deployment["spec"].get("replicas", 1):
            return
        replicas, load = deployment["spec"].get("replicas", 1), self.loads.get(name)
        wanted = min(max(replicas if load is None else load, spec["minReplicas"]), spec["maxReplicas"])
        if wanted != replicas:
            self._cluster.edit(ref, lambda live: live["spec"].update(replicas=wanted))
        status = {
            "currentReplicas": replicas,
            "conditions": [{"type": "AbleToScale", "status": "True"}, _scaling_active(load)],
            "currentMetrics": [_cpu(spec, load, replicas)] if load is not None else [],
        }
        if autoscaler.get("status") != status:
            own = ObjectRef(kind=Kind.HORIZONTAL_POD_AUTOSCALER, namespace=ref.namespace, name=name)
            self._cluster.edit(own, lambda live: live.update(status=status))

    def _scale(self, deployment: Manifest) -> None:
        name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
        wanted = {f"{name}-{number}" for number in range(deployment["spec"].get("replicas", 1))}
        pods = [
            pod
            for pod in self._cluster.list(Kind.POD, namespace)
            if pod["metadata"]["annotations"]["of"] == name and pod.get("status", {}).get("phase") != "Failed"
        ]
        for pod in pods:
            if pod["metadata"]["name"] not in wanted and not self.lingering:
                self._cluster.remove(_pod_ref(pod))
        template = deployment["spec"]["template"]
        for missing in sorted(wanted - {pod["metadata"]["name"] for pod in pods}):
            self._cluster.put(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": missing,
                        "namespace": namespace,
                        "labels": template["metadata"]["labels"],
                        "annotations": {"of": name},
                    },
                    "spec": template["spec"],
                }
            )

    def _report(self, pod: Manifest) -> None:
        kubelet = self.kubelets.get(pod["metadata"]["annotations"]["of"], self.default)
        status = kubelet(pod)
        if pod.get("status", {}).get("phase") != "Failed" and pod.get("status") != status:
            self._cluster.edit(_pod_ref(pod), lambda live: live.update(status=status))


def _scaling_active(load: int | None) -> dict[str, Any]:
    if load is None:
        return {
            "type": "ScalingActive",
            "status": "False",
            "reason": "FailedGetResourceMetric",
            "message": "unable to get metrics for resource cpu",
        }
    return {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": "…"}


def _cpu(spec: dict[str, Any], load: int, replicas: int) -> dict[str, Any]:
    target = spec["metrics"][0]["resource"]["target"]["averageUtilization"]
    return {
        "type": "Resource",
        "resource": {"name": "cpu", "current": {"averageUtilization": load * target // replicas}},
    }


def _pod_ref(pod: Manifest) -> ObjectRef:
    return ObjectRef(kind=Kind.POD, namespace=pod["metadata"]["namespace"], name=pod["metadata"]["name"])
