"""What an HTTPRoute or its Gateway cannot do is refused with the way out, not ignored."""

from typing import Any

import pytest
from tests.penstock_operator.core.manifests.test_http_route import backend, route

from penstock_operator.core.gateway import Parent
from penstock_operator.core.gateway_limits import host_rival, target_of, unsayable, unsupported
from penstock_operator.core.objects import Manifest
from penstock_operator.core.routes import CookieKey, HeaderKey, HeaderMatch, MatchKind, Mirror


def matches(*revisions: str) -> tuple[HeaderMatch, ...]:
    return tuple(
        HeaderMatch(header="x-beta", kind=MatchKind.EXACT, value=str(number), revision=revision)
        for number, revision in enumerate(revisions)
    )


def test_keeping_the_requests_of_a_header_together_cannot_be_said() -> None:
    words = unsayable(route(stickiness=HeaderKey(name="x-account")))
    assert words is not None
    assert "spec.stickiness.header" in words
    assert "spec.stickiness.cookie" in words


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stickiness": CookieKey(name="penstock", ttl_seconds=60)},
        {"matches": matches(*["fraud-1", "fraud-2"] * 7, "fraud-1")},
        {"matches": matches(*["fraud-1"] * 64)},
        {"mirrors": (Mirror(revision="fraud-2", percent=20),)},
    ],
)
def test_what_an_http_route_can_say_is_not_refused(changes: dict[str, Any]) -> None:
    assert unsayable(route(**changes)) is None


def test_comparing_the_answers_of_a_shadow_cannot_be_said() -> None:
    words = unsayable(route(mirrors=(Mirror(revision="fraud-2", percent=20, compare=True),)))
    assert words is not None
    assert "spec.shadow.compareOutputs" in words
    assert "leave out spec.gateway" in words


@pytest.mark.parametrize("changes", [matches(*["fraud-1", "fraud-2"] * 8), matches(*["fraud-1"] * 65)])
def test_more_matches_than_an_http_route_holds_are_refused(changes: tuple[HeaderMatch, ...]) -> None:
    words = unsayable(route(matches=changes))
    assert words is not None
    assert "spec.match" in words


def test_a_class_that_publishes_nothing_may_do_anything() -> None:
    assert unsupported(route(mirrors=(Mirror(revision="fraud-2", percent=20),)), frozenset(), "eg") is None


@pytest.mark.parametrize(
    ("published", "mirrors", "missing"),
    [
        ({"Gateway"}, [100], "HTTPRouteRequestMirror"),
        ({"HTTPRouteRequestMirror"}, [20], "HTTPRouteRequestPercentageMirror"),
        ({"HTTPRouteRequestMirror"}, [100, 100], "HTTPRouteRequestMultipleMirrors"),
        ({"HTTPRouteRequestMirror"}, [100], None),
        ({"HTTPRouteRequestMirror"}, [100, 0], None),
        ({"Gateway"}, [], None),
    ],
)
def test_a_class_is_asked_for_what_it_publishes(published: set[str], mirrors: list[int], missing: str | None) -> None:
    backends = (backend("fraud-1", 100), backend("fraud-2", 0), backend("fraud-3", 0))
    copied = tuple(Mirror(revision=f"fraud-{n}", percent=percent) for n, percent in enumerate(mirrors, start=2))
    words = unsupported(route(backends=backends, mirrors=copied), published, "thin")
    if missing is None:
        assert words is None
    else:
        assert words is not None
        assert missing in words
        assert "GatewayClass thin" in words


def split(name: str, day: int, *hostnames: str, gateway: str = "edge", led: bool = False, **reference: Any) -> Manifest:
    status = {"router": "Gateway", "weights": [{"revision": "a", "weight": 100}]} if led else {}
    return {
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": f"2026-01-{day:02}T00:00:00Z"},
        "spec": {"gateway": {"parentRefs": [{"name": gateway, **reference}], "hostnames": list(hostnames)}},
        "status": status,
    }


def rival(mine: Manifest, *others: Manifest) -> str | None:
    target = target_of(mine)
    assert target is not None
    return host_rival(mine, target, [mine, *others])


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (split("b", 2, "x.org"), split("a", 1, "y.org")),
        (split("b", 2, "x.org"), split("a", 1)),
        (split("b", 2), split("a", 1, "x.org")),
        (split("b", 2, "x.org"), split("a", 1, "x.org", gateway="other")),
        (split("b", 2, "x.org", sectionName="http"), split("a", 1, "x.org", sectionName="https")),
        (split("b", 2, "x.org"), split("c", 3, "x.org")),
        (split("b", 2, "x.org", led=True), split("a", 1, "x.org")),
        (split("b", 2, "x.org"), {**split("a", 1, "x.org"), "spec": {"stable": {}}}),
    ],
)
def test_splits_that_take_different_requests_or_come_later_are_no_rivals(mine: Manifest, other: Manifest) -> None:
    assert rival(mine, other) is None


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (split("b", 2, "x.org"), split("a", 1, "x.org")),
        (split("b", 2, "x.org", "z.org"), split("a", 1, "y.org", "z.org")),
        (split("b", 2), split("a", 1)),
        (split("b", 2, "x.org"), split("a", 1, "x.org", sectionName="http")),
        (split("a", 1, "x.org"), split("b", 2, "x.org", led=True)),
    ],
)
def test_the_same_host_of_the_same_gateway_belongs_to_who_had_it_first(mine: Manifest, other: Manifest) -> None:
    words = rival(mine, other)
    assert words is not None
    assert f"TrafficSplit {other['metadata']['name']}" in words
    assert "spec.gateway.hostnames" in words


def test_the_target_is_read_from_any_manifest() -> None:
    target = target_of(split("a", 1, "x.org", namespace="infra", port=443))
    assert target is not None
    assert target.parents == (Parent(namespace="infra", name="edge", port=443),)
    assert target.hostnames == ("x.org",)
    assert target_of({"metadata": {"namespace": "shop"}}) is None
