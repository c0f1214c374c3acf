"""What Envoy is told, and that it is the same for the same routes."""

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_pb2

from penstock_operator.adapters.xds.naming import ClusterName, Purpose
from penstock_operator.adapters.xds.resources import CLUSTER_TYPE, LISTENER_TYPE, ROUTE_TYPE, snapshot_of
from penstock_operator.core.routes import Backend, CookieKey, HeaderKey, HeaderMatch, MatchKind, Mirror, SplitRoute


def backend(revision: str, weight: int, keys_from: int | None = None) -> Backend:
    return Backend(revision=revision, host=f"{revision}.shop.svc", port=8080, weight=weight, keys_from=keys_from)


def route(*backends: Backend, split: str = "fraud", port: int = 10_000, timeout: float = 30, **more: Any) -> SplitRoute:
    return SplitRoute(
        namespace="shop", split=split, port=port, backends=backends, request_timeout_seconds=timeout, **more
    )


BETA = HeaderMatch(header="x-beta", kind=MatchKind.PRESENT, revision="b")
ACCOUNT = HeaderKey(name="x-account")


def test_the_same_routes_give_the_same_version_in_any_order() -> None:
    fraud = route(backend("a", 100))
    churn = route(backend("c", 100), split="churn", port=10_001)
    assert snapshot_of([fraud, churn]) == snapshot_of([churn, fraud])


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(route(backend("a", 90), backend("b", 10)), id="weights"),
        pytest.param(route(backend("a", 100), backend("b", 0), timeout=31), id="timeout"),
        pytest.param(route(backend("a", 100), backend("b", 0), backend("c", 0)), id="revisions"),
        pytest.param(route(backend("a", 100), backend("b", 0), matches=(BETA,)), id="matches"),
        pytest.param(
            route(backend("a", 100), backend("b", 0), mirrors=(Mirror(revision="b", percent=1),)), id="mirrors"
        ),
        pytest.param(route(backend("a", 100), backend("b", 0), stickiness=ACCOUNT), id="keys in a header"),
    ],
)
def test_a_change_that_is_not_the_port_leaves_the_listener_as_it_is(changed: SplitRoute) -> None:
    before, after = snapshot_of([route(backend("a", 100), backend("b", 0))]), snapshot_of([changed])
    assert before.version != after.version
    assert before.of(LISTENER_TYPE) == after.of(LISTENER_TYPE)
    assert before.of(ROUTE_TYPE) != after.of(ROUTE_TYPE)


def test_a_change_of_weights_leaves_the_clusters_as_they_are() -> None:
    before = snapshot_of([route(backend("a", 100), backend("b", 0))])
    after = snapshot_of([route(backend("a", 5), backend("b", 95))])
    assert before.of(CLUSTER_TYPE) == after.of(CLUSTER_TYPE)


def test_weights_in_the_route_are_those_of_the_backends() -> None:
    body = snapshot_of([route(backend("a", 93), backend("b", 7), backend("c", 0))]).of(ROUTE_TYPE)[0].body
    table = route_pb2.RouteConfiguration.FromString(body.value)
    shares = table.virtual_hosts[0].routes[0].route.weighted_clusters.clusters
    assert {share.name: share.weight.value for share in shares} == {
        "shop/fraud/a": 93,
        "shop/fraud/b": 7,
        "shop/fraud/c": 0,
    }


def test_a_revision_has_a_cluster_for_each_purpose_and_no_more() -> None:
    routes = route(
        backend("a", 100),
        backend("b", 0),
        backend("c", 0),
        matches=(BETA,),
        mirrors=(Mirror(revision="b", percent=1), Mirror(revision="c", percent=0)),
    )
    clusters = [resource.name for resource in snapshot_of([routes]).of(CLUSTER_TYPE)]
    assert clusters == [
        *("shop/fraud/a", "shop/fraud/b", "shop/fraud/b/matched", "shop/fraud/b/mirrored"),
        *("shop/fraud/c", "shop/fraud/c/mirrored"),
    ]


def test_every_cluster_that_a_route_names_is_told_too() -> None:
    routes = route(
        backend("a", 50),
        backend("b", 50, keys_from=0),
        backend("c", 0),
        matches=(BETA,),
        stickiness=CookieKey(name="penstock", ttl_seconds=60),
        mirrors=(Mirror(revision="b", percent=20), Mirror(revision="c", percent=20)),
    )
    snapshot = snapshot_of([routes])
    table = route_pb2.RouteConfiguration.FromString(snapshot.of(ROUTE_TYPE)[0].body.value)
    named = {
        name
        for entry in table.virtual_hosts[0].routes
        for name in (
            *(cluster.name for cluster in entry.route.weighted_clusters.clusters),
            *(policy.cluster for policy in entry.route.request_mirror_policies),
        )
    }
    assert named <= {resource.name for resource in snapshot.of(CLUSTER_TYPE)}
    assert "shop/fraud/c/mirrored" in named


def test_a_cookie_needs_another_listener_because_ids_have_to_be_made() -> None:
    cookie = CookieKey(name="penstock", ttl_seconds=60)
    before, after = snapshot_of([route(backend("a", 100))]), snapshot_of([route(backend("a", 100), stickiness=cookie)])
    assert before.of(LISTENER_TYPE) != after.of(LISTENER_TYPE)


def test_a_revision_of_two_splits_has_a_cluster_in_each() -> None:
    snapshot = snapshot_of([route(backend("a", 100)), route(backend("a", 100), split="other", port=10_001)])
    names = [cluster_pb2.Cluster.FromString(resource.body.value).name for resource in snapshot.of(CLUSTER_TYPE)]
    assert names == ["shop/fraud/a", "shop/other/a"]


def test_a_split_that_is_published_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="shop/fraud is published twice"):
        snapshot_of([route(backend("a", 100)), route(backend("b", 100), port=10_001)])


def test_two_splits_on_one_port_are_refused() -> None:
    with pytest.raises(ValueError, match="churn and fraud share router port 10000"):
        snapshot_of([route(backend("a", 100)), route(backend("b", 100), split="churn")])


@pytest.mark.parametrize(
    ("split", "revision"),
    [("fraud", "fraud-7c9f2b41"), ("a.b", "a.b-1"), ("a-b.c-d", "x.y.z"), ("a", "b")],
)
@pytest.mark.parametrize("purpose", Purpose)
def test_names_in_statistics_read_back_as_they_were(split: str, revision: str, purpose: Purpose) -> None:
    name = ClusterName(namespace="shop", split=split, revision=revision, purpose=purpose)
    assert "." not in name.stats
    assert ClusterName.parse_stats(name.stats) == name


def test_a_cluster_that_is_not_ours_is_no_name() -> None:
    with pytest.raises(ValueError, match="unpack"):
        ClusterName.parse_stats("xds")
