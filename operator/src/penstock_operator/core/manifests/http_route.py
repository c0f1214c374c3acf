"""The HTTPRoute by which a Gateway spreads the requests of a split over its revisions."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from itertools import groupby

from penstock_operator.core import names
from penstock_operator.core.gateway import API_VERSION, KIND, GatewayTarget, Parent
from penstock_operator.core.manifests.ownership import controller_reference
from penstock_operator.core.objects import Manifest
from penstock_operator.core.routes import Backend, CookieKey, HeaderMatch, MatchKind, Mirror, SplitRoute

SPEC_HASH = "penstock.dev/spec-hash"
_HASH_LENGTH = 16
_WHOLE = 100
_MILLISECONDS = 1000
#: A duration of the Gateway API has at most five digits before its unit.
_MILLISECONDS_MAX = 99_999


def http_route(owner: Manifest, route: SplitRoute, target: GatewayTarget) -> Manifest:
    """Return the HTTPRoute of a split: a rule with the weights, and those with matches, which come before it in effect.

    Gateways give rules that match more headers precedence, whatever their order: all matches here have one header, the
    rule with the weights none. It is the first all the same. Envoy Gateway names what it makes by the number of the
    rule; if that of the weights moved when matches come and go, requests would meet a cluster that is just being
    removed. Among themselves matches are tried in their order.
    """
    metadata = owner["metadata"]
    spec: Manifest = {
        "parentRefs": [_parent_reference(parent, metadata["namespace"]) for parent in target.parents],
        "rules": [_weighted_rule(route), *_matching_rules(route)],
    }
    if target.hostnames:
        spec["hostnames"] = list(target.hostnames)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": names.managed_labels(names.SERVER),
            # A field that is left out now and was there before is no difference of fields; this makes it one.
            "annotations": {SPEC_HASH: _hash(spec)},
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": spec,
    }


def _hash(spec: Manifest) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:_HASH_LENGTH]


def _parent_reference(parent: Parent, namespace: str) -> Manifest:
    reference: Manifest = {"name": parent.name}
    if parent.namespace != namespace:
        reference["namespace"] = parent.namespace
    if parent.section is not None:
        reference["sectionName"] = parent.section
    if parent.port is not None:
        reference["port"] = parent.port
    return reference


def _matching_rules(route: SplitRoute) -> Iterator[Manifest]:
    """Yield a rule for each run of matches that lead to the same revision: a route may have few rules."""
    backends = {backend.revision: backend for backend in route.backends}
    for revision, matches in groupby(route.matches, key=lambda match: match.revision):
        yield {
            "matches": [{"headers": [_header_match(match)]} for match in matches],
            "backendRefs": [_backend_reference(backends[revision], weight=1)],
            "timeouts": _timeouts(route),
        }


def _weighted_rule(route: SplitRoute) -> Manifest:
    backends = {backend.revision: backend for backend in route.backends}
    rule: Manifest = {
        "backendRefs": [_backend_reference(backend, weight=backend.weight) for backend in route.backends],
        "timeouts": _timeouts(route),
    }
    if mirrors := [_mirror(mirror, backends[mirror.revision]) for mirror in route.mirrors if mirror.percent > 0]:
        rule["filters"] = mirrors
    if isinstance(route.stickiness, CookieKey):
        rule["sessionPersistence"] = _session(route.stickiness)
    return rule


def _timeouts(route: SplitRoute) -> Manifest:
    return {"request": duration(route.request_timeout_seconds)}


def _backend_reference(backend: Backend, *, weight: int) -> Manifest:
    return {"name": backend.revision, "port": backend.port, "weight": weight}


def _mirror(mirror: Mirror, backend: Backend) -> Manifest:
    request: Manifest = {"backendRef": {"name": backend.revision, "port": backend.port}}
    # All of them is what a mirror without a share means; so it works where shares are not known too.
    if mirror.percent < _WHOLE:
        request["percent"] = mirror.percent
    return {"type": "RequestMirror", "requestMirror": request}


def _header_match(match: HeaderMatch) -> Manifest:
    """Return a match; what is not exact is an expression that matches the whole value, as both dialects in use do."""
    if match.kind is MatchKind.EXACT:
        return {"type": "Exact", "name": match.header, "value": match.value}
    start = re.escape(match.value) if match.kind is MatchKind.PREFIX else ""
    return {"type": "RegularExpression", "name": match.header, "value": f"^{start}.*$"}


def _session(key: CookieKey) -> Manifest:
    return {
        "sessionName": key.name,
        "type": "Cookie",
        "absoluteTimeout": duration(key.ttl_seconds),
        "cookieConfig": {"lifetimeType": "Permanent"},
    }


def duration(seconds: float) -> str:
    """Return a duration as the Gateway API writes it, rounded up where its five digits do not hold it exactly.

    >>> duration(3), duration(2.5), duration(86400), duration(200.5), duration(360000)
    ('3s', '2500ms', '86400s', '201s', '100h')
    """
    milliseconds = math.ceil(seconds * _MILLISECONDS)
    if milliseconds % _MILLISECONDS and milliseconds <= _MILLISECONDS_MAX:
        return f"{milliseconds}ms"
    whole = math.ceil(seconds)
    return f"{whole}s" if whole <= _MILLISECONDS_MAX else f"{math.ceil(whole / 3600)}h"
