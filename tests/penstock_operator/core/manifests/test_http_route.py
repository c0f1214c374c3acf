"""The HTTPRoute of a split: parents, hosts, matches before weights, mirrors, sessions."""

import re
from dataclasses import replace
from typing import Any

import pytest

from penstock_operator.core.difference import differs
from penstock_operator.core.gateway import GatewayTarget, Parent
from penstock_operator.core.manifests.http_route import http_route
from penstock_operator.core.objects import Manifest
from penstock_operator.core.routes import Backend, CookieKey, HeaderMatch, MatchKind, Mirror, SplitRoute

OWNER = {
    "apiVersion": "penstock.dev/v1alpha1",
    "kind": "TrafficSplit",
    "metadata": {"name": "fraud", "namespace": "shop", "uid": "u1"},
}
TARGET = GatewayTarget(parents=(Parent(namespace="shop", name="edge"),), hostnames=("fraud.example.com",))


def backend(revision: str, weight: int) -> Backend:
    return Backend(revision=revision, host=f"{revision}.shop.svc", port=8080, weight=weight)


def route(**changes: Any) -> SplitRoute:
    fields: dict[str, Any] = {
        "backends": (backend("fraud-1", 95), backend("fraud-2", 5)),
        "request_timeout_seconds": 3.0,
    }
    return SplitRoute(namespace="shop", split="fraud", port=0, **{**fields, **changes})


def made(target: GatewayTarget = TARGET, **changes: Any) -> Manifest:
    return http_route(OWNER, route(**changes), target)


def rules(**changes: Any) -> list[Manifest]:
    found: list[Manifest] = made(**changes)["spec"]["rules"]
    return found


def test_the_route_has_the_splits_name_and_goes_with_it() -> None:
    manifest = made()
    assert (manifest["apiVersion"], manifest["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
    assert (manifest["metadata"]["namespace"], manifest["metadata"]["name"]) == ("shop", "fraud")
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("u1", True)


def test_weights_are_those_of_the_revisions_headless_services_also_where_they_are_zero() -> None:
    (rule,) = rules(backends=(backend("fraud-1", 100), backend("fraud-2", 0)))
    assert rule["backendRefs"] == [
        {"name": "fraud-1", "port": 8080, "weight": 100},
        {"name": "fraud-2", "port": 8080, "weight": 0},
    ]
    assert rule["timeouts"] == {"request": "3s"}
    assert "filters" not in rule
    assert "sessionPersistence" not in rule


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        (Parent(namespace="shop", name="edge"), {"name": "edge"}),
        (Parent(namespace="infra", name="edge"), {"name": "edge", "namespace": "infra"}),
        (Parent(namespace="shop", name="edge", section="https"), {"name": "edge", "sectionName": "https"}),
        (Parent(namespace="shop", name="edge", port=8443), {"name": "edge", "port": 8443}),
    ],
)
def test_parents_are_named_as_briefly_as_possible(parent: Parent, expected: dict[str, Any]) -> None:
    manifest = made(GatewayTarget(parents=(parent,)))
    assert manifest["spec"]["parentRefs"] == [expected]
    assert "hostnames" not in manifest["spec"]


def test_matches_have_rules_of_their_own_and_those_of_one_revision_share_one() -> None:
    match = [
        HeaderMatch(header="x-beta", kind=MatchKind.EXACT, value="yes", revision="fraud-2"),
        HeaderMatch(header="x-staff", kind=MatchKind.PRESENT, revision="fraud-2"),
        HeaderMatch(header="x-old", kind=MatchKind.EXACT, value="1", revision="fraud-1"),
        HeaderMatch(header="x-new", kind=MatchKind.EXACT, value="1", revision="fraud-2"),
    ]
    weighted, first, second, third = rules(matches=tuple(match), mirrors=(Mirror(revision="fraud-2", percent=5),))
    assert first["matches"] == [
        {"headers": [{"type": "Exact", "name": "x-beta", "value": "yes"}]},
        {"headers": [{"type": "RegularExpression", "name": "x-staff", "value": "^.*$"}]},
    ]
    assert [rule["backendRefs"][0]["name"] for rule in (first, second, third)] == ["fraud-2", "fraud-1", "fraud-2"]
    assert "matches" not in weighted
    assert all("filters" not in rule for rule in (first, second, third))


@pytest.mark.parametrize("value", ["beta", "a.b", "c*", "(d", "e-f g"])
def test_a_prefix_is_an_expression_that_takes_nothing_but_what_begins_so(value: str) -> None:
    _, rule = rules(matches=(HeaderMatch(header="x-beta", kind=MatchKind.PREFIX, value=value, revision="fraud-2"),))
    expression = re.compile(rule["matches"][0]["headers"][0]["value"])
    assert expression.fullmatch(value)
    assert expression.fullmatch(value + "-and-more")
    assert not expression.search("x" + value)


def test_the_rule_with_the_weights_keeps_its_place_when_matches_come_and_go() -> None:
    match = HeaderMatch(header="x-beta", kind=MatchKind.EXACT, value="yes", revision="fraud-2")
    assert rules()[0] == rules(matches=(match,))[0] == rules(matches=(match, replace(match, revision="fraud-1")))[0]


def test_a_mirror_of_all_requests_asks_for_no_share_and_one_of_none_is_left_out() -> None:
    shadows = (backend("fraud-1", 100), backend("fraud-2", 0), backend("fraud-3", 0), backend("fraud-4", 0))
    mirrors = (
        Mirror(revision="fraud-2", percent=100),
        Mirror(revision="fraud-3", percent=20),
        Mirror(revision="fraud-4", percent=0),
    )
    (rule,) = rules(backends=shadows, mirrors=mirrors)
    assert [item["requestMirror"] for item in rule["filters"]] == [
        {"backendRef": {"name": "fraud-2", "port": 8080}},
        {"backendRef": {"name": "fraud-3", "port": 8080}, "percent": 20},
    ]


def test_a_cookie_is_a_session_that_lives_as_long() -> None:
    (rule,) = rules(stickiness=CookieKey(name="penstock", ttl_seconds=3600))
    assert rule["sessionPersistence"] == {
        "sessionName": "penstock",
        "type": "Cookie",
        "absoluteTimeout": "3600s",
        "cookieConfig": {"lifetimeType": "Permanent"},
    }


@pytest.mark.parametrize(
    ("rich", "plain"),
    [
        ({"stickiness": CookieKey(name="penstock", ttl_seconds=60)}, {}),
        (
            {"mirrors": (Mirror(revision="fraud-2", percent=20),)},
            {"mirrors": (Mirror(revision="fraud-2", percent=100),)},
        ),
        ({"mirrors": (Mirror(revision="fraud-2", percent=20),)}, {}),
    ],
)
def test_what_is_asked_for_no_more_is_a_difference(rich: dict[str, Any], plain: dict[str, Any]) -> None:
    assert differs(made(**rich), made(**plain))


def test_hostnames_that_are_asked_for_no_more_are_a_difference() -> None:
    assert differs(made(), made(GatewayTarget(parents=TARGET.parents)))
    assert not differs(made(), made())
