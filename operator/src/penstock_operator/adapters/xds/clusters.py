"""The Envoy clusters of a split: the pods of a revision, and how much may be on its way to them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from penstock_operator.adapters.xds.naming import ClusterName, Purpose
from penstock_operator.core.routes import SplitRoute

_TYPE = "type.googleapis.com/"

# High enough that pods, which queue and answer 429 themselves, are the limit and never the router.
_CIRCUIT_LIMIT = 10_000
# Copies wait in the router's memory for a revision that hangs; more of them are dropped, and counted for nobody.
_MIRRORED_LIMIT = 128
_MIRRORED_BUFFER_BYTES = 256 * 1024
# Pods keep idle connections for 75 s; closing first here means never writing to one that is just being closed.
_UPSTREAM_IDLE_SECONDS = 30


def cluster_bodies(route: SplitRoute) -> Iterator[dict[str, Any]]:
    """Yield a cluster for each revision, one more for each purpose besides the usual, and those for calls of gRPC."""
    matched = {match.revision for match in route.matches}
    mirrored = {mirror.revision for mirror in route.mirrors}
    for backend in route.backends:
        purposes = {Purpose.SPREAD: True, Purpose.MATCHED: backend.revision in matched,
                    Purpose.MIRRORED: backend.revision in mirrored}  # fmt: skip
        for purpose in (purpose for purpose, wanted in purposes.items() if wanted):
            name = ClusterName(namespace=route.namespace, split=route.split, revision=backend.revision, purpose=purpose)
            special = _MIRRORED if purpose is Purpose.MIRRORED else {}
            yield _body(name, backend.host, backend.port, backend.port) | special
            if route.grpc and backend.grpc_port is not None:
                yield _body(replace(name, grpc=True), backend.host, backend.grpc_port, backend.port) | special


def _body(name: ClusterName, host: str, port: int, health_port: int) -> dict[str, Any]:
    endpoint: dict[str, Any] = {"address": {"socket_address": {"address": host, "port_value": port}}}
    if health_port != port:
        # One readiness for both protocols, so that a revision is warm for both at once.
        endpoint["health_check_config"] = {"port_value": health_port}
    return {
        "name": str(name),
        "alt_stat_name": name.stats,
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "cluster_type": {"name": "envoy.cluster.dns", "typed_config": _DNS},
        "load_assignment": {
            "cluster_name": str(name),
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
        "health_checks": [_GRPC_HEALTH_CHECK if name.grpc else _HEALTH_CHECK],
        "outlier_detection": _OUTLIER_DETECTION,
        "circuit_breakers": _breakers(_CIRCUIT_LIMIT),
        "common_lb_config": {
            # Only when not one pod is healthy: a check missed under load must not become an outage.
            "healthy_panic_threshold": {"value": 1},
            "ignore_new_hosts_until_first_hc": True,
            # By default changes of health wait up to a second to be merged, and requests go astray that long.
            "update_merge_window": "0s",
        },
        # An address that DNS no longer names may soon be another model's pod, and that one would look healthy.
        "ignore_health_on_host_removal": True,
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _upstream(name)},
    }


def _upstream(name: ClusterName) -> dict[str, Any]:
    if not name.grpc:
        return _UPSTREAM_HTTP
    return _UPSTREAM_COPIED_CALLS if name.purpose is Purpose.MIRRORED else _UPSTREAM_GRPC


def _breakers(limit: int) -> dict[str, Any]:
    return {
        "thresholds": [
            {
                "max_connections": limit,
                "max_pending_requests": limit,
                "max_requests": limit,
                "max_retries": limit,
            }
        ]
    }


_MIRRORED = {
    "circuit_breakers": _breakers(_MIRRORED_LIMIT),
    "per_connection_buffer_limit_bytes": _MIRRORED_BUFFER_BYTES,
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
# Few models are asked over gRPC; before the first call its clusters need not cost what the others do.
_GRPC_HEALTH_CHECK = {**_HEALTH_CHECK, "no_traffic_interval": "5s"}
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
_UPSTREAM_GRPC = {**_UPSTREAM_HTTP, "explicit_http_config": {"http2_protocol_options": {}}}
# Of the copy of a call Envoy counts the HTTP status only, which is 200 for one that failed too. Nobody gets the answer,
# so it may as well say what it means. A pod that refuses a call says so in its first headers.
_FAILED_CALLS_ARE_ERRORS = """
function envoy_on_response(handle)
  local status = handle:headers():get("grpc-status")
  if status ~= nil and status ~= "0" then
    handle:headers():replace(":status", "500")
  end
end
"""
_UPSTREAM_COPIED_CALLS = {
    **_UPSTREAM_GRPC,
    "http_filters": [
        {
            "name": "envoy.filters.http.lua",
            "typed_config": {
                "@type": _TYPE + "envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": _FAILED_CALLS_ARE_ERRORS},
            },
        },
        {
            "name": "envoy.filters.http.upstream_codec",
            "typed_config": {"@type": _TYPE + "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"},
        },
    ],
}
