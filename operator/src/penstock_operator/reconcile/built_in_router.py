"""The built-in routers as a router of splits: a fleet for each namespace, counters of its own."""

from collections.abc import Callable, Sequence

from penstock_operator.core.conditions import Reason
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of
from penstock_operator.core.routes import Acknowledgement, SplitRoute
from penstock_operator.core.traffic_split import Problem
from penstock_operator.ports import RequestRejected
from penstock_operator.reconcile.execute import in_the_way
from penstock_operator.reconcile.fleet import Fleet
from penstock_operator.reconcile.sampling import Sampler, SplitTick

#: The listener of a split that is gone stays this long, until every node's Service rules lead elsewhere.
_LINGER_SECONDS = 30.0


class BuiltInRouter:
    """Implements SplitRouter on the fleets and their sampler."""

    def __init__(self, *, fleet: Fleet, sampler: Sampler, monotonic: Callable[[], float]) -> None:
        self._fleet = fleet
        self._sampler = sampler
        self._monotonic = monotonic
        self._leaving: dict[ObjectRef, float] = {}

    async def prepare(self, split: Manifest) -> Problem | None:
        """Make or mend the fleet; what keeps us from it must not keep us from taking traffic back."""
        return await self._ensure(split["metadata"]["namespace"])

    async def publish(self, split: Manifest, route: SplitRoute) -> Problem | None:
        """Hand the route to the fleet of the namespace."""
        ref = ref_of(Kind.TRAFFIC_SPLIT, split)
        self._leaving.pop(ref, None)
        self._fleet.publish(ref.namespace, ref.name, route)
        return None

    async def acknowledged(self, ref: ObjectRef, *, timeout_seconds: float) -> Acknowledgement | None:
        """Wait for the routers of the namespace, at most this long; None while none is ready."""
        if not self._fleet.pods(ref.namespace):
            return None
        return await self._fleet.acknowledged(ref.namespace, ref.name, timeout_seconds=timeout_seconds)

    async def withdraw(self, ref: ObjectRef) -> float | None:
        """Let the routers go on for a while until nobody is led to them any more."""
        await self._ensure(ref.namespace)
        left = self._leaving.setdefault(ref, self._monotonic() + _LINGER_SECONDS) - self._monotonic()
        if left > 0:
            return left
        self._leaving.pop(ref, None)
        self._sampler.forget(ref.namespace, ref.name)
        self._fleet.publish(ref.namespace, ref.name, None)
        await self._fleet.disband(ref.namespace)
        return None

    def size(self, ref: ObjectRef) -> int:
        """Return how many routers are ready."""
        return len(self._fleet.pods(ref.namespace))

    def trouble(self, ref: ObjectRef) -> str:
        """Return why routers are not ready."""
        return self._fleet.trouble(ref.namespace)

    async def refresh(self, ref: ObjectRef, *, max_age_seconds: float) -> None:
        """Read the routers of the namespace, once for all its splits."""
        pods = self._fleet.pods(ref.namespace)
        await self._sampler.refresh(ref.namespace, pods, max_age_seconds=max_age_seconds)

    def take(self, ref: ObjectRef) -> Sequence[SplitTick]:
        """Return what is new of a split."""
        return self._sampler.take(ref.namespace, ref.name)

    def warm(self, ref: ObjectRef) -> frozenset[str]:
        """Return the revisions that every router has resolved and found healthy."""
        return self._sampler.warm(ref.namespace, ref.name)

    async def _ensure(self, namespace: str) -> Problem | None:
        try:
            foreign = await self._fleet.ensure(namespace)
        except RequestRejected as error:
            return Problem(reason=Reason.REJECTED_BY_SERVER, message=str(error))
        return Problem(reason=Reason.NOT_OWNED, message=in_the_way(foreign)) if foreign else None
