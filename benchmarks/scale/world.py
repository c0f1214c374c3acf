"""What a cluster with many rollouts holds: the manifests, and kubelets that say every pod is ready."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any

from tests.fakes.people import People

from penstock_operator.core.manifests.router import router_selector
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.ports import ClusterUnavailable

#: While pods come; where none came, what it costs to list them all would be in the figures.
_LOOK_SECONDS, _IDLE_LOOK_SECONDS = 1.0, 5.0
_AT_ONCE = 12


def names(count: int) -> list[str]:
    return [f"model-{number:03d}" for number in range(count)]


def model_deployment(namespace: str, name: str, version: str = "1") -> Manifest:
    digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    return _manifest(
        "ModelDeployment",
        namespace,
        name,
        {"model": {"uri": f"configmap://{name}/model.onnx", "sha256": digest, "version": version}, "replicas": 1},
    )


def traffic_split(namespace: str, name: str, *, every: str) -> Manifest:
    rule = {"kind": "Linear", "from": 2, "by": 2, "to": 100, "every": every}
    return _manifest(
        "TrafficSplit",
        namespace,
        name,
        {"stable": {"modelDeployment": name}, "strategy": {"schedule": rule}, "policies": [name]},
    )


def drift_policy(namespace: str, name: str) -> Manifest:
    metrics = [
        {"name": "errors", "source": "ErrorRate", "against": "Stable", "critical": True},
        {"name": "slower", "source": "LatencyQuantile", "quantile": 0.95, "against": "Stable"},
        # Limits hold at rest too: without one nobody would look at a split that has nothing under way.
        {"name": "all-errors", "source": "ErrorRate", "limit": "20%"},
    ]
    return _manifest(
        "DriftPolicy", namespace, name, {"target": {"kind": "TrafficSplit", "name": name}, "metrics": metrics}
    )


def _manifest(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


async def create(people: People, manifests: Sequence[Manifest]) -> None:
    await _each(people.create(manifest) for manifest in manifests)


async def change_models(people: People, namespace: str, chosen: Sequence[str], version: str) -> None:
    """Give each ModelDeployment another model: a candidate."""
    await _each(
        people.patch(
            ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=namespace, name=name),
            {"spec": model_deployment(namespace, name, version)["spec"]},
        )
        for name in chosen
    )


async def _each(tasks: Any) -> None:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(task: Any) -> None:
        async with limit:
            await task

    await asyncio.gather(*(one(task) for task in tasks))


class Kubelets:
    """Say of every pod that it is ready. Routers get the loopback addresses on which the scripted ones listen."""

    def __init__(self, people: People, namespace: str, router_addresses: Sequence[str]) -> None:
        self._people = people
        self._namespace = namespace
        self._free = list(router_addresses)
        self.routers: dict[str, str] = {}
        """Addresses of the router pods by name."""
        self._told: set[str] = set()

    async def run(self) -> None:
        """Look at all pods again and again, until cancelled."""
        while True:
            came = 0
            with contextlib.suppress(ClusterUnavailable):
                came = await self._look()
            await asyncio.sleep(_LOOK_SECONDS if came else _IDLE_LOOK_SECONDS)

    async def have_routers(self) -> bool:
        """Return whether every address has its router."""
        return not self._free

    async def _look(self) -> int:
        pods = await self._people.list(Kind.POD, self._namespace)
        fresh = [pod for pod in pods if pod["metadata"]["name"] not in self._told]
        await _each(self._report(pod) for pod in fresh)
        return len(fresh)

    async def _report(self, pod: Manifest) -> None:
        name = pod["metadata"]["name"]
        if router_selector().items() <= pod["metadata"]["labels"].items():
            address = self.routers[name] = self._free.pop(0)
        else:
            address = f"10.{len(self._told) // 65025}.{len(self._told) // 255 % 255}.{len(self._told) % 255}"
        self._told.add(name)
        ready = {"type": "Ready", "status": "True"}
        scheduled = {"type": "PodScheduled", "status": "True"}
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [scheduled, ready]}
        await self._people.patch(
            ObjectRef(kind=Kind.POD, namespace=self._namespace, name=name), {"status": status}, subresource="/status"
        )
