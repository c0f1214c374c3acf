"""A namespace with everything in memory: the cluster, its controllers, routers, and the operator's reconcilers."""

import heapq
import itertools
from collections.abc import Callable
from typing import Any, Protocol

from tests.fakes.api_server import DefaultingCluster
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import Write
from tests.fakes.controllers import Controllers
from tests.fakes.counting_pods import FakeServingPods
from tests.fakes.gateway import FakeGatewayApi, FakePodTraffic
from tests.fakes.letters import FakeLetterBox, FakeTrainer
from tests.fakes.metric_source import FakeMetricSource
from tests.fakes.routers import FakeRouter, FakeRouterStats

from penstock_operator.adapters.drift_metrics import DriftMetrics
from penstock_operator.api.v1alpha1.traffic_split import COMMAND_ANNOTATION
from penstock_operator.core.audit import AuditEntry
from penstock_operator.core.fanout import affected
from penstock_operator.core.manifests.router import RouterSettings
from penstock_operator.core.manifests.serving_pod import ServingImage
from penstock_operator.core.names import REVISION
from penstock_operator.core.news import is_news
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.pod_state import ready_pods
from penstock_operator.ports import ClusterUnavailable, RequestRejected
from penstock_operator.reconcile.acting import Actor
from penstock_operator.reconcile.built_in_router import BuiltInRouter
from penstock_operator.reconcile.comparing import Comparing
from penstock_operator.reconcile.drift_policy import DriftPolicyReconciler
from penstock_operator.reconcile.drift_watch import DriftWatch
from penstock_operator.reconcile.fleet import Fleet
from penstock_operator.reconcile.gateway_router import GatewayRouter
from penstock_operator.reconcile.measuring import Measuring
from penstock_operator.reconcile.model_deployment import ModelDeploymentReconciler
from penstock_operator.reconcile.pod_sampling import PodSampler
from penstock_operator.reconcile.routers import Routers
from penstock_operator.reconcile.sampling import Sampler
from penstock_operator.reconcile.traffic_split import TrafficSplitReconciler

NAMESPACE = "shop"
IMAGE = ServingImage(image="penstock/server:1", pull_policy="IfNotPresent")
ROUTERS = RouterSettings(
    image="penstock/router:1", xds_address="penstock-xds.penstock.svc:18000", operator_namespace="penstock"
)
TICK_SECONDS = 1.0
PROFILE_SECONDS = 30.0
_LOOKS_LIMIT = 500
#: As the process does it.
_NUMBERS_SECONDS = 10.0


class _Reconciler(Protocol):
    async def reconcile(self, ref: ObjectRef) -> float | None: ...


class Shop:
    """Runs the operator as its queue would: what changed is looked at, what asked for a later look gets it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = DefaultingCluster()
        self.cluster.on_change = self._changed
        self.controllers = Controllers(self.cluster)
        self.router = FakeRouter()
        self.stats = FakeRouterStats(self.router, self.clock, self._healthy_hosts)
        self.serving = FakeServingPods()
        self.source = FakeMetricSource()
        self.drift = DriftMetrics()
        self.gateways = FakeGatewayApi()
        self.gateways.gateway(NAMESPACE, "edge")
        self.pod_traffic = FakePodTraffic(self.gateways, self.stats, self.clock)
        self.dirty: dict[ObjectRef, None] = {}
        self.rejections: list[RequestRejected] = []
        self.alerts: list[tuple[str, str]] = []
        self.deeds: list[tuple[str, str]] = []
        self.letters = FakeLetterBox()
        self.trainer = FakeTrainer()
        self.acknowledgements = 0
        self.audit: list[AuditEntry] = []
        self._later: list[tuple[float, int, ObjectRef]] = []
        self._order = itertools.count()
        self._reconcilers: dict[Kind, _Reconciler] = {}
        self.restart_operator()

    def restart_operator(self, image: ServingImage = IMAGE) -> None:
        """Begin with a new process that knows nothing but the cluster; the routers go on."""
        cluster, clock = self.cluster, self.clock
        self._reconcilers = {
            Kind.MODEL_DEPLOYMENT: ModelDeploymentReconciler(cluster=cluster, clock=clock, image=image),
            Kind.TRAFFIC_SPLIT: TrafficSplitReconciler(
                cluster=cluster,
                clock=clock,
                router=self._routers(),
                observer=self,
                comparing=Comparing(cluster=cluster, pods=self.serving, monotonic=clock.monotonic),
                measuring=Measuring(
                    sources=dict.fromkeys(("Prometheus", "Web", "Job"), self.source),
                    clock=clock,
                    monotonic=clock.monotonic,
                ),
                audit=self,
                tick_seconds=TICK_SECONDS,
                monotonic=clock.monotonic,
            ),
            Kind.DRIFT_POLICY: DriftPolicyReconciler(
                cluster=cluster,
                clock=clock,
                actor=Actor(cluster=cluster, letters=self.letters, trainer=self.trainer, observer=self),
                watch=lambda: DriftWatch(
                    cluster=cluster,
                    pods=self.serving,
                    clock=clock,
                    monotonic=clock.monotonic,
                    interval_seconds=PROFILE_SECONDS,
                    observer=self.drift,
                ),
            ),
        }
        self._later.clear()
        for kind in self._reconcilers:
            for manifest in self.cluster.list(kind, NAMESPACE):
                self.dirty[ObjectRef(kind=kind, namespace=NAMESPACE, name=manifest["metadata"]["name"])] = None

    def _routers(self) -> Routers:
        cluster, clock = self.cluster, self.clock
        return Routers(
            built_in=BuiltInRouter(
                fleet=Fleet(cluster=cluster, router=self.router, settings=ROUTERS),
                sampler=Sampler(stats=self.stats, clock=clock, monotonic=clock.monotonic),
                monotonic=clock.monotonic,
            ),
            gateway=GatewayRouter(
                cluster=cluster,
                api=self.gateways,
                sampler=PodSampler(cluster=cluster, pods=self.pod_traffic, clock=clock, monotonic=clock.monotonic),
                monotonic=clock.monotonic,
                sleep=self._sleep,
            ),
        )

    async def _sleep(self, seconds: float) -> None:
        self.clock.move_to(self.clock.now() + seconds)

    # --- what the operator counts ---

    def weights_acknowledged(self, seconds: float) -> None:
        """Count it; in memory it takes no time, but for a Gateway's controller, which is looked at once more."""
        assert 0 <= seconds < 1
        self.acknowledgements += 1

    def record(self, entry: AuditEntry) -> None:
        """Keep the entry of the audit log."""
        self.audit.append(entry)

    def alerted(self, namespace: str, policy: str, metric: str) -> None:
        """Keep the alert."""
        assert namespace == NAMESPACE
        self.alerts.append((policy, metric))

    def acted(self, namespace: str, policy: str, action: str, *, dry_run: bool) -> None:
        """Keep what followed; what only would have is told apart."""
        assert namespace == NAMESPACE
        self.deeds.append((policy, f"{action} (dry run)" if dry_run else action))

    # --- time ---

    async def settle(self) -> None:
        """Look at everything that changed until nothing changes any more; time stands still."""
        for _ in range(_LOOKS_LIMIT):
            self.controllers.act(NAMESPACE)
            if not self.dirty:
                return
            await self.look(next(iter(self.dirty)))
        raise AssertionError(f"the operator does not come to rest: {self.dirty}, {self.cluster.writes[-5:]}")

    async def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, at most until something is so."""
        end = self.clock.now() + seconds
        await self.settle()
        while not until() and self._later and self._later[0][0] <= end:
            moment, _, ref = heapq.heappop(self._later)
            self.clock.move_to(moment)
            self.dirty[ref] = None
            await self.settle()
        if not until():
            self.clock.move_to(end)

    async def look(self, ref: ObjectRef) -> None:
        """Reconcile one object now."""
        self.dirty.pop(ref, None)
        self._later = [entry for entry in self._later if entry[2] != ref]
        heapq.heapify(self._later)
        again: float | None = 1.0
        try:
            again = await self._reconcilers[ref.kind].reconcile(ref)
        except RequestRejected as error:
            self.rejections.append(error)
            again = 5.0
        except ClusterUnavailable:
            pass
        if again is not None:
            heapq.heappush(self._later, (self.clock.now() + max(again, 0.001), next(self._order), ref))

    async def writes_while_quiet(self) -> list[Write]:
        """Look at everything twice although nothing changed; return what was written."""
        await self.settle()
        before = len(self.cluster.writes)
        for kind in self._reconcilers:
            for manifest in list(self.cluster.list(kind, NAMESPACE)):
                ref = ObjectRef(kind=kind, namespace=NAMESPACE, name=manifest["metadata"]["name"])
                await self.look(ref)
                await self.look(ref)
        return self.cluster.writes[before:]

    # --- people ---

    def apply(self, kind: Kind, name: str, spec: dict[str, Any], **metadata: Any) -> Manifest:
        """Do what ``kubectl apply`` does."""
        live = self.cluster.live(self.ref(kind, name))
        kept = live["metadata"] if live else {}
        return self.cluster.put(
            {
                "apiVersion": kind.resource.api_version,
                "kind": kind.resource.kind,
                "metadata": {**kept, "name": name, "namespace": NAMESPACE, **metadata},
                "spec": spec,
            }
        )

    def command(self, split: str, text: str) -> None:
        """Annotate a split as ``kubectl penstock`` does."""
        self.cluster.edit(
            self.ref(Kind.TRAFFIC_SPLIT, split),
            lambda live: live["metadata"].setdefault("annotations", {}).update({COMMAND_ANNOTATION: text}),
        )

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object; what it owns goes too."""
        self.cluster.remove(self.ref(kind, name))

    # --- looking ---

    @staticmethod
    def ref(kind: Kind, name: str) -> ObjectRef:
        """Return a reference into the namespace."""
        return ObjectRef(kind=kind, namespace=NAMESPACE, name=name)

    def get(self, kind: Kind, name: str) -> Manifest:
        """Return an object that must be there."""
        live = self.cluster.live(self.ref(kind, name))
        assert live is not None, f"there is no {kind.resource.kind} {name}"
        return live

    def names(self, kind: Kind) -> list[str]:
        """Return the names of the operator's objects of a kind."""
        return [manifest["metadata"]["name"] for manifest in self.cluster.list(kind, NAMESPACE)]

    def status(self, kind: Kind, name: str) -> dict[str, Any]:
        """Return the status of an object."""
        status: dict[str, Any] = self.get(kind, name).get("status", {})
        return status

    def condition(self, kind: Kind, name: str, type_: str) -> dict[str, Any]:
        """Return a condition, empty if it is not there."""
        found = (item for item in self.status(kind, name).get("conditions", ()) if item["type"] == type_)
        condition: dict[str, Any] = next(found, {})
        return condition

    def reasons(self) -> list[str]:
        """Return the reasons of all events so far."""
        return [event.reason for _, event in self.cluster.events]

    def _healthy_hosts(self, namespace: str, revision: str) -> int:
        return ready_pods(self.cluster.list(Kind.POD, namespace, {REVISION: revision}))

    def _changed(self, ref: ObjectRef, old: Manifest | None, new: Manifest | None) -> None:
        at_once = is_news(ref.kind, old, new)
        for state in (old, new):
            for key in affected(ref.kind, state, self.cluster.list) if state is not None else ():
                if at_once:
                    self.dirty[key] = None
                elif not any(entry[2] == key for entry in self._later):
                    heapq.heappush(self._later, (self.clock.now() + _NUMBERS_SECONDS, next(self._order), key))
