"""All splits behind one router: each is led by the kind that it asks for, and goes from one to the other."""

from collections.abc import Mapping, Sequence

from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of
from penstock_operator.core.router_choice import ENVOY, GATEWAY, RouterName, changes_router, router_before, router_of
from penstock_operator.core.routes import Acknowledgement, SplitRoute
from penstock_operator.core.traffic_split import Problem
from penstock_operator.reconcile.routing import SplitRouter
from penstock_operator.reconcile.sampling import SplitTick


class Routers:
    """Implements SplitRouter by the built-in router and by Gateways."""

    def __init__(self, *, built_in: SplitRouter, gateway: SplitRouter) -> None:
        self._by_name: Mapping[RouterName, SplitRouter] = {ENVOY: built_in, GATEWAY: gateway}
        self._asked: dict[ObjectRef, RouterName] = {}
        self._leaving: dict[ObjectRef, RouterName] = {}
        self._seen: set[ObjectRef] = set()

    async def prepare(self, split: Manifest) -> Problem | None:
        """Make what the router of the split needs; from now on that router answers for it."""
        name = self._asked[ref_of(Kind.TRAFFIC_SPLIT, split)] = router_of(split)
        return await self._by_name[name].prepare(split)

    async def publish(self, split: Manifest, route: SplitRoute) -> Problem | None:
        """Hand the route to the router of the split."""
        return await self._by_name[router_of(split)].publish(split, route)

    async def acknowledged(self, ref: ObjectRef, *, timeout_seconds: float) -> Acknowledgement | None:
        """Wait for the router of the split."""
        return await self._of(ref).acknowledged(ref, timeout_seconds=timeout_seconds)

    async def hand_over(self, split: Manifest) -> float | None:
        """Take a split whose router has acknowledged weights from the other one, if that led it before.

        Returns after how many seconds to call again, or None when nothing is left. What is begun is remembered here
        and, until the new router is written down, in the status.
        """
        ref, name = ref_of(Kind.TRAFFIC_SPLIT, split), router_of(split)
        before = router_before(split)
        if before is not None and changes_router(split):
            self._leaving[ref] = before
        elif name == GATEWAY and ref not in self._seen:
            self._leaving[ref] = ENVOY  # an operator before this one may have ended while the routers lingered
        self._seen.add(ref)
        leaving = self._leaving.get(ref)
        if leaving is None or leaving == name:
            self._leaving.pop(ref, None)
            return None
        pause = await self._by_name[leaving].withdraw(ref)
        if pause is None:
            del self._leaving[ref]
        return pause

    async def withdraw(self, ref: ObjectRef) -> float | None:
        """Take a deleted split from all routers."""
        self._leaving.pop(ref, None)
        self._asked.pop(ref, None)
        self._seen.discard(ref)
        pauses = [await router.withdraw(ref) for router in self._by_name.values()]
        return max((pause for pause in pauses if pause is not None), default=None)

    def size(self, ref: ObjectRef) -> int:
        """Return how many must acknowledge what is published for a split."""
        return self._of(ref).size(ref)

    def trouble(self, ref: ObjectRef) -> str:
        """Return why there is nobody who could."""
        return self._of(ref).trouble(ref)

    async def refresh(self, ref: ObjectRef, *, max_age_seconds: float) -> None:
        """Count what happened behind a split."""
        await self._of(ref).refresh(ref, max_age_seconds=max_age_seconds)

    def take(self, ref: ObjectRef) -> Sequence[SplitTick]:
        """Return the ticks of a split that were not taken yet."""
        return self._of(ref).take(ref)

    def warm(self, ref: ObjectRef) -> frozenset[str]:
        """Return the revisions that may get requests of a split."""
        return self._of(ref).warm(ref)

    def _of(self, ref: ObjectRef) -> SplitRouter:
        return self._by_name[self._asked.get(ref, ENVOY)]
