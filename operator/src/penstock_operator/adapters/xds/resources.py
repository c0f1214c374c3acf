"""Split routes as versioned Envoy resources: a listener, a route configuration, clusters."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2

# Envoy's Any fields are parsed by name; their types have to be loaded.
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2 as _dns  # noqa: F401
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2 as _grpc_stats  # noqa: F401
from envoy.extensions.filters.http.lua.v3 import lua_pb2 as _lua  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2 as _router  # noqa: F401
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2 as _codec  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as _manager,  # noqa: F401
)
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2 as _previous_hosts  # noqa: F401
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as _http  # noqa: F401
from google.protobuf import any_pb2
from google.protobuf.json_format import ParseDict

from penstock_operator.adapters.xds.clusters import cluster_bodies
from penstock_operator.adapters.xds.listener import listener_body
from penstock_operator.adapters.xds.route_table import route_table_body
from penstock_operator.core.routes import SplitRoute

_TYPE = "type.googleapis.com/"
CLUSTER_TYPE = _TYPE + "envoy.config.cluster.v3.Cluster"
LISTENER_TYPE = _TYPE + "envoy.config.listener.v3.Listener"
ROUTE_TYPE = _TYPE + "envoy.config.route.v3.RouteConfiguration"
#: In the order that never leaves a route without its cluster.
RESOURCE_TYPES = (CLUSTER_TYPE, LISTENER_TYPE, ROUTE_TYPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One Envoy resource; ``version`` is the hash of its content."""

    type_url: str
    name: str
    split: str
    version: str
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitResources:
    """Everything that makes one split work."""

    split: str
    version: str
    clusters: tuple[Resource, ...]
    listener: Resource
    route: Resource

    def of(self, type_url: str) -> tuple[Resource, ...]:
        """Return the resources of one type."""
        if type_url == CLUSTER_TYPE:
            return self.clusters
        return (self.listener,) if type_url == LISTENER_TYPE else (self.route,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The configuration of one namespace's fleet, by split."""

    version: str
    splits: Mapping[str, SplitResources]
    names: Mapping[str, frozenset[str]]
    """The names of all resources by type: every router asks at each of its answers what it has beyond them."""
    routes: Mapping[str, SplitRoute] = field(default_factory=dict, compare=False, repr=False)
    """What the splits were made of."""

    def of(self, type_url: str) -> tuple[Resource, ...]:
        """Return the resources of one type over all splits."""
        return tuple(resource for split in self.splits.values() for resource in split.of(type_url))


def snapshot_of(routes: Iterable[SplitRoute], before: Snapshot | None = None) -> Snapshot:
    """Return what the routers of a namespace should run.

    The same routes give the same version in any order. Routes that are the very objects of ``before`` cost nothing:
    among hundreds of splits one changes. Raises ValueError if two routes share a split's name or a port.
    """
    known: Mapping[str, SplitRoute] = before.routes if before is not None else {}
    splits: dict[str, SplitResources] = {}
    made_of: dict[str, SplitRoute] = {}
    ports: dict[int, str] = {}
    for route in sorted(routes, key=lambda route: route.split):
        if route.split in splits:
            raise ValueError(f"split {route.namespace}/{route.split} is published twice")
        if route.port in ports:
            raise ValueError(f"splits {ports[route.port]} and {route.split} share router port {route.port}")
        ports[route.port] = route.split
        same = before is not None and known.get(route.split) is route
        splits[route.split] = before.splits[route.split] if before is not None and same else split_resources(route)
        made_of[route.split] = route
    version = _digest(*(split.version for split in splits.values()))
    return Snapshot(version=version, splits=splits, names=names_of(splits), routes=made_of)


def names_of(splits: Mapping[str, SplitResources]) -> dict[str, frozenset[str]]:
    """Return the names of the resources of all splits, by type."""
    endpoints = frozenset(split.listener.name for split in splits.values())
    clusters = frozenset(cluster.name for split in splits.values() for cluster in split.clusters)
    return {CLUSTER_TYPE: clusters, LISTENER_TYPE: endpoints, ROUTE_TYPE: endpoints}


@lru_cache(maxsize=4096)
def split_resources(route: SplitRoute) -> SplitResources:
    """Return the Envoy resources of one split."""
    clusters = tuple(
        _resource(route.split, body, cluster_pb2.Cluster(), CLUSTER_TYPE) for body in cluster_bodies(route)
    )
    listener = _resource(route.split, listener_body(route), listener_pb2.Listener(), LISTENER_TYPE)
    table = _resource(route.split, route_table_body(route), route_pb2.RouteConfiguration(), ROUTE_TYPE)
    version = _digest(listener.version, table.version, *(cluster.version for cluster in clusters))
    return SplitResources(split=route.split, version=version, clusters=clusters, listener=listener, route=table)


def _resource(split: str, body: dict[str, Any], message: Any, type_url: str) -> Resource:
    packed = any_pb2.Any(type_url=type_url, value=ParseDict(body, message).SerializeToString(deterministic=True))
    return Resource(type_url=type_url, name=body["name"], split=split, version=_digest(packed.value), body=packed)


def _digest(*parts: bytes | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]
