"""Gateways as a router of splits: an HTTPRoute for each, counts from the serving pods."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from penstock_operator.core.conditions import Reason
from penstock_operator.core.difference import differs
from penstock_operator.core.gateway import KIND, Attachment, GatewayTarget, acknowledgement_of
from penstock_operator.core.gateway_limits import host_rival, is_led_by_gateway, target_of, unsayable, unsupported
from penstock_operator.core.manifests.http_route import http_route
from penstock_operator.core.manifests.ownership import shares_an_owner
from penstock_operator.core.names import MANAGED_BY, OPERATOR
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of
from penstock_operator.core.routes import Acknowledgement, SplitRoute
from penstock_operator.core.traffic_split import Problem
from penstock_operator.ports import Cluster, GatewayApi, RequestRejected
from penstock_operator.reconcile.pod_sampling import PodSampler
from penstock_operator.reconcile.sampling import SplitTick

#: Controllers write the conditions of a changed route within some tenths of a second.
_POLL_SECONDS = 0.2
_NOT_ENABLED = Problem(
    reason=Reason.GATEWAY_NOT_ENABLED,
    message="spec.gateway: the operator has no rights on HTTPRoutes; install the chart with gateway.enabled=true",
)

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class _Led:
    """What is known of a split that a Gateway leads."""

    target: GatewayTarget
    attachment: Attachment
    live: Manifest | None
    """The HTTPRoute as it was last seen."""
    held: bool
    """Whether the route must not be written: it is somebody else's, or its host is another split's."""
    route: SplitRoute | None = None
    wanted: Manifest | None = None
    """The HTTPRoute as it was published; None if that was refused."""
    accepted: SplitRoute | None = None
    """The last route that was not refused."""
    runs: frozenset[str] = field(default_factory=frozenset)
    """The revisions of the last route that the Gateways had acknowledged."""


class GatewayRouter:
    """Implements SplitRouter on the Gateway API. ``api`` is None where the operator has no rights on it.

    The Gateways' controllers acknowledge by the conditions of the route. Counts and health are the serving pods' own:
    a Gateway's counters are different with each implementation.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        api: GatewayApi | None,
        sampler: PodSampler,
        monotonic: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._api = api
        self._sampler = sampler
        self._monotonic = monotonic
        self._sleep = sleep
        self._led: dict[ObjectRef, _Led] = {}

    async def prepare(self, split: Manifest) -> Problem | None:
        """Look at the route and its Gateways; return what keeps the split from being led by them."""
        ref = ref_of(Kind.TRAFFIC_SPLIT, split)
        target = target_of(split)
        if self._api is None or target is None:
            return _NOT_ENABLED
        try:
            live = await self._api.route(ref.namespace, ref.name)
            attachment = await self._api.attachment(target.parents)
        except RequestRejected as error:
            return _rejected(error)
        problem = self._problem(split, target, live)
        held = problem is not None and (problem.reason is Reason.NOT_OWNED or not is_led_by_gateway(split))
        led = self._led.setdefault(ref, _Led(target=target, attachment=attachment, live=live, held=held))
        led.target, led.attachment, led.live, led.held = target, attachment, live, held
        return problem

    async def publish(self, split: Manifest, route: SplitRoute) -> Problem | None:
        """Apply the HTTPRoute unless it says this already; return what of it cannot be said or done.

        Then what was done before goes on, but with the new weights: a rollback must always be possible.
        """
        led = self._led.get(ref_of(Kind.TRAFFIC_SPLIT, split))
        if self._api is None or led is None:
            return None  # told by ``prepare``
        led.route, led.wanted = route, None
        if led.held:
            return None
        problem = await self._apply(split, led, route)
        if problem is None:
            led.wanted, led.accepted = http_route(split, route, led.target), route
        elif led.accepted is not None:
            await self._apply(split, led, _with_backends_of(led.accepted, route))
        return problem

    async def acknowledged(self, ref: ObjectRef, *, timeout_seconds: float) -> Acknowledgement | None:
        """Wait until every Gateway runs or refuses the route, at most this long."""
        led = self._led.get(ref)
        if self._api is None or led is None or led.wanted is None:
            return None
        end = self._monotonic() + timeout_seconds
        while True:
            told = _told(led, ref)
            if told.complete and led.route is not None:
                led.runs = frozenset(backend.revision for backend in led.route.backends)
            if not told.missing or self._monotonic() >= end:
                return told
            await self._sleep(_POLL_SECONDS)
            live = await self._api.route(ref.namespace, ref.name)
            # One that somebody changes or deletes meanwhile is mended at the next look.
            led.live = live if live is not None and led.wanted is not None and not differs(live, led.wanted) else None
            led.attachment = await self._api.attachment(led.target.parents)

    async def withdraw(self, ref: ObjectRef) -> float | None:
        """Delete the route of a split that another router leads now; that of a deleted one goes with its owner."""
        self._led.pop(ref, None)
        self._sampler.forget(ref)
        split = self._cluster.get(ref)
        if self._api is None or split is None or split["metadata"].get("deletionTimestamp"):
            return None
        live = await self._api.route(ref.namespace, ref.name)
        if live is not None and not _is_foreign(live, split):
            await self._api.delete(ref.namespace, ref.name, uid=live["metadata"]["uid"])
        return None

    def size(self, ref: ObjectRef) -> int:
        """Return how many Gateways, or listeners of them, must run the route."""
        led = self._led.get(ref)
        return len(led.target.parents) if led is not None else 0

    def trouble(self, ref: ObjectRef) -> str:  # noqa: ARG002 - conditions tell it
        """Return nothing: what is wrong with a Gateway is in its acknowledgement."""
        return ""

    async def refresh(self, ref: ObjectRef, *, max_age_seconds: float) -> None:
        """Read the pods of the revisions that the route names."""
        led = self._led.get(ref)
        if led is not None and led.route is not None:
            revisions = [backend.revision for backend in led.route.backends]
            await self._sampler.refresh(ref, revisions, max_age_seconds=max_age_seconds)

    def take(self, ref: ObjectRef) -> Sequence[SplitTick]:
        """Return what is new of a split."""
        return self._sampler.take(ref)

    def warm(self, ref: ObjectRef) -> frozenset[str]:
        """Return the revisions that have ready pods and that the Gateways know."""
        led = self._led.get(ref)
        if led is None:
            return frozenset()
        return frozenset(revision for revision in led.runs if self._sampler.has_ready_pods(ref.namespace, revision))

    async def _apply(self, split: Manifest, led: _Led, route: SplitRoute) -> Problem | None:
        assert self._api is not None
        if words := unsayable(route) or await self._unsupported(led, route):
            return Problem(reason=Reason.UNSUPPORTED_BY_GATEWAY, message=words)
        wanted = http_route(split, route, led.target)
        try:
            if differs(led.live, wanted):
                led.live = await self._api.apply(wanted)
        except RequestRejected as error:
            return _rejected(error)
        return None

    def _problem(self, split: Manifest, target: GatewayTarget, live: Manifest | None) -> Problem | None:
        namespace, name = split["metadata"]["namespace"], split["metadata"]["name"]
        if _is_foreign(live, split):
            words = f"{KIND} {namespace}/{name} exists and belongs to somebody else; delete or rename one of the two"
            return Problem(reason=Reason.NOT_OWNED, message=words)
        if rival := host_rival(split, target, self._cluster.list(Kind.TRAFFIC_SPLIT, namespace)):
            return Problem(reason=Reason.HOST_TAKEN, message=rival)
        return None

    async def _unsupported(self, led: _Led, route: SplitRoute) -> str | None:
        assert self._api is not None
        for gateway in led.attachment.gateways.values():
            if gateway is not None:
                gateway_class = str(gateway["spec"].get("gatewayClassName", ""))
                if words := unsupported(route, await self._api.features(gateway_class), gateway_class):
                    return words
        return None


def _told(led: _Led, ref: ObjectRef) -> Acknowledgement:
    """Return what the Gateways say of the route as it was last seen; nothing if it is not the one that is wanted."""
    if led.live is None or led.wanted is None or differs(led.live, led.wanted):
        route = {"metadata": {"namespace": ref.namespace, "generation": 0}}
        return acknowledgement_of(route, led.target, led.attachment)
    return acknowledgement_of(led.live, led.target, led.attachment)


def _with_backends_of(before: SplitRoute, now: SplitRoute) -> SplitRoute:
    """Return an earlier route with the backends of another one, and of the rest what they still have."""
    there = {backend.revision for backend in now.backends}
    return replace(
        before,
        backends=now.backends,
        matches=tuple(match for match in before.matches if match.revision in there),
        mirrors=tuple(mirror for mirror in before.mirrors if mirror.revision in there),
    )


def _rejected(error: RequestRejected) -> Problem:
    """Return what to say of a refused request, with the way out where it is known."""
    if "sessionPersistence" in str(error):
        words = (
            "spec.stickiness.cookie: the HTTPRoutes of this cluster have no sessionPersistence; install the "
            "experimental channel of the Gateway API's CRDs, or leave out spec.gateway for the built-in routers"
        )
        return Problem(reason=Reason.UNSUPPORTED_BY_GATEWAY, message=words)
    if error.status == HTTPStatus.NOT_FOUND:
        words = f"spec.gateway: {error}, or leave out spec.gateway for the built-in routers"
        return Problem(reason=Reason.GATEWAY_API_MISSING, message=words)
    return Problem(reason=Reason.REJECTED_BY_SERVER, message=str(error))


def _is_foreign(live: Manifest | None, split: Manifest) -> bool:
    """Return whether there is a route of this name that is not ours; an orphan of ours is adopted."""
    if live is None:
        return False
    metadata = live["metadata"]
    labels = metadata.get("labels") or {}
    orphaned = not metadata.get("ownerReferences") and labels.get(MANAGED_BY) == OPERATOR
    owner = {"metadata": {"ownerReferences": [{"uid": split["metadata"]["uid"]}]}}
    return not (orphaned or shares_an_owner(live, owner))
