"""The routers of a namespace: their children in the cluster, and the routes that all its splits ask for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock_operator.core.difference import differs
from penstock_operator.core.gateway_limits import target_of
from penstock_operator.core.manifests.ownership import owner_uids, shared_reference
from penstock_operator.core.manifests.router import RouterSettings, router_manifests, router_selector
from penstock_operator.core.names import ROUTER
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, kind_of, ref_of
from penstock_operator.core.pod_state import is_ready, trouble_of
from penstock_operator.core.routes import Acknowledgement, RouterPod, SplitRoute
from penstock_operator.ports import Cluster, Router
from penstock_operator.reconcile.execute import apply_own


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settled:
    """The children of a fleet were as they should be, for these owners and at these resource versions."""

    owners: frozenset[str]
    versions: Mapping[ObjectRef, str]


class Fleet:
    """One fleet for each namespace that has a TrafficSplit."""

    def __init__(self, *, cluster: Cluster, router: Router, settings: RouterSettings) -> None:
        self._cluster = cluster
        self._router = router
        self._settings = settings
        self._routes: defaultdict[str, dict[str, SplitRoute]] = defaultdict(dict)
        self._told: dict[str, list[RouterPod]] = {}
        self._settled: dict[str, _Settled] = {}

    async def ensure(self, namespace: str) -> frozenset[ObjectRef]:
        """Make or mend the children of the fleet, owned by all splits of the namespace together.

        Returns those that belong to somebody else and were left alone.
        """
        splits = self._led(namespace)
        if not splits:
            return frozenset()  # the fleet goes with its last owner
        owners = frozenset(split["metadata"]["uid"] for split in splits)
        settled = self._settled.get(namespace)
        if settled is not None and settled.owners == owners and settled.versions == self._versions(settled.versions):
            return frozenset()  # hundreds of splits ask at each of their ticks
        foreign, versions = set(), {}
        for manifest in router_manifests(namespace, self._settings, [shared_reference(split) for split in splits]):
            ref = ref_of(kind_of(manifest), manifest)
            versions[ref] = ""
            if not differs(self._cluster.get(ref), manifest):
                continue
            owners = frozenset()  # what was written now is compared at the next look
            if not await apply_own(self._cluster, manifest):
                foreign.add(ref)
        self._settled[namespace] = _Settled(owners=owners, versions=self._versions(versions))
        return frozenset(foreign)

    async def disband(self, namespace: str) -> None:
        """Delete the routers of a namespace whose splits are all led by Gateways now; the rest goes with its owners."""
        if self._led(namespace):
            return
        splits = {split["metadata"]["uid"] for split in self._cluster.list(Kind.TRAFFIC_SPLIT, namespace)}
        for kind in (Kind.DEPLOYMENT, Kind.POD_DISRUPTION_BUDGET):
            ref = ObjectRef(kind=kind, namespace=namespace, name=ROUTER)
            live = self._cluster.get(ref)
            if live is not None and not live["metadata"].get("deletionTimestamp") and owner_uids(live) & splits:
                await self._cluster.delete(ref, uid=live["metadata"]["uid"])

    def pods(self, namespace: str) -> list[RouterPod]:
        """Return the ready routers: one on its way out need not acknowledge, one that starts gets all at once."""
        return [
            RouterPod(name=pod["metadata"]["name"], ip=pod["status"]["podIP"])
            for pod in self._cluster.list(Kind.POD, namespace, router_selector())
            if is_ready(pod) and pod["status"].get("podIP")
        ]

    def trouble(self, namespace: str) -> str:
        """Return why routers are not ready, or an empty string while they are merely starting."""
        deployment = self._cluster.get(ObjectRef(kind=Kind.DEPLOYMENT, namespace=namespace, name=ROUTER))
        trouble = trouble_of(deployment, self._cluster.list(Kind.POD, namespace, router_selector()))
        return f"{trouble.reason}: {trouble.message}" if trouble else ""

    def _versions(self, refs: Iterable[ObjectRef]) -> dict[ObjectRef, str]:
        """Return the resource versions of children as they are now."""
        live = {ref: self._cluster.get(ref) for ref in refs}
        return {ref: manifest["metadata"]["resourceVersion"] if manifest else "" for ref, manifest in live.items()}

    def _led(self, namespace: str) -> list[Manifest]:
        """Return the splits that the routers of a namespace are there for."""
        return [
            split
            for split in self._cluster.list(Kind.TRAFFIC_SPLIT, namespace)
            if not split["metadata"].get("deletionTimestamp") and target_of(split) is None
        ]

    def publish(self, namespace: str, split: str, route: SplitRoute | None) -> None:
        """Make ``route`` what the routers do for a split; None takes the split away."""
        routes, pods = self._routes[namespace], self.pods(namespace)
        if route == routes.get(split) and pods == self._told.get(namespace):
            return  # putting all splits together takes a while, and most looks change nothing
        if route is None:
            routes.pop(split, None)
        else:
            routes[split] = route
        self._told[namespace] = pods
        self._router.publish(namespace, [routes[name] for name in sorted(routes)], pods)

    async def acknowledged(self, namespace: str, split: str, *, timeout_seconds: float) -> Acknowledgement:
        """Wait until every router runs or rejects what was published for a split, at most this long."""
        return await self._router.acknowledged(namespace, timeout_seconds, split=split)
