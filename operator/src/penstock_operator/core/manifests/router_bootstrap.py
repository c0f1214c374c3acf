"""Envoy's static configuration: where its routes come from, what it counts, who may ask it."""

import json
from dataclasses import dataclass
from typing import Any

_TYPE = "type.googleapis.com/"

#: Edges of the latency buckets in milliseconds: steps of about 1.25 whose usual limits are edges. Finer ones would hold
#: nothing, for Envoy counts whole milliseconds, from 100 on with two digits.
LATENCY_EDGES_MS: tuple[int, ...] = (
    *(1, 2, 3, 4, 5, 6, 8),
    *(step * decade for decade in (1, 10, 100) for step in (10, 12, 15, 20, 25, 30, 40, 50, 65, 80)),
    *(10_000, 12_000, 15_000, 20_000, 25_000, 30_000, 40_000, 50_000, 60_000),
)
#: Envoy counts its rounded-down values up to and including an edge: at 50 that would be all below 51 ms, at 100 all
#: below 110 ms. Half a millisecond less makes it exactly those below the edge.
EDGE_SHIFT_MS = 0.5
#: An edge that every request is below, so that the cumulative count at it is the count of all.
LATENCY_END_MS = 86_400_000

#: Response header of the statistics port: differs for each process, so that counters which began anew are noticed.
BOOT_HEADER = "x-penstock-boot"
#: The environment variable that it comes from.
BOOT_VARIABLE = "PENSTOCK_BOOT"

#: An address range of documentation. Envoy obeys x-envoy-… request headers from internal addresses, and an empty list
#: of those means its default one.
NOBODY = {"address_prefix": "192.0.2.0", "prefix_len": 32}

# Counters of a cluster that the operator reads; anything else would only make scrapes large.
_CLUSTER_STATS = (
    "upstream_rq_([1-5]xx|completed|timeout|time|retry|pending_overflow)|membership_(healthy|total)"
    r"|grpc\.(success|failure)"
)
_KEPT_STATS = (
    # Clusters of splits are the ones with slashes in their names.
    rf"cluster\.[^.]+/[^.]+/[^.]+\.({_CLUSTER_STATS})",
    r"http\.split\.downstream_(rq|cx)_active",
    r"server\.(live|uptime|memory_allocated)",
    r"control_plane\.connected_state",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSettings:
    """Where a router finds the operator, and its own ports.

    ``heap_bytes`` is what Envoy may use before it sheds load, below the container's limit.
    """

    xds_host: str
    xds_port: int
    heap_bytes: int
    admin_port: int = 9901
    stats_port: int = 9902
    connections_max: int = 20_000


def bootstrap(settings: BootstrapSettings) -> dict[str, Any]:
    """Return the bootstrap of every router; node id and cluster come by flags."""
    return {
        "admin": {"address": _address("127.0.0.1", settings.admin_port)},
        "dynamic_resources": _dynamic_resources(),
        "static_resources": {
            "clusters": [_xds_cluster(settings), _admin_cluster(settings)],
            "listeners": [_stats_listener(settings)],
        },
        "stats_config": _stats_config(),
        # Histograms show what was merged at the last flush.
        "stats_flush_interval": "0.5s",
        "overload_manager": _overload_manager(settings),
    }


def bootstrap_json(settings: BootstrapSettings) -> str:
    """Return the bootstrap for ``envoy --config-yaml`` (JSON is YAML); the same settings give the same text."""
    return json.dumps(bootstrap(settings), sort_keys=True, separators=(",", ":"))


def _dynamic_resources() -> dict[str, Any]:
    # 0 s: wait for ever. A router without configuration is never ready, so it never gets a request.
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [
                {
                    "envoy_grpc": {
                        "cluster_name": "xds",
                        # After a change of leader the new one is found within two seconds.
                        "retry_policy": {"retry_back_off": {"base_interval": "0.2s", "max_interval": "2s"}},
                    }
                }
            ],
        },
        "cds_config": source,
        "lds_config": source,
    }


def _xds_cluster(settings: BootstrapSettings) -> dict[str, Any]:
    return {
        "name": "xds",
        "connect_timeout": "1s",
        "cluster_type": {
            "name": "envoy.cluster.dns",
            "typed_config": {
                "@type": _TYPE + "envoy.extensions.clusters.dns.v3.DnsCluster",
                "dns_refresh_rate": "5s",
                "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "2s"},
                "dns_lookup_family": "V4_PREFERRED",
            },
        },
        "load_assignment": _assignment("xds", settings.xds_host, settings.xds_port),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                # Pings: a leader that froze keeps its connections open and would hold the routers for ever.
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "5s", "timeout": "3s"}}
                },
            }
        },
    }


def _admin_cluster(settings: BootstrapSettings) -> dict[str, Any]:
    return {
        "name": "admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _assignment("admin", "127.0.0.1", settings.admin_port),
    }


def _stats_listener(settings: BootstrapSettings) -> dict[str, Any]:
    routes = [
        *(
            {"match": _exact_get(path), "route": {"cluster": "admin", "timeout": "2s"}}
            for path in ("/ready", "/stats", "/stats/prometheus")
        ),
        {"match": {"prefix": "/"}, "direct_response": {"status": 404}},
    ]
    manager = {
        "@type": _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "stats",
        "route_config": {
            "name": "stats",
            "virtual_hosts": [{"name": "stats", "domains": ["*"], "routes": routes}],
            "response_headers_to_add": [_boot_header()],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _TYPE + "envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [NOBODY]},
        "normalize_path": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "generate_request_id": False,
    }
    return {
        "name": "stats",
        "address": _address("0.0.0.0", settings.stats_port),  # noqa: S104 - in its own pod
        # Probes and the operator get through when clients have used up what there is.
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _boot_header() -> dict[str, Any]:
    return {
        "header": {"key": BOOT_HEADER, "value": f"%ENVIRONMENT({BOOT_VARIABLE})%"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _exact_get(path: str) -> dict[str, Any]:
    return {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}


def _stats_config() -> dict[str, Any]:
    patterns = [{"safe_regex": {"regex": pattern}} for pattern in _KEPT_STATS]
    return {
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
        "histogram_bucket_settings": [
            {
                "match": {"suffix": "upstream_rq_time"},
                "buckets": [*(edge - EDGE_SHIFT_MS for edge in LATENCY_EDGES_MS), LATENCY_END_MS],
            }
        ],
    }


def _overload_manager(settings: BootstrapSettings) -> dict[str, Any]:
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": {
                    "@type": _TYPE + "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": settings.heap_bytes,
                },
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": _TYPE
                    + "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": settings.connections_max,
                },
            },
        ],
        "actions": [
            _overload_action("envoy.overload_actions.shrink_heap", 0.9),
            _overload_action("envoy.overload_actions.stop_accepting_requests", 0.97),
        ],
    }


def _overload_action(name: str, threshold: float) -> dict[str, Any]:
    trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": threshold}}
    return {"name": name, "triggers": [trigger]}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _assignment(cluster: str, host: str, port: int) -> dict[str, Any]:
    return {
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
    }
