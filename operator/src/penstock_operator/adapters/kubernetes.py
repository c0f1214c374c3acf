"""Implements the Cluster port on the API client, the cache and the event recorder."""

from collections.abc import Sequence
from typing import Any, Protocol

from penstock_operator.adapters.api_client import ApiClient
from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.core.names import MANAGED_BY, OPERATOR
from penstock_operator.core.objects import CUSTOM_KINDS, Kind, Manifest, ObjectRef, kind_of, ref_of
from penstock_operator.core.plan import EventRecord
from penstock_operator.journal import note
from penstock_operator.ports import ClusterUnavailable, RequestRejected

FIELD_MANAGER = "penstock"
#: Selects what the operator has written; the people's own objects of these kinds are never read.
CHILD_SELECTOR = f"{MANAGED_BY}={OPERATOR}"
_PAGE = 500


class Recorder(Protocol):
    """Takes Events to be sent later."""

    def record(self, ref: ObjectRef, about: Manifest | None, event: EventRecord) -> None:
        """Take one event about an object, given its last known state."""


class KubernetesCluster:
    """The cluster through its API server. What a write returned is in the cache when the write returns."""

    def __init__(self, client: ApiClient, cache: ObjectCache, recorder: Recorder) -> None:
        self._client = client
        self._cache = cache
        self._recorder = recorder

    def get(self, ref: ObjectRef) -> Manifest | None:
        """Return the object as last seen, or None."""
        return self._cache.get(ref)

    def list(self, kind: Kind, namespace: str, labels: dict[str, str] | None = None) -> Sequence[Manifest]:
        """Return the objects of a kind in a namespace whose labels contain ``labels``, by name."""
        return self._cache.list(kind, namespace, labels)

    def owned(self, kind: Kind, namespace: str, uid: str) -> Sequence[Manifest]:
        """Return the objects of a kind in a namespace that name the object of this uid as an owner, by name."""
        return self._cache.owned(kind, namespace, uid)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply with force under the operator's field manager; the result is also in the cache."""
        kind = kind_of(manifest)
        ref = ref_of(kind, manifest)
        known = self._cache.get(ref)
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        applied = await self._client.request("apply", path(ref), resource=_plural(ref), body=manifest, query=query)
        if applied is None:
            raise RequestRejected(
                f"{ref}: the API server knows no such resource or namespace; is the chart installed?", 404, "NotFound"
            )
        changed = known is None or known["metadata"]["resourceVersion"] != applied["metadata"]["resourceVersion"]
        note(f"applied {resource_name(ref)}" + ("" if changed else " (no change)"))
        self._cache.put(kind, applied)
        return applied

    async def write_status(self, ref: ObjectRef, status: dict[str, Any], *, resource_version: str) -> Manifest:
        """Replace the status of one of our kinds, whole."""
        live = self._cache.get(ref)
        if live is None:
            raise ClusterUnavailable(f"{ref}: gone before its status could be written")
        resource = ref.kind.resource
        body: Manifest = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": ref.name,
                "namespace": ref.namespace,
                "resourceVersion": resource_version,
                "uid": live["metadata"]["uid"],
            },
            # The API server takes only the status of what is put here, but validates the whole: send the live spec.
            "spec": live.get("spec", {}),
            "status": status,
        }
        query = {"fieldManager": FIELD_MANAGER}
        where = path(ref) + "/status"
        written = await self._client.request("replace", where, resource=_plural(ref), body=body, query=query)
        if written is None:
            self._cache.remove_deleted(ref, live["metadata"]["uid"])
            raise ClusterUnavailable(f"{ref}: deleted before its status was written")
        note("wrote status")
        self._cache.put(ref.kind, written)
        return written

    async def delete(self, ref: ObjectRef, *, uid: str) -> None:
        """Delete in the background if the object still has this uid; absent is fine."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        answer = await self._client.request("delete", path(ref), resource=_plural(ref), body=body)
        if answer is not None and _still_exists(answer):
            self._cache.put(ref.kind, answer)
        else:
            self._cache.remove_deleted(ref, uid)
        note(f"deleted {resource_name(ref)}")

    def record(self, ref: ObjectRef, event: EventRecord) -> None:
        """Hand an Event about an object to the recorder; never blocks, never raises."""
        note(f"event {event.reason}")
        self._recorder.record(ref, self._cache.get(ref), event)

    async def fetch_live(self, ref: ObjectRef) -> Manifest | None:
        """Return the object from the API server, also one that is not ours and so is not in the cache."""
        live = await self._client.request("get", path(ref), resource=_plural(ref))
        if live is None:
            return None
        resource = ref.kind.resource
        live = {"apiVersion": resource.api_version, "kind": resource.kind, **live}
        if ref.kind in CUSTOM_KINDS or (live["metadata"].get("labels") or {}).get(MANAGED_BY) == OPERATOR:
            self._cache.put(ref.kind, live)
        return live

    async def resync(self, kind: Kind, namespace: str | None) -> int:
        """Compare the cache with a full list of a kind, in one namespace or in all; return the differences."""
        resource = kind.resource
        query = {"limit": str(_PAGE)}
        if kind not in CUSTOM_KINDS:
            query["labelSelector"] = CHILD_SELECTOR
        items: list[Manifest] = []
        version = ""
        while True:
            where = collection_path(kind, namespace)
            page = await self._client.request("list", where, resource=resource.plural, query=query)
            if page is None:
                raise ClusterUnavailable(f"{where}: the API server knows no such resource; install the CRDs")
            # Items of a list come without their kind.
            named = {"apiVersion": resource.api_version, "kind": resource.kind}
            items.extend({**named, **item} for item in page.get("items") or ())
            version = version or page["metadata"]["resourceVersion"]
            if not (token := page["metadata"].get("continue")):
                break
            query["continue"] = token
        return self._cache.replace(kind, items, resource_version=version, namespace=namespace)


def collection_path(kind: Kind, namespace: str | None) -> str:
    """Return the URL path of all objects of a kind, in one namespace or in all."""
    resource = kind.resource
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    return f"{root}/namespaces/{namespace}/{resource.plural}" if namespace else f"{root}/{resource.plural}"


def path(ref: ObjectRef) -> str:
    """Return the URL path of one object."""
    return f"{collection_path(ref.kind, ref.namespace)}/{ref.name}"


def _still_exists(answer: Manifest) -> bool:
    """Return whether a deletion only began, by its answer: a Status, or for some kinds the object as it was."""
    metadata = answer.get("metadata") or {}
    return bool(metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"))


def resource_name(ref: ObjectRef) -> str:
    """Return kind and name, as kubectl takes them.

    >>> resource_name(ObjectRef(kind=Kind.SERVICE, namespace="shop", name="fraud"))
    'service/fraud'
    """
    return f"{ref.kind.resource.kind.lower()}/{ref.name}"


def _plural(ref: ObjectRef) -> str:
    return ref.kind.resource.plural
