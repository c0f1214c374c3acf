"""What a split asks for that its Gateway cannot do, so that it is refused and not ignored."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from penstock_operator.core.gateway import GatewayTarget, Parent, parent_of
from penstock_operator.core.objects import Manifest
from penstock_operator.core.router_choice import GATEWAY, router_before
from penstock_operator.core.routes import HeaderKey, SplitRoute

_WHOLE = 100
#: The Gateway API's own limits: rules of a route, matches of a rule, matches of a route, filters of a rule.
RULES_MAX, MATCHES_MAX, FILTERS_MAX = 16, 64, 16


def unsayable(route: SplitRoute) -> str | None:
    """Return what of a route no HTTPRoute can say, and what to write instead, or None."""
    if isinstance(route.stickiness, HeaderKey):
        return (
            f"spec.stickiness.header: an HTTPRoute cannot keep the requests of one {route.stickiness.name} together; "
            "use spec.stickiness.cookie, or leave out spec.gateway for the built-in routers"
        )
    runs = 1 + sum(
        position == 0 or match.revision != route.matches[position - 1].revision
        for position, match in enumerate(route.matches)
    )
    if runs > RULES_MAX or len(route.matches) > MATCHES_MAX:
        return (
            f"spec.match: an HTTPRoute has at most {RULES_MAX} rules and {MATCHES_MAX} matches, this one would need "
            f"{runs} and {len(route.matches)}; write fewer, or those that lead to the same revision one after the other"
        )
    if any(mirror.compare for mirror in route.mirrors):
        return (
            "spec.shadow.compareOutputs: a Gateway cannot tell pods which request a copy was made of; "
            "leave it out, or leave out spec.gateway for the built-in routers"
        )
    if len(route.mirrors) > FILTERS_MAX:
        return f"spec.shadow: an HTTPRoute mirrors to at most {FILTERS_MAX} revisions; declare fewer candidates"
    return None


def unsupported(route: SplitRoute, features: Collection[str], gateway_class: str) -> str | None:
    """Return what of a route a GatewayClass does not do by what it publishes, and what to write instead, or None.

    A class that publishes nothing (``features`` is empty) may do anything: its controller's conditions tell.
    """
    if not features:
        return None
    missing = [f"{what} ({feature})" for feature, what in _needs(route) if feature not in features]
    if not missing:
        return None
    return (
        f"spec.gateway: GatewayClass {gateway_class} does not do {', '.join(missing)}; take that out of the spec, "
        "or leave out spec.gateway for the built-in routers"
    )


def _needs(route: SplitRoute) -> Iterator[tuple[str, str]]:
    """Yield the optional features that a route needs, each with the field that asks for it."""
    copied = [mirror.percent for mirror in route.mirrors if mirror.percent > 0]
    if copied:
        yield "HTTPRouteRequestMirror", "spec.shadow"
    if len(copied) > 1:
        yield "HTTPRouteRequestMultipleMirrors", "spec.shadow with several candidates"
    if any(percent < _WHOLE for percent in copied):
        yield "HTTPRouteRequestPercentageMirror", f"spec.shadow.percent below {_WHOLE}"


def host_rival(split: Manifest, target: GatewayTarget, splits: Sequence[Manifest]) -> str | None:
    """Return what to say when another split of the namespace has the same host of the same Gateway before, or None.

    Before: its requests are led by the Gateway already, or else it is older. Two routes for one host would leave it to
    the Gateway which of them gets the requests.
    """
    mine = _rank(split)
    for other in sorted(splits, key=_rank):
        if _rank(other) >= mine or other["metadata"].get("deletionTimestamp"):
            continue
        theirs = target_of(other)
        if theirs is None or not _share_a_gateway(target.parents, theirs.parents):
            continue
        host = _shared_host(target.hostnames, theirs.hostnames)
        if host is not None:
            name = other["metadata"]["name"]
            return (
                f"spec.gateway.hostnames: TrafficSplit {name} takes the requests for {host} of the same Gateway; "
                "give each split a hostname of its own"
            )
    return None


def is_led_by_gateway(split: Manifest) -> bool:
    """Return whether a Gateway has run weights of a split, as its status says."""
    return router_before(split) == GATEWAY and bool((split.get("status") or {}).get("weights"))


def target_of(split: Manifest) -> GatewayTarget | None:
    """Return where a split's manifest, valid or not, asks to be attached; None without ``spec.gateway``."""
    gateway = (split.get("spec") or {}).get("gateway")
    if not isinstance(gateway, Mapping):
        return None
    references: Any = gateway.get("parentRefs") or ()
    namespace = split["metadata"]["namespace"]
    return GatewayTarget(
        parents=tuple(parent_of(reference, namespace) for reference in references if isinstance(reference, Mapping)),
        hostnames=tuple(str(name) for name in gateway.get("hostnames") or ()),
    )


def _share_a_gateway(mine: Sequence[Parent], theirs: Sequence[Parent]) -> bool:
    return any(_overlap(one, other) for one in mine for other in theirs)


def _overlap(one: Parent, other: Parent) -> bool:
    """Two parents overlap unless they name different listeners of a Gateway."""
    if (one.namespace, one.name) != (other.namespace, other.name):
        return False
    apart = [(one.section, other.section), (one.port, other.port)]
    return not any(mine is not None and theirs is not None and mine != theirs for mine, theirs in apart)


def _shared_host(mine: Sequence[str], theirs: Sequence[str]) -> str | None:
    """Return a host that both take by the same name; a more specific name wins, so that is no rivalry."""
    if not mine and not theirs:
        return "any host"
    return next((name for name in mine if name in theirs), None)


def _rank(split: Manifest) -> tuple[bool, str, str]:
    metadata = split["metadata"]
    return not is_led_by_gateway(split), str(metadata.get("creationTimestamp", "")), str(metadata["name"])
