"""The Envoy listener of a split: its port, what clients may do there, and where its routes come from."""

from typing import Any

from penstock_operator.adapters.xds.naming import endpoint_name
from penstock_operator.core.manifests.router_bootstrap import NOBODY
from penstock_operator.core.routes import CookieKey, SplitRoute

_TYPE = "type.googleapis.com/"

# A request head or body that trickles longer than this is an attack or a dead client.
_REQUEST_HEAD_SECONDS = 10
_REQUEST_BODY_SECONDS = 120
# Clients reconnect now and then, so that load follows when the number of routers changes.
_CONNECTION_SECONDS = 300
_CLIENT_IDLE_SECONDS = 600


def listener_body(route: SplitRoute) -> dict[str, Any]:
    """Return the listener; it depends on the port and on who chooses the keys only.

    Nothing here depends on weights, revisions or timeouts: a changed listener drains its connections.
    """
    name = endpoint_name(route.namespace, route.split)
    # Who has no cookie yet is given its request's id as one, and that id has to be there before a route is chosen.
    generate_id = isinstance(route.stickiness, CookieKey)
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": _connection_manager(name, generate_id=generate_id),
    }
    return {
        "name": name,
        "stat_prefix": "split",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": route.port}},  # noqa: S104 - in its own pod
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [{"filters": [manager]}],
    }


def _connection_manager(name: str, *, generate_id: bool) -> dict[str, Any]:
    return {
        "@type": _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "split",
        # A listener without routes yet stays closed, however long that takes.
        "rds": {
            "route_config_name": name,
            "config_source": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
        },
        "http_filters": [
            # Calls of gRPC fail with status 200; this counts how they ended.
            {
                "name": "envoy.filters.http.grpc_stats",
                "typed_config": {
                    "@type": _TYPE + "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
                    "stats_for_all_methods": False,
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": _TYPE + "envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
        **_PROTECTION,
        # Answers of the router's own read like those of the models.
        "local_reply_config": {
            "body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}, "content_type": "application/json"}
        },
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": generate_id,
        "preserve_external_request_id": True,
    }


_PROTECTION = {
    # With no address counted as internal, nobody sets timeouts or retries by x-envoy-… headers.
    "use_remote_address": True,
    "internal_address_config": {"cidr_ranges": [NOBODY]},
    "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "penstock"},
    # Envoy's advice for those that anybody may connect to.
    "http2_protocol_options": {
        "max_concurrent_streams": 100,
        "initial_stream_window_size": 64 * 1024,
        "initial_connection_window_size": 1024 * 1024,
    },
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
