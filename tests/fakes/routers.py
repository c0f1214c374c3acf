"""Routers in memory: they take routes, acknowledge them, spread requests and count."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.fakes.clock import FakeClock

from penstock_operator.core.routes import (
    Acknowledgement,
    LatencyCounts,
    RevisionCounters,
    RouterPod,
    RouterSample,
    SplitRoute,
)

LATENCY_EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
#: How requests of a revision spread over the bucket of its typical time and the two above it.
_SPREAD = (60, 38, 2)


class FakeRouter:
    """Implements ports.Router. ``silent`` routers acknowledge nothing, ``rejecting`` ones say why they do not."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.rejecting: dict[str, str] = {}
        self.pods: dict[str, tuple[RouterPod, ...]] = {}
        self.published: dict[str, tuple[SplitRoute, ...]] = {}
        self.sent: list[tuple[SplitRoute, ...]] = []
        self.running: defaultdict[str, dict[str, SplitRoute]] = defaultdict(dict)

    def publish(self, namespace: str, routes: Sequence[SplitRoute], pods: Sequence[RouterPod]) -> str:
        """Make ``routes`` what the routers run, except those that are silent or reject."""
        self.pods[namespace] = tuple(pods)
        if self.published.get(namespace) != tuple(routes):
            self.published[namespace] = tuple(routes)
            self.sent.append(tuple(routes))
        if any(pod.name not in self.silent and pod.name not in self.rejecting for pod in pods):
            self.running[namespace] = {route.split: route for route in routes}
        return str(hash(tuple(routes)))

    async def acknowledged(
        self,
        namespace: str,
        timeout_seconds: float,  # noqa: ARG002 - nobody waits here
        *,
        split: str | None = None,  # noqa: ARG002
    ) -> Acknowledgement:
        """Return who runs what was last published; nobody waits here."""
        names = {pod.name for pod in self.pods.get(namespace, ())}
        missing = names & self.silent
        rejected = {name: self.rejecting[name] for name in names & set(self.rejecting) - missing}
        return Acknowledgement(
            version=str(hash(self.published.get(namespace))),
            acknowledged=frozenset(names - missing - set(rejected)),
            rejected=rejected,
            missing=frozenset(missing),
        )

    def weights(self, namespace: str, split: str) -> dict[str, int]:
        """Return what the routers really do for a split."""
        route = self.running[namespace].get(split)
        return {backend.revision: backend.weight for backend in route.backends} if route else {}


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """How a revision answers."""

    error_share: float = 0.0
    seconds: float = 0.008


@dataclass(slots=True)
class _Counted:
    requests: float = 0.0
    errors: float = 0.0
    slow: list[float] = field(default_factory=lambda: [0.0] * (len(LATENCY_EDGES) + 1))


#: Router, split, how requests came there, revision.
_Key = tuple[str, str, str, str]


class FakeRouterStats:
    """Implements ports.RouterStats: each router gets its share of ``requests_per_second`` while time passes."""

    def __init__(self, router: FakeRouter, clock: FakeClock, hosts: Callable[[str, str], int]) -> None:
        self._router = router
        self._clock = clock
        self._hosts = hosts
        self._counted: defaultdict[_Key, _Counted] = defaultdict(_Counted)
        self._boots: defaultdict[str, int] = defaultdict(int)
        self._looked_at = clock.now()
        self.requests_per_second = 100.0
        self.matched_per_second = 0.0
        self.behaviours: defaultdict[str, Behaviour] = defaultdict(Behaviour)
        self.really: dict[str, int] = {}
        """Weights by revision that routers follow whatever they were told and have acknowledged."""
        self.unreachable: set[str] = set()
        self.cold: set[str] = set()
        self.reads = 0

    async def read(self, namespace: str, pods: Sequence[RouterPod]) -> Sequence[RouterSample]:
        """Return the counters of the routers that can be reached."""
        self.reads += 1
        self._serve(namespace, pods)
        return [self._sample(namespace, pod) for pod in pods if pod.name not in self.unreachable]

    def restart(self, pod: str) -> None:
        """Let a router begin at zero."""
        self._boots[pod] += 1
        for key in [key for key in self._counted if key[0] == pod]:
            del self._counted[key]

    def _serve(self, namespace: str, pods: Sequence[RouterPod]) -> None:
        """Count the requests since the last look, as the weights were that run now."""
        elapsed = self._clock.now() - self._looked_at
        self._looked_at = self._clock.now()
        if not pods:
            return
        each = self.requests_per_second * elapsed / len(pods)
        routes = self._router.running[namespace].values()
        matched = self.matched_per_second * elapsed / len(pods)
        for pod, route in itertools.product(pods, routes):
            for backend in route.backends:
                weight = self.really.get(backend.revision, backend.weight)
                self._count((pod.name, route.split, "spread", backend.revision), each * weight / 100)
            for mirror in route.mirrors:
                self._count((pod.name, route.split, "mirrored", mirror.revision), each * mirror.percent / 100)
            for match in route.matches:
                self._count((pod.name, route.split, "matched", match.revision), matched)

    def _count(self, key: _Key, requests: float) -> None:
        behaviour, counted = self.behaviours[key[-1]], self._counted[key]
        counted.requests += requests
        counted.errors += requests * behaviour.error_share
        typical = sum(edge < behaviour.seconds for edge in LATENCY_EDGES)
        for offset, percent in enumerate(_SPREAD):
            counted.slow[min(typical + offset, len(LATENCY_EDGES))] += requests * percent / 100

    def _sample(self, namespace: str, pod: RouterPod) -> RouterSample:
        counters: defaultdict[str, dict[tuple[str, str], RevisionCounters]] = defaultdict(dict)
        for route in self._router.running[namespace].values():
            named = {
                "spread": [backend.revision for backend in route.backends],
                "mirrored": [mirror.revision for mirror in route.mirrors],
                "matched": [match.revision for match in route.matches],
            }
            for purpose, revision in ((purpose, one) for purpose, revisions in named.items() for one in revisions):
                counted = self._counted[pod.name, route.split, purpose, revision]
                counters[purpose][route.split, revision] = RevisionCounters(
                    requests=int(counted.requests),
                    errors=int(counted.errors),
                    latency=LatencyCounts(le=LATENCY_EDGES, counts=tuple(int(part) for part in counted.slow)),
                    healthy_hosts=0 if revision in self.cold else self._hosts(namespace, revision),
                )
        return RouterSample(
            pod=pod.name,
            boot=str(self._boots[pod.name]),
            counters=counters["spread"],
            matched=counters["matched"],
            mirrored=counters["mirrored"],
        )
