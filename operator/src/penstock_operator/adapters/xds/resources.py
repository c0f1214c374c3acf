"""Split routes as Envoy resources: a listener, a route configuration, a cluster for each revision."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2

# Envoy's Any fields are parsed by name; their types have to be loaded.
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2 as _dns  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2 as _router  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as _manager,  # noqa: F401
)
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2 as _previous_hosts  # noqa: F401
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as _http  # noqa: F401
from google.protobuf import any_pb2
from google.protobuf.json_format import ParseDict

from penstock_operator.adapters.xds.naming import ClusterName, endpoint_name
from penstock_operator.core.manifests.router_bootstrap import NOBODY
from penstock_operator.core.routes import Backend, SplitRoute

_TYPE = "type.googleapis.com/"
CLUSTER_TYPE = _TYPE + "envoy.config.cluster.v3.Cluster"
LISTENER_TYPE = _TYPE + "envoy.config.listener.v3.Listener"
ROUTE_TYPE = _TYPE + "envoy.config.route.v3.RouteConfiguration"
#: In the order that never leaves a route without its cluster.
RESOURCE_TYPES = (CLUSTER_TYPE, LISTENER_TYPE, ROUTE_TYPE)

REVISION_HEADER = "x-penstock-revision"
#: Added by pods when they drain or reject; nothing of a request is charged to a revision outside this path.
SERVED_PATH = "/v2"

# High enough that pods, which queue and answer 429 themselves, are the limit and never the router.
_CIRCUIT_LIMIT = 10_000
# Pods keep idle connections for 75 s; closing first here means never writing to one that is just being closed.
_UPSTREAM_IDLE_SECONDS = 30
# A request head or body that trickles longer than this is an attack or a dead client.
_REQUEST_HEAD_SECONDS = 10
_REQUEST_BODY_SECONDS = 120
# Clients reconnect now and then, so that load follows when the number of routers changes.
_CONNECTION_SECONDS = 300
_CLIENT_IDLE_SECONDS = 600


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

    def of(self, type_url: str) -> tuple[Resource, ...]:
        """Return the resources of one type over all splits."""
        return tuple(resource for split in self.splits.values() for resource in split.of(type_url))


def snapshot_of(routes: Iterable[SplitRoute]) -> Snapshot:
    """Return what the routers of a namespace should run.

    The same routes give the same version in any order. Raises ValueError if two routes share a split's name or a
    port.
    """
    splits: dict[str, SplitResources] = {}
    ports: dict[int, str] = {}
    for route in sorted(routes, key=lambda route: route.split):
        if route.split in splits:
            raise ValueError(f"split {route.namespace}/{route.split} is published twice")
        if route.port in ports:
            raise ValueError(f"splits {ports[route.port]} and {route.split} share router port {route.port}")
        ports[route.port] = route.split
        splits[route.split] = split_resources(route)
    return Snapshot(version=_digest(*(split.version for split in splits.values())), splits=splits)


@lru_cache(maxsize=4096)
def split_resources(route: SplitRoute) -> SplitResources:
    """Return the Envoy resources of one split."""
    clusters = tuple(_cluster(route.namespace, route.split, backend) for backend in route.backends)
    listener = _resource(route.split, _listener(route), listener_pb2.Listener(), LISTENER_TYPE)
    table = _resource(route.split, _route(route), route_pb2.RouteConfiguration(), ROUTE_TYPE)
    version = _digest(listener.version, table.version, *(cluster.version for cluster in clusters))
    return SplitResources(split=route.split, version=version, clusters=clusters, listener=listener, route=table)


def _cluster(namespace: str, split: str, backend: Backend) -> Resource:
    name = ClusterName(namespace=namespace, split=split, revision=backend.revision)
    return _resource(split, _cluster_body(name, backend.host, backend.port), cluster_pb2.Cluster(), CLUSTER_TYPE)


def _cluster_body(name: ClusterName, host: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": host, "port_value": port}}
    return {
        "name": str(name),
        "alt_stat_name": name.stats,
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "cluster_type": {"name": "envoy.cluster.dns", "typed_config": _DNS},
        "load_assignment": {
            "cluster_name": str(name),
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "health_checks": [_HEALTH_CHECK],
        "outlier_detection": _OUTLIER_DETECTION,
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _CIRCUIT_LIMIT,
                    "max_pending_requests": _CIRCUIT_LIMIT,
                    "max_requests": _CIRCUIT_LIMIT,
                    "max_retries": _CIRCUIT_LIMIT,
                }
            ]
        },
        "common_lb_config": {
            # Only when not one pod is healthy: a check missed under load must not become an outage.
            "healthy_panic_threshold": {"value": 1},
            "ignore_new_hosts_until_first_hc": True,
            # By default changes of health wait up to a second to be merged, and requests go astray that long.
            "update_merge_window": "0s",
        },
        # An address that DNS no longer names may soon be another model's pod, and that one would look healthy.
        "ignore_health_on_host_removal": True,
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _UPSTREAM_HTTP},
    }


_DNS = {
    "@type": _TYPE + "envoy.extensions.clusters.dns.v3.DnsCluster",
    "dns_refresh_rate": "2s",
    "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "2s"},
    "respect_dns_ttl": False,
    "dns_lookup_family": "V4_PREFERRED",
}
_HEALTH_CHECK = {
    "timeout": "1s",
    "interval": "1s",
    "no_traffic_interval": "1s",
    "initial_jitter": "0.1s",
    "interval_jitter": "0.1s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "http_health_check": {"path": "/v2/health/ready"},
}
# Only what the router itself sees failing (refused, reset, timed out). A revision that answers 5xx is the judge's
# business, and throwing out its pods would hide it.
_OUTLIER_DETECTION = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 3,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_local_origin_success_rate": 0,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "max_ejection_percent": 50,
    "interval": "1s",
    "base_ejection_time": "5s",
    "max_ejection_time": "30s",
}
_UPSTREAM_HTTP = {
    "@type": _TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "explicit_http_config": {"http_protocol_options": {}},
    "common_http_protocol_options": {"idle_timeout": f"{_UPSTREAM_IDLE_SECONDS}s"},
}


def _route(route: SplitRoute) -> dict[str, Any]:
    name = endpoint_name(route.namespace, route.split)
    return {
        "name": name,
        "virtual_hosts": [
            {
                "name": name,
                "domains": ["*"],
                "routes": [
                    {"match": {"path_separated_prefix": SERVED_PATH}, "route": _weighted(route)},
                    {"match": {"prefix": "/"}, "direct_response": _NOT_SERVED},
                ],
            }
        ],
        "request_headers_to_remove": [REVISION_HEADER],
    }


_NOT_SERVED = {
    "status": 404,
    "body": {"inline_string": f"nothing is served here; models answer under {SERVED_PATH}"},
}


def _weighted(route: SplitRoute) -> dict[str, Any]:
    return {
        "weighted_clusters": {"clusters": [_share(route, backend) for backend in route.backends]},
        "timeout": f"{route.request_timeout_seconds}s",
        "idle_timeout": f"{route.request_timeout_seconds + 5}s",
        "retry_policy": {
            # Only where the pod has not seen the request.
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 2,
            "retry_back_off": {"base_interval": "0.010s", "max_interval": "0.100s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": _TYPE + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            # A host that refuses has the fewest requests, so it is chosen again and again.
            "host_selection_retry_max_attempts": 16,
        },
    }


def _share(route: SplitRoute, backend: Backend) -> dict[str, Any]:
    return {
        "name": str(ClusterName(namespace=route.namespace, split=route.split, revision=backend.revision)),
        "weight": backend.weight,
        "response_headers_to_add": [
            {
                "header": {"key": REVISION_HEADER, "value": backend.revision},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


def _listener(route: SplitRoute) -> dict[str, Any]:
    # Nothing here depends on weights, revisions or timeouts: a changed listener drains its connections.
    name = endpoint_name(route.namespace, route.split)
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": _connection_manager(name)}
    return {
        "name": name,
        "stat_prefix": "split",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": route.port}},  # noqa: S104 - in its own pod
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [{"filters": [manager]}],
    }


def _connection_manager(name: str) -> dict[str, Any]:
    return {
        "@type": _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "split",
        # A listener without routes yet stays closed, however long that takes.
        "rds": {
            "route_config_name": name,
            "config_source": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": _TYPE + "envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
        **_PROTECTION,
        # Answers of the router's own read like those of the models.
        "local_reply_config": {
            "body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}, "content_type": "application/json"}
        },
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
    }


_PROTECTION = {
    # With no address counted as internal, nobody sets timeouts or retries by x-envoy-… headers.
    "use_remote_address": True,
    "internal_address_config": {"cidr_ranges": [NOBODY]},
    "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "penstock"},
    "common_http_protocol_options": {
        "idle_timeout": f"{_CLIENT_IDLE_SECONDS}s",
        "max_connection_duration": f"{_CONNECTION_SECONDS}s",
        "headers_with_underscores_action": "REJECT_REQUEST",
    },
    # Says `Connection: close` with an answer instead of cutting a connection under the client's next request.
    "http1_safe_max_connection_duration": True,
    "request_headers_timeout": f"{_REQUEST_HEAD_SECONDS}s",
    "request_timeout": f"{_REQUEST_BODY_SECONDS}s",
    "stream_idle_timeout": f"{_REQUEST_BODY_SECONDS}s",
    "normalize_path": True,
    "merge_slashes": True,
    "path_with_escaped_slashes_action": "REJECT_REQUEST",
}


def _resource(split: str, body: dict[str, Any], message: Any, type_url: str) -> Resource:
    packed = any_pb2.Any(type_url=type_url, value=ParseDict(body, message).SerializeToString(deterministic=True))
    return Resource(type_url=type_url, name=body["name"], split=split, version=_digest(packed.value), body=packed)


def _digest(*parts: bytes | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]
