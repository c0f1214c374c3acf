"""What the cluster adapter asks of the API server, and what it keeps of the answers."""

from typing import Any

import pytest

from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.adapters.kubernetes import KubernetesCluster, collection_path, path, resource_name
from penstock_operator.core.names import managed_labels
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.plan import EventRecord
from penstock_operator.ports import ClusterUnavailable, RequestRejected

SPLIT = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace="shop", name="fraud")
SERVICE = ObjectRef(kind=Kind.SERVICE, namespace="shop", name="fraud")


class FakeApi:
    """Answers from a list, in order, and remembers what was asked."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    async def request(self, verb: str, where: str, **details: Any) -> dict[str, Any] | None:
        self.asked.append((verb, where, {key: value for key, value in details.items() if key != "resource"}))
        return self.answers.pop(0)


class Recorded:
    def __init__(self) -> None:
        self.events: list[tuple[ObjectRef, Manifest | None, EventRecord]] = []

    def record(self, ref: ObjectRef, about: Manifest | None, event: EventRecord) -> None:
        self.events.append((ref, about, event))


def manifest(ref: ObjectRef, version: int = 1, **more: Any) -> Manifest:
    resource = ref.kind.resource
    metadata = {
        "name": ref.name,
        "namespace": ref.namespace,
        "uid": "u1",
        "resourceVersion": str(version),
        "labels": managed_labels("test"),
    }
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **more}


def make(*answers: dict[str, Any] | None) -> tuple[KubernetesCluster, FakeApi, ObjectCache, Recorded]:
    api, cache, recorded = FakeApi(*answers), ObjectCache(), Recorded()
    return KubernetesCluster(api, cache, recorded), api, cache, recorded  # type: ignore[arg-type] # only request()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.POD, "/api/v1/namespaces/shop/pods/a"),
        (Kind.DEPLOYMENT, "/apis/apps/v1/namespaces/shop/deployments/a"),
        (Kind.TRAFFIC_SPLIT, "/apis/penstock.dev/v1alpha1/namespaces/shop/trafficsplits/a"),
    ],
)
def test_objects_are_addressed_as_the_api_server_does(kind: Kind, expected: str) -> None:
    assert path(ObjectRef(kind=kind, namespace="shop", name="a")) == expected
    assert collection_path(kind, None) == expected.replace("/namespaces/shop", "").removesuffix("/a")


async def test_applying_to_an_api_without_that_resource_names_the_fix() -> None:
    cluster, *_ = make(None)
    with pytest.raises(RequestRejected, match="is the chart installed"):
        await cluster.apply(manifest(SERVICE))


async def test_the_status_of_an_object_that_was_deleted_meanwhile_takes_it_out_of_the_cache() -> None:
    cluster, _, cache, _ = make(None)
    cache.put(Kind.TRAFFIC_SPLIT, manifest(SPLIT, spec={}))
    with pytest.raises(ClusterUnavailable, match="deleted before its status was written"):
        await cluster.write_status(SPLIT, {}, resource_version="1")
    assert cluster.get(SPLIT) is None


async def test_a_status_is_written_to_the_very_object_that_was_seen() -> None:
    cluster, api, cache, _ = make(manifest(SPLIT, 2, status={"phase": "Idle"}))
    cache.put(Kind.TRAFFIC_SPLIT, manifest(SPLIT, spec={"a": 1}))
    await cluster.write_status(SPLIT, {"phase": "Idle"}, resource_version="1")
    verb, where, details = api.asked[0]
    assert (verb, where) == ("replace", f"{path(SPLIT)}/status")
    assert details["body"]["metadata"] == {"name": "fraud", "namespace": "shop", "uid": "u1", "resourceVersion": "1"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="it was absent already"),
        pytest.param({"kind": "Status", "status": "Success"}, id="a Status"),
        pytest.param(manifest(SERVICE), id="the object as it was"),
    ],
)
async def test_a_deleted_object_leaves_the_cache(answer: dict[str, Any] | None) -> None:
    cluster, api, cache, _ = make(answer)
    cache.put(Kind.SERVICE, manifest(SERVICE))
    await cluster.delete(SERVICE, uid="u1")
    assert cluster.get(SERVICE) is None
    assert api.asked[0][2]["body"]["preconditions"] == {"uid": "u1"}
    assert api.asked[0][2]["body"]["propagationPolicy"] == "Background"


async def test_an_object_that_a_finalizer_keeps_stays_in_the_cache() -> None:
    going = manifest(SERVICE, 2)
    going["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["somebody/else"]}
    cluster, _, cache, _ = make(going)
    cache.put(Kind.SERVICE, manifest(SERVICE))
    await cluster.delete(SERVICE, uid="u1")
    live = cluster.get(SERVICE)
    assert live is not None
    assert live["metadata"]["deletionTimestamp"]


async def test_a_long_list_is_read_page_by_page_and_by_our_label() -> None:
    other = ObjectRef(kind=Kind.SERVICE, namespace="shop", name="other")
    first, last = ({"metadata": manifest(ref)["metadata"]} for ref in (SERVICE, other))
    cluster, api, cache, _ = make(
        {"metadata": {"resourceVersion": "10", "continue": "next"}, "items": [first]},
        {"metadata": {"resourceVersion": "10"}, "items": [last]},
    )
    assert await cluster.resync(Kind.SERVICE, "shop") == 2
    assert cache.synced(Kind.SERVICE)
    live = cluster.get(other)
    assert live is not None
    assert (live["apiVersion"], live["kind"]) == ("v1", "Service"), "items of a list come without"
    assert api.asked[0][2]["query"]["labelSelector"] == "app.kubernetes.io/managed-by=penstock"
    assert api.asked[1][2]["query"]["continue"] == "next"


async def test_what_people_write_is_listed_without_a_label() -> None:
    cluster, api, *_ = make({"metadata": {"resourceVersion": "1"}, "items": None})
    await cluster.resync(Kind.TRAFFIC_SPLIT, None)
    assert "labelSelector" not in api.asked[0][2]["query"]


async def test_a_missing_crd_is_named_with_the_fix() -> None:
    cluster, *_ = make(None)
    with pytest.raises(ClusterUnavailable, match="install the CRDs"):
        await cluster.resync(Kind.TRAFFIC_SPLIT, None)


def test_an_event_goes_to_the_recorder_with_the_last_known_state() -> None:
    cluster, _, cache, recorded = make()
    seen = manifest(SPLIT)
    cache.put(Kind.TRAFFIC_SPLIT, seen)
    event = EventRecord(type="Normal", reason="Promoted", message="")
    cluster.record(SPLIT, event)
    assert recorded.events == [(SPLIT, seen, event)]


def test_resources_are_named_as_kubectl_takes_them() -> None:
    assert resource_name(SERVICE) == "service/fraud"
