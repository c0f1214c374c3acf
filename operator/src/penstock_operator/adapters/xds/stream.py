"""What one connected router runs: which updates are due to it, in an order that never breaks a request."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from penstock_operator.adapters.xds.naming import endpoint_of, split_of
from penstock_operator.adapters.xds.resources import (
    CLUSTER_TYPE,
    LISTENER_TYPE,
    RESOURCE_TYPES,
    ROUTE_TYPE,
    Resource,
    Snapshot,
    SplitResources,
)

# An error is shown in a condition.
_WORDS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One response: resources to add or change, and names to remove."""

    type_url: str
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Subscription:
    """What a router said about one resource type on this stream."""

    subscribed: bool = False
    #: Whether the first response was sent. Envoy waits for one even if there is nothing to say.
    answered: bool = False
    names: set[str] = field(default_factory=set)
    #: Name → version that the router has accepted.
    known: dict[str, str] = field(default_factory=dict)
    #: Name → (version, Envoy's words) that the router has refused.
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: Were in a refused response together with others, and are tried again one by one.
    alone: set[str] = field(default_factory=set)
    pending: Update | None = None

    def has(self, resource: Resource) -> bool:
        return self.known.get(resource.name) == resource.version

    def refuses(self, resource: Resource) -> bool:
        return self.refused.get(resource.name, ("", ""))[0] == resource.version


class RouterStream:
    """The state of one delta ADS stream; no clock and no network in here.

    Order of every change, for each split by itself: its new clusters, then its listener, then its routes, then, after
    ``linger_seconds``, away with clusters that no route names any more. A refused resource stops its own split only.
    """

    def __init__(self, *, linger_seconds: float) -> None:
        self._linger_seconds = linger_seconds
        self._subscriptions = {type_url: _Subscription() for type_url in RESOURCE_TYPES}
        self._unused_since: dict[str, float] = {}
        self._nonces = count(1)
        #: Split → what of it the router is known to run: of hundreds, one or two have something due.
        self._settled: dict[str, SplitResources] = {}

    def observe(self, request: Any) -> frozenset[str] | None:
        """Take in a DeltaDiscoveryRequest: subscriptions, what the router has, its answer to our last update.

        Returns the splits that it tells something of, None for all.
        """
        subscription = self._subscriptions.get(request.type_url)
        if subscription is None:
            return frozenset()
        first, pending = not subscription.subscribed, subscription.pending
        answered = pending is not None and request.response_nonce == pending.nonce
        self._take_in(subscription, request)
        names = {*request.resource_names_subscribe, *request.resource_names_unsubscribe}
        if answered and pending is not None:
            names |= {*pending.removed, *(resource.name for resource in pending.resources)}
        touched = frozenset(split_of(name) for name in names)
        for split in touched:
            self._settled.pop(split, None)
        if first:
            self._settled.clear()
            return None
        return touched

    @staticmethod
    def _take_in(subscription: _Subscription, request: Any) -> None:
        if not subscription.subscribed:
            subscription.subscribed = True
            subscription.known = dict(request.initial_resource_versions)
        subscription.names.update(request.resource_names_subscribe)
        for name in request.resource_names_subscribe:
            # Asked for anew: the router has dropped it since, unless it has just said that it kept it.
            if name not in request.initial_resource_versions:
                subscription.known.pop(name, None)
        for name in request.resource_names_unsubscribe:
            subscription.names.discard(name)
            subscription.known.pop(name, None)
            subscription.refused.pop(name, None)
        if subscription.pending is not None and request.response_nonce == subscription.pending.nonce:
            error = request.error_detail.message if request.HasField("error_detail") else None
            _settle(subscription, subscription.pending, error)

    def due(self, snapshot: Snapshot, now: float) -> Iterator[Update]:
        """Yield the updates to send now; at most one of a type is under way, so a slow router gets only the newest."""
        unsettled = [split for split in snapshot.splits.values() if self._settled.get(split.split) is not split]
        for type_url, subscription in self._subscriptions.items():
            if not subscription.subscribed or subscription.pending is not None:
                continue
            resources = [one for split in unsettled for one in split.of(type_url) if self._is_due(one, snapshot)]
            removed = self._to_remove(type_url, snapshot, now)
            if not subscription.answered and self._must_wait(type_url, snapshot, resources):
                continue
            single = next((resource for resource in resources if resource.name in subscription.alone), None)
            if single is not None:
                resources = [single]
            if resources or removed or not subscription.answered:
                subscription.answered = True
                subscription.pending = Update(
                    type_url=type_url, nonce=str(next(self._nonces)), resources=tuple(resources), removed=removed
                )
                yield subscription.pending

    def runs(self, split: SplitResources) -> bool:
        """Whether the router has accepted all of a split."""
        if self._settled.get(split.split) is split:
            return True
        has_all = all(
            self._subscriptions[type_url].has(resource)
            for type_url in RESOURCE_TYPES
            for resource in split.of(type_url)
        )
        if has_all:
            self._settled[split.split] = split
        return has_all

    def listens_beyond(self, snapshot: Snapshot) -> bool:
        """Whether the router still has listeners of splits that are gone."""
        listeners = self._subscriptions[LISTENER_TYPE]
        return not listeners.subscribed or not listeners.known.keys() <= snapshot.names[LISTENER_TYPE]

    def refusal(self, split: SplitResources) -> str | None:
        """Return Envoy's words if the router has refused a part of this split, as it is now."""
        for type_url in RESOURCE_TYPES:
            subscription = self._subscriptions[type_url]
            for resource in split.of(type_url):
                if subscription.refuses(resource):
                    return subscription.refused[resource.name][1]
        return None

    def wake_at(self) -> float | None:
        """Return when an unused cluster may go, or None when only news can make an update due."""
        if not self._unused_since or self._subscriptions[CLUSTER_TYPE].pending is not None:
            return None
        return min(self._unused_since.values()) + self._linger_seconds

    def _is_due(self, resource: Resource, snapshot: Snapshot) -> bool:
        subscription = self._subscriptions[resource.type_url]
        if subscription.has(resource) or subscription.refuses(resource):
            return False
        if resource.type_url == CLUSTER_TYPE:
            return True
        if resource.type_url == ROUTE_TYPE and resource.name not in subscription.names:
            return False
        return self._has_clusters(snapshot.splits[resource.split])

    def _has_clusters(self, split: SplitResources) -> bool:
        return all(self._subscriptions[CLUSTER_TYPE].has(cluster) for cluster in split.clusters)

    def _must_wait(self, type_url: str, snapshot: Snapshot, resources: list[Resource]) -> bool:
        # A starting router takes the first response for the whole world and becomes ready on it.
        if type_url != LISTENER_TYPE:
            return False
        listeners = self._subscriptions[LISTENER_TYPE]
        return any(
            split.listener not in resources and not listeners.has(split.listener) and self.refusal(split) is None
            for split in snapshot.splits.values()
        )

    def _to_remove(self, type_url: str, snapshot: Snapshot, now: float) -> tuple[str, ...]:
        if type_url == ROUTE_TYPE:
            return ()  # they go with their listener
        gone = sorted(self._subscriptions[type_url].known.keys() - snapshot.names[type_url])
        if type_url == LISTENER_TYPE:
            return tuple(gone)
        unused = {name for name in gone if not self._may_be_routed_to(name, snapshot)}
        self._unused_since = {name: self._unused_since.get(name, now) for name in unused}
        return tuple(name for name in sorted(unused) if now >= self._unused_since[name] + self._linger_seconds)

    def _may_be_routed_to(self, cluster: str, snapshot: Snapshot) -> bool:
        endpoint = endpoint_of(cluster)
        split = snapshot.splits.get(endpoint.rpartition("/")[2])
        if split is not None and split.listener.name == endpoint:
            return not self._subscriptions[ROUTE_TYPE].has(split.route)
        listeners = self._subscriptions[LISTENER_TYPE]
        return not listeners.subscribed or endpoint in listeners.known


def _settle(subscription: _Subscription, update: Update, error: str | None) -> None:
    subscription.pending = None
    names = [resource.name for resource in update.resources]
    for name in update.removed:
        subscription.known.pop(name, None)
    if error is None:
        subscription.known.update({resource.name: resource.version for resource in update.resources})
        subscription.alone.difference_update(names)
        for name in names:
            subscription.refused.pop(name, None)
    elif len(update.resources) > 1:
        subscription.alone.update(names)
    else:
        for resource in update.resources:
            subscription.refused[resource.name] = (resource.version, f"{resource.name}: {plain_words(error)}")
            subscription.alone.discard(resource.name)


def plain_words(error: str) -> str:
    r"""Return the sentence that matters of an error of Envoy's, which may quote the whole resource.

    >>> plain_words("name: x\n: Proto constraint validation failed (A: embedded | caused by Port: value must be <= 9)")
    'Port: value must be <= 9'
    """
    _, cause, last = error.rpartition("caused by ")
    words = last.rstrip().removesuffix(")") if cause else " ".join(error.split())
    return words if len(words) <= _WORDS_MAX else f"…{words[-_WORDS_MAX:]}"
