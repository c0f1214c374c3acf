"""What reconcilers rely on, of the fake cluster and of the real one alike."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.people import People, Unobserved

from penstock_operator.adapters.api_client import Access, ApiClient
from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.adapters.kubernetes import KubernetesCluster
from penstock_operator.core.names import managed_labels
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.plan import EventRecord
from penstock_operator.ports import Cluster, ClusterUnavailable


class World(Protocol):
    """A cluster port, and a person who changes things beside it."""

    @property
    def cluster(self) -> Cluster: ...
    @property
    def namespace(self) -> str: ...

    async def create(self, manifest: Manifest) -> Manifest: ...


class FakeWorld:
    namespace = "shop"

    def __init__(self) -> None:
        self.cluster = self.fake = FakeCluster()

    async def create(self, manifest: Manifest) -> Manifest:
        return self.fake.put(manifest)


class RealWorld:
    def __init__(self, cluster: KubernetesCluster, people: People, namespace: str) -> None:
        self.cluster = self.real = cluster
        self.people = people
        self.namespace = namespace

    async def create(self, manifest: Manifest) -> Manifest:
        created = await self.people.create(manifest)
        for kind in (Kind.MODEL_DEPLOYMENT, Kind.SERVICE):
            await self.real.resync(kind, self.namespace)
        return created


class Silent:
    def record(self, ref: ObjectRef, about: Manifest | None, event: EventRecord) -> None:
        pass


@pytest.fixture
def fake_world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
async def real_world(access: Access, people: People, namespace: str) -> AsyncIterator[RealWorld]:
    async with ApiClient(access, may_write=lambda: True, observer=Unobserved()) as client:
        yield RealWorld(KubernetesCluster(client, ObjectCache(), Silent()), people, namespace)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.controlplane)])
def world(request: pytest.FixtureRequest) -> World:
    chosen: World = request.getfixturevalue(f"{request.param}_world")
    return chosen


def service(world: World, name: str = "fraud", **spec: Any) -> Manifest:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": world.namespace, "labels": managed_labels("test")},
        "spec": {"ports": ports, "selector": {"app": "a"}, **spec},
    }


def model_deployment(world: World, name: str = "fraud") -> Manifest:
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"model": {"uri": "configmap://m/model.onnx", "sha256": "0" * 64}},
    }


def ref(world: World, kind: Kind, name: str = "fraud") -> ObjectRef:
    return ObjectRef(kind=kind, namespace=world.namespace, name=name)


async def test_an_applied_object_can_be_read_at_once(world: World) -> None:
    applied = await world.cluster.apply(service(world))

    assert world.cluster.get(ref(world, Kind.SERVICE)) is not None
    assert [item["metadata"]["uid"] for item in world.cluster.list(Kind.SERVICE, world.namespace)] == [
        applied["metadata"]["uid"]
    ]


async def test_applying_the_same_again_changes_nothing(world: World) -> None:
    first = await world.cluster.apply(service(world))
    second = await world.cluster.apply(service(world))

    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_what_is_not_applied_any_more_is_removed(world: World) -> None:
    await world.cluster.apply(service(world, selector={"app": "a", "version": "1"}))
    applied = await world.cluster.apply(service(world, selector={"app": "a"}))

    assert applied["spec"]["selector"] == {"app": "a"}


async def test_a_selector_is_one_value_to_which_nobody_else_can_add(world: World) -> None:
    added = service(world, selector={"app": "a", "theirs": "b"})
    await world.create(added)
    applied = await world.cluster.apply(service(world))

    assert applied["spec"]["selector"] == {"app": "a"}


async def test_a_list_is_by_label_and_in_the_order_of_names(world: World) -> None:
    for name in ("b", "c", "a"):
        await world.cluster.apply(service(world, name))
    other = service(world, "d")
    other["metadata"]["labels"] = managed_labels("other")
    await world.cluster.apply(other)

    found = world.cluster.list(Kind.SERVICE, world.namespace, managed_labels("test"))

    assert [item["metadata"]["name"] for item in found] == ["a", "b", "c"]


async def test_an_object_that_is_not_ours_is_seen_live_only(world: World) -> None:
    foreign = service(world)
    foreign["metadata"]["labels"] = {"app": "theirs"}
    await world.create(foreign)

    assert world.cluster.get(ref(world, Kind.SERVICE)) is None
    live = await world.cluster.fetch_live(ref(world, Kind.SERVICE))
    assert live is not None
    assert live["metadata"]["labels"] == {"app": "theirs"}
    assert (live["apiVersion"], live["kind"]) == ("v1", "Service")
    assert world.cluster.get(ref(world, Kind.SERVICE)) is None


async def test_an_absent_object_is_none(world: World) -> None:
    assert world.cluster.get(ref(world, Kind.SERVICE, "nobody")) is None
    assert await world.cluster.fetch_live(ref(world, Kind.SERVICE, "nobody")) is None


async def test_a_status_is_replaced_whole_and_the_spec_stays(world: World) -> None:
    created = await world.create(model_deployment(world))
    key = ref(world, Kind.MODEL_DEPLOYMENT)
    version = created["metadata"]["resourceVersion"]
    first = await world.cluster.write_status(
        key, {"observedGeneration": 1, "stableRevision": "a", "latestRevision": "a"}, resource_version=version
    )
    second = await world.cluster.write_status(
        key,
        {"observedGeneration": 1, "latestRevision": "b"},
        resource_version=first["metadata"]["resourceVersion"],
    )

    assert second["status"] == {"observedGeneration": 1, "latestRevision": "b"}
    assert second["spec"] == created["spec"]
    assert second["metadata"]["generation"] == created["metadata"]["generation"]
    seen = world.cluster.get(key)
    assert seen is not None
    assert seen["status"] == second["status"]


async def test_a_status_of_an_older_state_is_a_conflict(world: World) -> None:
    created = await world.create(model_deployment(world))
    key = ref(world, Kind.MODEL_DEPLOYMENT)
    version = created["metadata"]["resourceVersion"]
    await world.cluster.write_status(key, {"observedGeneration": 1}, resource_version=version)

    with pytest.raises(ClusterUnavailable, match="modified"):
        await world.cluster.write_status(
            key, {"observedGeneration": 1, "latestRevision": "x"}, resource_version=version
        )


async def test_a_status_of_a_deleted_object_is_a_reason_to_look_again(world: World) -> None:
    with pytest.raises(ClusterUnavailable, match="gone"):
        await world.cluster.write_status(ref(world, Kind.MODEL_DEPLOYMENT, "nobody"), {}, resource_version="1")


async def test_a_deleted_object_is_gone_at_once(world: World) -> None:
    applied = await world.cluster.apply(service(world))
    await world.cluster.delete(ref(world, Kind.SERVICE), uid=applied["metadata"]["uid"])

    assert world.cluster.get(ref(world, Kind.SERVICE)) is None
    assert await world.cluster.fetch_live(ref(world, Kind.SERVICE)) is None


async def test_deleting_what_is_absent_is_fine(world: World) -> None:
    await world.cluster.delete(ref(world, Kind.SERVICE, "nobody"), uid="1")
    assert world.cluster.get(ref(world, Kind.SERVICE, "nobody")) is None


async def test_a_namesake_with_another_uid_is_not_deleted(world: World) -> None:
    await world.cluster.apply(service(world))

    with pytest.raises(ClusterUnavailable, match="409"):
        await world.cluster.delete(ref(world, Kind.SERVICE), uid="somebody-else")
    assert await world.cluster.fetch_live(ref(world, Kind.SERVICE)) is not None
