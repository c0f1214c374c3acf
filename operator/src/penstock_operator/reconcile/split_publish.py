"""Brings what was decided to the routers of a namespace, and clients to the routers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.core.capacity import Pods, within_capacity
from penstock_operator.core.conditions import Reason
from penstock_operator.core.difference import differs
from penstock_operator.core.manifests.endpoint import (
    ToRevision,
    ToRouter,
    endpoint_address,
    endpoint_service,
    endpoint_write,
)
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, kind_of, ref_of
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.rollout_status import parse_rollout
from penstock_operator.core.routes import Acknowledgement
from penstock_operator.core.traffic_split import Problem, request_timeout_seconds, split_route
from penstock_operator.ports import Cluster, RequestRejected, RolloutObserver
from penstock_operator.reconcile.execute import apply_own, in_the_way
from penstock_operator.reconcile.routing import SplitRouter
from penstock_operator.reconcile.split_look import Look, acknowledged_weights

#: How long a new weight may take to be acknowledged before the reconcile goes on without; usually milliseconds.
_ACKNOWLEDGE_SECONDS = 1.0
#: The timeout behind a split whose ModelDeployment cannot be read; the pods have their own.
_UNKNOWN_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Who runs what was published; ``told`` is None where there is nobody to ask. ``problem``: what cannot be done.

    ``weights`` are those that were published: what ready pods can carry of what is meant.
    """

    told: Acknowledgement | None = None
    problem: Problem | None = None
    weights: Mapping[str, int] = field(default_factory=dict)


class Publisher:
    """The routers and the endpoint of splits."""

    def __init__(
        self, *, cluster: Cluster, router: SplitRouter, observer: RolloutObserver, monotonic: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._router = router
        self._observer = observer
        self._monotonic = monotonic

    async def ensure_endpoint(self, look: Look, stable: str) -> Problem | None:
        """Make or mend the Service of a split that has a name of its own.

        With a Gateway it leads to the stable revision, as that of a ModelDeployment does.
        """
        gateway = ToRevision(revision=stable, grpc=look.grpc)
        target = gateway if look.port is None else ToRouter(port=look.port, grpc=look.grpc)
        service = endpoint_service(look.manifest, target)
        ref = ref_of(kind_of(service), service)
        live = self._cluster.get(ref)
        write = endpoint_write(service, live, look.status.get("clusterIP"))
        try:
            if not differs(live, service) or await apply_own(self._cluster, write.manifest, write.otherwise):
                return None
        except RequestRejected as error:
            return Problem(reason=Reason.REJECTED_BY_SERVER, message=str(error))
        return Problem(reason=Reason.NOT_OWNED, message=in_the_way([ref]))

    def address(self, look: Look) -> str | None:
        """Return the ClusterIP of a split that has a name of its own; else the ModelDeployment tells it."""
        if look.deployment["metadata"]["name"] == look.name:
            return None
        ref = ObjectRef(kind=Kind.SERVICE, namespace=look.namespace, name=look.name)
        return endpoint_address(self._cluster.get(ref), look.status.get("clusterIP"))

    async def publish(self, look: Look, rollout: Rollout, *, now: float) -> Published:
        """Bring a rollout to the routers."""
        weights = _carried(look, rollout, now)
        route = split_route(
            namespace=look.namespace,
            split=look.name,
            port=look.port or 0,
            spec=look.spec,
            rollout=rollout,
            ready=[name for name, state in look.revisions.items() if state.ready],
            request_timeout_seconds=request_timeout_seconds(tuple(look.targets.values())),
            grpc=look.grpc,
            weights=weights,
        )
        if route is None:
            return Published()
        problem = await self._router.publish(look.manifest, route)
        started = self._monotonic()
        told = await self._router.acknowledged(look.ref, timeout_seconds=_ACKNOWLEDGE_SECONDS)
        if told is not None and told.complete and look.weights and weights != look.weights:
            self._observer.weights_acknowledged(self._monotonic() - started)
        return Published(told=told, problem=problem, weights=weights)

    async def publish_as_it_was(self, ref: ObjectRef, manifest: Manifest) -> None:
        """Let the routers go on with what the status of a split says that may not act."""
        weights, port = acknowledged_weights(manifest), manifest.get("status", {}).get("port")
        if not weights or port is None:
            return  # a Gateway need not be told again
        route = split_route(
            namespace=ref.namespace,
            split=ref.name,
            port=port,
            spec=_readable_spec(manifest),
            rollout=parse_rollout(manifest["status"]),
            ready=list(weights),
            request_timeout_seconds=_UNKNOWN_TIMEOUT_SECONDS,
            grpc=True,
        )
        if route is not None:
            await self._router.publish(manifest, route)


def _readable_spec(manifest: Manifest) -> TrafficSplitSpec | None:
    """Return what spec says of matches, keys and copies, if it can be read at all."""
    try:
        return TrafficSplitSpec.parse(manifest["spec"])
    except ValidationError:
        return None


def _carried(look: Look, rollout: Rollout, now: float) -> dict[str, int]:
    """Return the weights of a rollout as far as ready pods can carry them."""
    if rollout.stable is None:
        return {}
    return within_capacity(
        rollout.weights,
        running=look.weights,
        pods=Pods.seen(look.revisions, rollout.stable, look.weights),
        stable=rollout.stable,
        waited_seconds=_waited_seconds(look, rollout, now),
    )


def _waited_seconds(look: Look, rollout: Rollout, now: float) -> float:
    """Return since when stable is to have everything.

    What an autoscaler brings up after its promotion is waited for: there is nothing wrong with what serves meanwhile.
    """
    state = look.revisions.get(rollout.stable or "")
    last = rollout.history[0] if rollout.history else None
    if last is None or (last.outcome == "Promoted" and state is not None and state.scaled is not None):
        return 0.0
    return max(0.0, now - last.finished_at)
