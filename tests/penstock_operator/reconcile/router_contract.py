"""The two kinds of routers, each with its world in memory, behind the same few levers."""

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from typing import Any

from tests.fakes.api_server import DefaultingCluster
from tests.fakes.clock import FakeClock
from tests.fakes.gateway import FakeGatewayApi, exposition
from tests.fakes.routers import LATENCY_EDGES, FakeRouter

from penstock_operator.core.manifests.router import RouterSettings, router_selector
from penstock_operator.core.names import revision_labels
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.routes import (
    Backend,
    LatencyCounts,
    RevisionCounters,
    RouterPod,
    RouterSample,
    SplitRoute,
)
from penstock_operator.core.serving_pods import ServingPod
from penstock_operator.reconcile.built_in_router import BuiltInRouter
from penstock_operator.reconcile.fleet import Fleet
from penstock_operator.reconcile.gateway_router import GatewayRouter
from penstock_operator.reconcile.pod_sampling import PodSampler
from penstock_operator.reconcile.routing import SplitRouter
from penstock_operator.reconcile.sampling import Sampler

NAMESPACE, SPLIT = "shop", "fraud"
REF = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace=NAMESPACE, name=SPLIT)
ROUTERS = RouterSettings(image="penstock/router:1", xds_address="penstock-xds.p.svc:18000", operator_namespace="p")


def a_pod(name: str, labels: dict[str, str]) -> Manifest:
    status = {
        "phase": "Running",
        "podIP": f"10.0.0.{sum(name.encode()) % 250 + 1}",
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}, "status": status}


def a_route(**weights: int) -> SplitRoute:
    """Return a route with these weights; revisions are called ``a``, ``b`` and so on."""
    backends = tuple(
        Backend(revision=name, host=f"{name}.{NAMESPACE}.svc", port=8080, weight=weight)
        for name, weight in sorted(weights.items())
    )
    return SplitRoute(namespace=NAMESPACE, split=SPLIT, port=20001, backends=backends, request_timeout_seconds=3.0)


class Bench(ABC):
    """A router with one split, and what a test may do to the world behind it."""

    router: SplitRouter

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = DefaultingCluster()
        self.split = self.cluster.put(self.manifest(SPLIT))
        self.answered: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        self.boots = 0

    @abstractmethod
    def manifest(self, name: str) -> Manifest:
        """Return a split that this router leads."""

    @abstractmethod
    def weights(self) -> dict[str, int]:
        """Return what is really done with requests."""

    @abstractmethod
    def sleep(self) -> None:
        """Let those who acknowledge say nothing any more."""

    @abstractmethod
    def refuse(self, words: str) -> None:
        """Let those who acknowledge refuse everything from now on."""

    @abstractmethod
    def begin_at_zero(self) -> None:
        """Restart those who count."""

    @abstractmethod
    def make_warm(self, revision: str) -> None:
        """Let a revision be able to answer."""

    async def look(self, **weights: int) -> Any:
        """Do what a reconcile does with a route; return the acknowledgement."""
        await self.router.prepare(self.split)
        await self.router.publish(self.split, a_route(**weights))
        return await self.router.acknowledged(REF, timeout_seconds=1.0)

    async def tick(self) -> None:
        """Let a second pass, and count."""
        self.clock.move_to(self.clock.now() + 1.0)
        await self.router.refresh(REF, max_age_seconds=0.9)

    def answer(self, revision: str, *, good: int = 0, bad: int = 0) -> None:
        """Let a revision answer requests."""
        self.answered[revision][200] += good
        self.answered[revision][500] += bad

    def taken(self) -> list[dict[str, tuple[int, int]]]:
        """Return requests and errors by revision of each tick that is new."""
        return [
            {revision: (counted.requests, counted.errors) for revision, counted in tick.counts.items()}
            for tick in self.router.take(REF)
        ]

    async def pass_time(self, seconds: float) -> None:
        """Stand in for asyncio.sleep."""
        self.clock.move_to(self.clock.now() + seconds)
        await asyncio.sleep(0)


class BuiltInBench(Bench):
    """Two built-in routers; what a revision answered came through the first of them."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = FakeRouter()
        self.warm: set[str] = set()
        for name in ("router-0", "router-1"):
            self.cluster.put(a_pod(name, router_selector()))
        self.router = BuiltInRouter(
            fleet=Fleet(cluster=self.cluster, router=self.fleet, settings=ROUTERS),
            sampler=Sampler(stats=self, clock=self.clock, monotonic=self.clock.monotonic),
            monotonic=self.clock.monotonic,
        )

    def manifest(self, name: str) -> Manifest:
        return a_split(name)

    def weights(self) -> dict[str, int]:
        return self.fleet.weights(NAMESPACE, SPLIT)

    def sleep(self) -> None:
        self.fleet.silent |= {"router-0", "router-1"}

    def refuse(self, words: str) -> None:
        self.fleet.rejecting |= {"router-0": words, "router-1": words}

    def begin_at_zero(self) -> None:
        self.boots += 1
        self.answered.clear()

    def make_warm(self, revision: str) -> None:
        self.warm.add(revision)

    async def read(self, namespace: str, pods: Any) -> list[RouterSample]:
        """Stand in for the routers' statistics."""
        assert namespace == NAMESPACE
        return [self._sample(pod, first=index == 0) for index, pod in enumerate(pods)]

    def _sample(self, pod: RouterPod, *, first: bool) -> RouterSample:
        counters = {}
        for revision in self.fleet.weights(NAMESPACE, SPLIT):
            answers = self.answered[revision] if first else {}
            total = sum(answers.values())
            counters[SPLIT, revision] = RevisionCounters(
                requests=total,
                errors=answers.get(500, 0),
                latency=LatencyCounts(le=LATENCY_EDGES, counts=(total, *(0 for _ in LATENCY_EDGES))),
                healthy_hosts=int(revision in self.warm),
            )
        return RouterSample(pod=pod.name, boot=str(self.boots), counters=counters)


class GatewayBench(Bench):
    """A Gateway with its controller, and a pod for each revision that is warm."""

    def __init__(self) -> None:
        super().__init__()
        self.api = FakeGatewayApi()
        self.api.gateway(NAMESPACE, "edge")
        self.asked = 0
        sampler = PodSampler(cluster=self.cluster, pods=self, clock=self.clock, monotonic=self.clock.monotonic)
        self.router = GatewayRouter(
            cluster=self.cluster,
            api=self.api,
            sampler=sampler,
            monotonic=self.clock.monotonic,
            sleep=self.pass_time,
        )

    def manifest(self, name: str) -> Manifest:
        return a_split(name, gateway={"parentRefs": [{"name": "edge"}], "hostnames": ["fraud.example.com"]})

    def weights(self) -> dict[str, int]:
        self.api.control()
        return self.api.weights(NAMESPACE, SPLIT)

    def sleep(self) -> None:
        self.api.silent = True

    def refuse(self, words: str) -> None:
        self.api.refusing = words

    def begin_at_zero(self) -> None:
        self.boots += 1
        self.answered.clear()

    def make_warm(self, revision: str) -> None:
        self.cluster.put(a_pod(f"{revision}-0", revision_labels("fraud", revision)))

    async def get(self, namespace: str, pod: ServingPod, path: str) -> bytes | None:
        """Stand in for the serving pods."""
        assert (namespace, path) == (NAMESPACE, "/metrics")
        self.asked += 1
        return exposition(pod.revision, boot=str(self.boots), answers=self.answered[pod.revision])


def a_split(name: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "TrafficSplit",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"stable": {"modelDeployment": name}, "strategy": {"steps": [{"weight": 100}]}, **spec},
    }
