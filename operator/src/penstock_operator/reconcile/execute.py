"""Carries out a plan: children in order, then the status, then the events."""

from collections.abc import Collection

from penstock_operator.core.manifests.ownership import shares_an_owner
from penstock_operator.core.names import MANAGED_BY, OPERATOR
from penstock_operator.core.objects import Manifest, ObjectRef, kind_of, ref_of
from penstock_operator.core.plan import Apply, Delete, EventRecord, Plan
from penstock_operator.ports import Cluster, RequestRejected


async def execute(plan: Plan, cluster: Cluster, about: Manifest) -> frozenset[ObjectRef]:
    """Write what a plan says about an object; return the children that belong to somebody else and were left alone.

    Raises what ports.Cluster raises; what was written until then stays, and the next look goes on from there.
    """
    foreign = set()
    for write in plan.writes:
        match write:
            case Apply(manifest=manifest, otherwise=otherwise):
                if not await apply_own(cluster, manifest, otherwise):
                    foreign.add(ref_of(kind_of(manifest), manifest))
            case Delete(ref=ref, uid=uid):
                await cluster.delete(ref, uid=uid)
    if not foreign and plan.status is not None:
        await report(cluster, about, plan.status, plan.events)
    return frozenset(foreign)


async def apply_own(cluster: Cluster, manifest: Manifest, otherwise: Manifest | None = None) -> bool:
    """Apply a child unless an object of that name is not ours; return whether it was applied."""
    ref = ref_of(kind_of(manifest), manifest)
    live = cluster.get(ref)
    if live is None:
        # The cache holds only what carries our label; somebody else's object of the same name is not in it.
        live = await cluster.fetch_live(ref)
    if live is not None and not _is_ours(live, manifest):
        return False
    try:
        await cluster.apply(manifest)
    except RequestRejected:
        if otherwise is None:
            raise
        await cluster.apply(otherwise)
    return True


def in_the_way(foreign: Collection[ObjectRef]) -> str:
    """Return what to say of somebody else's objects that have the names of ours."""
    taken = ", ".join(sorted(str(ref) for ref in foreign))
    return f"{taken} exists and belongs to somebody else; delete or rename one of the two"


def _is_ours(live: Manifest, manifest: Manifest) -> bool:
    """Return whether a live object is the child that we mean, or one of ours that lost its owner and is adopted."""
    metadata = live["metadata"]
    orphaned = not metadata.get("ownerReferences") and metadata.get("labels", {}).get(MANAGED_BY) == OPERATOR
    return orphaned or shares_an_owner(live, manifest)


async def report(cluster: Cluster, about: Manifest, status: dict[str, object], events: tuple[EventRecord, ...]) -> None:
    """Write a status if it changed, and tell the events once it is written."""
    ref = ref_of(kind_of(about), about)
    if status != about.get("status"):
        await cluster.write_status(ref, status, resource_version=about["metadata"]["resourceVersion"])
    for event in events:
        cluster.record(ref, event)
