"""The Envoy routes of a split: matches first, then what is spread by weight, with its keys and its copies."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_contract.outputs import PAIR_HEADER
from penstock_operator.adapters.xds.naming import ClusterName, Purpose, endpoint_name
from penstock_operator.core.key_ranges import key_ranges
from penstock_operator.core.routes import CookieKey, HeaderKey, HeaderMatch, MatchKind, SplitRoute

_TYPE = "type.googleapis.com/"

REVISION_HEADER = "x-penstock-revision"
REQUEST_ID_HEADER = "x-request-id"
#: The service of the same protocol over gRPC.
GRPC_PREFIX = "/inference.GRPCInferenceService/"
#: Added by pods when they drain or reject; nothing of a request is charged to a revision outside this path.
SERVED_PATH = "/v2"

# The random number that picks a weight (its rest by 100) also decides about copies. A share of a million says nothing
# about that rest, one of a hundred would copy requests of one revision only.
_MILLIONTHS_OF_A_PERCENT = 10_000
# What a cookie may hold; an id that a client has thought up may be anything. Without bounds for its length: each
# repetition counts towards the hundred instructions that Envoy allows.
_COOKIE_VALUE = "[A-Za-z0-9._~-]+"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """One way in which requests may have a key: who has it, how it is hashed, what the answer says of it."""

    headers: tuple[dict[str, Any], ...] = ()
    hashed: dict[str, Any] | None = None
    answer: tuple[dict[str, Any], ...] = ()


def route_table_body(route: SplitRoute) -> dict[str, Any]:
    """Return the routes of a split, in the order in which they are tried."""
    name = endpoint_name(route.namespace, route.split)
    routes = [
        *(table for grpc in ((True, False) if route.grpc else (False,)) for table in _led(route, grpc=grpc)),
        {"match": {"prefix": "/"}, "direct_response": _NOT_SERVED},
    ]
    return {
        "name": name,
        "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
        "request_headers_to_remove": [REVISION_HEADER, PAIR_HEADER],
        # Else what a route adds would be taken away with what clients sent.
        "most_specific_header_mutations_wins": True,
    }


_NOT_SERVED = {
    "status": 404,
    "body": {"inline_string": f"nothing is served here; models answer under {SERVED_PATH}"},
}


def _led(route: SplitRoute, *, grpc: bool) -> Iterator[dict[str, Any]]:
    """Yield the routes of one protocol."""
    for match in route.matches:
        yield _matched(route, match, grpc=grpc)
    for key in _keys(route):
        for mirrored in _mirrored(route):
            yield _spread(route, key, mirrored=mirrored, grpc=grpc)


def _served(headers: Sequence[dict[str, Any]], *, grpc: bool) -> dict[str, Any]:
    """Return the condition for what models answer, with more conditions for headers."""
    if grpc:
        return {"prefix": GRPC_PREFIX, "grpc": {}, "headers": list(headers)}
    return {"path_separated_prefix": SERVED_PATH, "headers": list(headers)}


def _matched(route: SplitRoute, match: HeaderMatch, *, grpc: bool) -> dict[str, Any]:
    """Return the route of requests that are sent to a revision by a header; they are neither weighed nor copied."""
    name = _cluster(route, match.revision, grpc=grpc, purpose=Purpose.MATCHED)
    condition: dict[str, Any] = {"name": match.header}
    match match.kind:
        case MatchKind.PRESENT:
            condition["present_match"] = True
        case MatchKind.EXACT:
            condition["string_match"] = {"exact": match.value}
        case MatchKind.PREFIX:
            condition["string_match"] = {"prefix": match.value}
    return {
        "match": _served([condition], grpc=grpc),
        "route": {**_limits(route), "weighted_clusters": {"clusters": [_share(name, 100)]}},
    }


def _spread(route: SplitRoute, key: _Key, *, mirrored: bool, grpc: bool) -> dict[str, Any]:
    """Return the route of requests that have this kind of key, of those that are copied or of all others."""
    action = {**_limits(route), "weighted_clusters": _weights(route, key, grpc=grpc)}
    if key.hashed is not None:
        action["hash_policy"] = [key.hashed]
    spread: dict[str, Any] = {"match": _served(key.headers, grpc=grpc), "route": action}
    answer = list(key.answer)
    if mirrored:
        percent = max(mirror.percent for mirror in route.mirrors)
        spread["match"]["runtime_fraction"] = _fraction(percent)
        compared = any(mirror.compare for mirror in route.mirrors)
        spread["request_headers_to_add"] = [
            _header(REQUEST_ID_HEADER, "%UNIQUE_ID%", "ADD_IF_ABSENT"),
            *([_header(PAIR_HEADER, "%UNIQUE_ID%")] if compared else []),
        ]
        answer.append(_header(REQUEST_ID_HEADER, f"%REQ({REQUEST_ID_HEADER})%"))
        action["request_mirror_policies"] = _copies(route, grpc=grpc)
    if answer:
        spread["response_headers_to_add"] = answer
    return spread


def _keys(route: SplitRoute) -> tuple[_Key, ...]:
    stickiness = route.stickiness
    if stickiness is None:
        return (_Key(),)
    if isinstance(stickiness, HeaderKey):
        return (_Key(hashed=_hashed_header(stickiness.name)),)
    return _cookie_keys(stickiness)


def _cookie_keys(cookie: CookieKey) -> tuple[_Key, ...]:
    """Return who has the cookie, who is given its request's id as one, and those whose id cannot be one.

    Envoy makes cookies only for the choice of a pod, not for that of a weight. A cookie and an id of the same text have
    the same hash, so the first answer comes from where the next ones do.
    """
    has_it = rf"(.*;\s*)?{re.escape(cookie.name)}=[^;]+.*"
    value = f"{cookie.name.replace('%', '%%')}=%REQ({REQUEST_ID_HEADER})%"
    kept = f"{value}; Path=/; Max-Age={cookie.ttl_seconds}; HttpOnly; SameSite=Lax"
    return (
        _Key(headers=(_text_match("cookie", has_it),), hashed={"cookie": {"name": cookie.name}}),
        _Key(
            headers=(_text_match(REQUEST_ID_HEADER, _COOKIE_VALUE),),
            hashed=_hashed_header(REQUEST_ID_HEADER),
            answer=(_header("set-cookie", kept, "APPEND_IF_EXISTS_OR_ADD"),),
        ),
        _Key(),
    )


def _mirrored(route: SplitRoute) -> tuple[bool, ...]:
    """Return whether there are requests that are copied, and others."""
    percent = max((mirror.percent for mirror in route.mirrors), default=0)
    return (True, False) if percent else (False,)


def _copies(route: SplitRoute, *, grpc: bool) -> list[dict[str, Any]]:
    return [
        {
            "cluster": str(_cluster(route, mirror.revision, grpc=grpc, purpose=Purpose.MIRRORED)),
            "runtime_fraction": _fraction(mirror.percent),
            "disable_shadow_host_suffix_append": True,
        }
        for mirror in route.mirrors
        if mirror.percent
    ]


def _weights(route: SplitRoute, key: _Key, *, grpc: bool) -> dict[str, Any]:
    """Return the shares; where keys are hashed, a revision's share may lie in several places."""
    plain = [(backend.revision, backend.weight) for backend in route.backends]
    shares = plain if key.hashed is None else key_ranges(route.backends)
    clusters = [_share(_cluster(route, revision, grpc=grpc), weight) for revision, weight in shares]
    return {"clusters": clusters, **({} if key.hashed is None else {"use_hash_policy": True})}


def _cluster(route: SplitRoute, revision: str, *, grpc: bool = False, purpose: Purpose = Purpose.SPREAD) -> ClusterName:
    return ClusterName(namespace=route.namespace, split=route.split, revision=revision, purpose=purpose, grpc=grpc)


def _limits(route: SplitRoute) -> dict[str, Any]:
    return {
        "timeout": f"{route.request_timeout_seconds}s",
        "idle_timeout": f"{route.request_timeout_seconds + 5}s",
        "retry_policy": _RETRIES,
    }


_RETRIES = {
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
}  # fmt: skip


def _share(cluster: ClusterName, weight: int) -> dict[str, Any]:
    return {
        "name": str(cluster),
        "weight": weight,
        "response_headers_to_add": [_header(REVISION_HEADER, cluster.revision)],
    }


def _header(name: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _hashed_header(name: str) -> dict[str, Any]:
    return {"header": {"header_name": name}}


def _text_match(header: str, pattern: str) -> dict[str, Any]:
    return {"name": header, "string_match": {"safe_regex": {"regex": pattern}}}


def _fraction(percent: int) -> dict[str, Any]:
    return {"default_value": {"numerator": percent * _MILLIONTHS_OF_A_PERCENT, "denominator": "MILLION"}}
