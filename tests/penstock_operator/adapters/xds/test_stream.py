"""In which order a router is told what, against a router that is a few lines long."""

from dataclasses import dataclass, field

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.rpc import status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.adapters.xds.resources import (
    CLUSTER_TYPE,
    LISTENER_TYPE,
    RESOURCE_TYPES,
    ROUTE_TYPE,
    Snapshot,
    SplitResources,
    snapshot_of,
)
from penstock_operator.adapters.xds.stream import RouterStream, Update, plain_words
from penstock_operator.core.routes import Backend, SplitRoute

LINGER = 10.0


def snapshot(splits: dict[str, dict[str, int]]) -> Snapshot:
    """Return the snapshot of splits with weights by revision."""
    return snapshot_of(
        SplitRoute(
            namespace="shop",
            split=split,
            port=10_000 + ord(split[0]),
            backends=tuple(
                Backend(revision=revision, host=revision, port=8080, weight=weight)
                for revision, weight in weights.items()
            ),
            request_timeout_seconds=30,
        )
        for split, weights in splits.items()
    )


@dataclass
class Router:
    """What Envoy does with updates: subscribes, keeps, answers, and refuses what it is told to."""

    has: dict[str, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in RESOURCE_TYPES})
    refuses: set[str] = field(default_factory=set)
    stream: RouterStream = field(default_factory=lambda: RouterStream(linger_seconds=LINGER))
    log: list[Update] = field(default_factory=list)

    def connect(self) -> None:
        self.stream = RouterStream(linger_seconds=LINGER)
        for kind in RESOURCE_TYPES:
            if kind != ROUTE_TYPE or self.has[LISTENER_TYPE]:
                names = sorted(self.has[LISTENER_TYPE]) if kind == ROUTE_TYPE else []
                self.stream.observe(
                    discovery_pb2.DeltaDiscoveryRequest(
                        type_url=kind, initial_resource_versions=self.has[kind], resource_names_subscribe=names
                    )
                )

    def settle(self, wanted: Snapshot, now: float = 0.0) -> None:
        """Take in updates until there are none."""
        for _ in range(200):
            updates = list(self.stream.due(wanted, now))
            if not updates:
                return
            for update in updates:
                self.take(update)
        pytest.fail("updates never end")

    def take(self, update: Update) -> None:
        self.log.append(update)
        kept = self.has[update.type_url]
        answer = discovery_pb2.DeltaDiscoveryRequest(type_url=update.type_url, response_nonce=update.nonce)
        bad = [resource.name for resource in update.resources if resource.name in self.refuses]
        if bad:
            answer.error_detail.CopyFrom(status_pb2.Status(code=3, message=f"cannot use {bad[0]}"))
        added = [resource for resource in update.resources if resource.name not in bad]
        fresh = {resource.name for resource in added} - kept.keys()
        kept.update({resource.name: resource.version for resource in added})
        for name in update.removed:
            kept.pop(name, None)
        self.stream.observe(answer)
        if update.type_url == LISTENER_TYPE:
            self._follow_listeners(fresh, set(update.removed))
        self.check()

    def _follow_listeners(self, added: set[str], removed: set[str]) -> None:
        for name in removed:
            self.has[ROUTE_TYPE].pop(name, None)
        if added or removed:
            self.stream.observe(
                discovery_pb2.DeltaDiscoveryRequest(
                    type_url=ROUTE_TYPE,
                    resource_names_subscribe=sorted(added),
                    resource_names_unsubscribe=sorted(removed),
                )
            )

    def runs(self, split: SplitResources) -> bool:
        return all(self.has[kind].get(one.name) == one.version for kind in RESOURCE_TYPES for one in split.of(kind))

    def check(self) -> None:
        """Every route has its clusters, at every moment."""
        for version in self.has[ROUTE_TYPE].values():
            assert CLUSTERS_OF[version] <= self.has[CLUSTER_TYPE].keys()


CLUSTERS_OF: dict[str, set[str]] = {}


def remember(wanted: Snapshot) -> Snapshot:
    for split in wanted.splits.values():
        CLUSTERS_OF[split.route.version] = {cluster.name for cluster in split.clusters}
    return wanted


def kinds(updates: list[Update]) -> list[str]:
    return [update.type_url.rpartition(".")[2] for update in updates]


def test_a_new_router_is_told_clusters_then_listeners_then_routes() -> None:
    wanted = remember(snapshot({"a": {"x": 100}, "b": {"x": 50, "y": 50}}))
    router = Router()
    router.connect()
    router.settle(wanted)
    assert kinds(router.log) == ["Cluster", "Listener", "RouteConfiguration"]
    assert all(router.stream.runs(split) for split in wanted.splits.values())


def test_new_weights_are_one_update_of_routes() -> None:
    router = Router()
    router.connect()
    router.settle(remember(snapshot({"a": {"x": 100, "y": 0}})))
    router.log.clear()
    wanted = remember(snapshot({"a": {"x": 90, "y": 10}}))
    router.settle(wanted)
    assert kinds(router.log) == ["RouteConfiguration"]
    assert router.stream.runs(wanted.splits["a"])


def test_a_cluster_goes_a_while_after_its_last_route() -> None:
    router = Router()
    router.connect()
    router.settle(remember(snapshot({"a": {"x": 50, "y": 50}})))
    wanted = remember(snapshot({"a": {"x": 100}}))
    router.settle(wanted, now=100.0)
    assert router.stream.runs(wanted.splits["a"])
    assert router.stream.wake_at() == 100.0 + LINGER
    router.settle(wanted, now=100.0 + LINGER - 1)
    assert "shop/a/y" in router.has[CLUSTER_TYPE]
    router.settle(wanted, now=100.0 + LINGER)
    assert "shop/a/y" not in router.has[CLUSTER_TYPE]
    assert router.stream.wake_at() is None


def test_a_cluster_that_is_wanted_again_in_time_stays() -> None:
    router = Router()
    router.connect()
    both = remember(snapshot({"a": {"x": 50, "y": 50}}))
    router.settle(both)
    router.settle(remember(snapshot({"a": {"x": 100}})), now=100.0)
    router.settle(both, now=105.0)
    router.settle(both, now=200.0)
    assert "shop/a/y" in router.has[CLUSTER_TYPE]


def test_a_split_that_is_gone_loses_its_listener_first() -> None:
    router = Router()
    router.connect()
    router.settle(remember(snapshot({"a": {"x": 100}, "b": {"y": 100}})))
    router.log.clear()
    wanted = remember(snapshot({"a": {"x": 100}}))
    router.settle(wanted, now=100.0)
    router.settle(wanted, now=100.0 + LINGER)
    assert kinds(router.log) == ["Listener", "Cluster"]
    assert router.log[0].removed == ("shop/b",)
    assert router.log[1].removed == ("shop/b/y",)


def test_a_router_without_anything_to_do_is_told_so() -> None:
    router = Router()
    router.connect()
    router.settle(snapshot({}))
    assert kinds(router.log) == ["Cluster", "Listener"]
    assert not any(update.resources or update.removed for update in router.log)


def test_a_router_that_comes_back_with_everything_is_sent_no_resource() -> None:
    wanted = remember(snapshot({"a": {"x": 50, "y": 50}}))
    router = Router()
    router.connect()
    router.settle(wanted)
    router.log.clear()
    router.connect()
    router.settle(wanted)
    assert not any(update.resources or update.removed for update in router.log)
    assert router.stream.runs(wanted.splits["a"])


def test_a_router_that_comes_back_to_other_routes_loses_no_cluster_too_early() -> None:
    router = Router()
    router.connect()
    router.settle(remember(snapshot({"a": {"x": 50, "y": 50}})))
    router.connect()
    wanted = remember(snapshot({"a": {"x": 100}}))
    router.settle(wanted, now=100.0)
    assert router.stream.runs(wanted.splits["a"])
    router.settle(wanted, now=100.0 + LINGER)
    assert router.has[CLUSTER_TYPE].keys() == {"shop/a/x"}


def test_a_refused_resource_stops_its_own_split_only() -> None:
    router = Router(refuses={"shop/a/bad"})
    router.connect()
    router.settle(remember(snapshot({"a": {"x": 100}, "b": {"y": 100}})))
    wanted = remember(snapshot({"a": {"x": 50, "bad": 50}, "b": {"y": 50, "z": 50}}))
    router.settle(wanted)
    assert not router.stream.runs(wanted.splits["a"])
    assert router.stream.refusal(wanted.splits["a"]) == "shop/a/bad: cannot use shop/a/bad"
    assert router.stream.runs(wanted.splits["b"])
    assert router.stream.refusal(wanted.splits["b"]) is None


def test_a_router_whose_first_update_is_refused_in_part_starts_with_the_rest() -> None:
    router = Router(refuses={"shop/a/bad"})
    router.connect()
    router.settle(remember(snapshot({"a": {"bad": 100}, "b": {"y": 100}})))
    assert router.has[LISTENER_TYPE].keys() == {"shop/b"}


def test_a_refused_resource_is_not_sent_again_until_it_changes() -> None:
    router = Router(refuses={"shop/a/x"})
    router.connect()
    wanted = remember(snapshot({"a": {"x": 100}}))
    router.settle(wanted)
    router.log.clear()
    router.settle(wanted)
    assert router.log == []


def test_at_most_one_update_of_a_type_is_under_way() -> None:
    router = Router()
    router.connect()
    router.settle(remember(snapshot({"a": {"x": 100, "y": 0}})))
    for weight in range(1, 50):
        updates = list(router.stream.due(remember(snapshot({"a": {"x": 100 - weight, "y": weight}})), 0.0))
        assert len(updates) == (1 if weight == 1 else 0)


def test_an_answer_to_something_else_is_no_acknowledgement() -> None:
    router = Router()
    router.connect()
    wanted = remember(snapshot({"a": {"x": 100}}))
    list(router.stream.due(wanted, 0.0))
    router.stream.observe(discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER_TYPE, response_nonce="stale"))
    assert not router.stream.runs(wanted.splits["a"])
    assert list(router.stream.due(wanted, 0.0)) == []


def test_types_that_are_not_ours_are_ignored() -> None:
    stream = RouterStream(linger_seconds=LINGER)
    stream.observe(discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/elsewhere"))
    assert list(stream.due(snapshot({"a": {"x": 100}}), 0.0)) == []


def test_a_long_error_is_cut_from_its_front() -> None:
    assert plain_words("x" * 1000 + " the end").startswith("…x")
    assert plain_words("x" * 1000 + " the end").endswith("the end")


WEIGHTS = st.sampled_from([{"x": 100}, {"y": 100}, {"x": 50, "y": 50}, {"x": 0, "y": 40, "z": 60}])
WORLDS = st.dictionaries(st.sampled_from("abc"), WEIGHTS)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.tuples(WORLDS, st.booleans(), st.integers(0, 4), st.floats(0, 2 * LINGER)), max_size=8),
    comes_back=st.booleans(),
)
def test_no_route_is_ever_without_its_clusters(
    steps: list[tuple[dict[str, dict[str, int]], bool, int, float]], *, comes_back: bool
) -> None:
    router, now = Router(), 0.0
    router.connect()
    for world, reconnects, rounds, seconds in steps:
        wanted = remember(snapshot(world))
        if reconnects:
            router.connect()
        for _ in range(rounds):
            for update in list(router.stream.due(wanted, now)):
                router.take(update)
            # What is remembered of a split that had nothing due is what the router has.
            assert [split.split for split in wanted.splits.values() if router.stream.runs(split)] == [
                split.split for split in wanted.splits.values() if router.runs(split)
            ]
        now += seconds
    final = remember(snapshot(steps[-1][0] if steps else {}))
    if comes_back or not steps:
        router.connect()
    router.settle(final, now)
    router.settle(final, now + LINGER)
    assert router.has[CLUSTER_TYPE].keys() == {resource.name for resource in final.of(CLUSTER_TYPE)}
    assert router.has[LISTENER_TYPE].keys() == {resource.name for resource in final.of(LISTENER_TYPE)}
    assert all(router.stream.runs(split) for split in final.splits.values())
