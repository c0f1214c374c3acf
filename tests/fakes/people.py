"""Somebody at a real API server: what a person, a controller or the kubelet would do there."""

import asyncio
import contextlib
import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from penstock_operator.adapters.api_client import Access, ApiClient, Conflict, load_access
from penstock_operator.adapters.kubernetes import collection_path, path
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, kind_of, ref_of
from penstock_operator.ports import ClusterUnavailable

CRDS = Path(__file__).parents[2] / "crds"
_CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Unobserved:
    """Hears of requests, reconciles and drops, and forgets them."""

    def requested(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Forget."""

    def began(self, kind: Kind, late_seconds: float) -> None:
        """Forget."""

    def reconciled(self, kind: Kind, seconds: float, outcome: str) -> None:
        """Forget."""


class People:
    """Acts with the rights of a kubeconfig. Every method raises what ApiClient raises."""

    def __init__(self, access: Access) -> None:
        self.client = ApiClient(access, may_write=lambda: True, observer=Unobserved(), user_agent="people")

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.__aexit__(kind, error, trace)

    async def create_namespace(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.client.request("create", "/api/v1/namespaces", resource="namespaces", body=body)

    async def delete_namespace(self, name: str) -> None:
        await self.client.request("delete", f"/api/v1/namespaces/{name}", resource="namespaces")

    async def create(self, manifest: Manifest) -> Manifest:
        kind = kind_of(manifest)
        where = collection_path(kind, manifest["metadata"]["namespace"])
        created = await self.client.request("create", where, resource=kind.resource.plural, body=manifest)
        assert created is not None, f"no such namespace or kind: {where}"
        return created

    async def get(self, ref: ObjectRef) -> Manifest | None:
        return await self.client.request("get", path(ref), resource=ref.kind.resource.plural)

    async def list(self, kind: Kind, namespace: str, labels: str = "") -> Sequence[Manifest]:
        query = {"labelSelector": labels} if labels else None
        where = collection_path(kind, namespace)
        answer = await self.client.request("list", where, resource=kind.resource.plural, query=query)
        return tuple((answer or {})["items"])

    async def edit(self, ref: ObjectRef, change: Callable[[Manifest], object], *, subresource: str = "") -> Manifest:
        """Read, change and replace, again after a conflict. ``subresource`` is ``/status`` or nothing."""
        while True:
            manifest = copy.deepcopy(await self.get(ref))
            assert manifest is not None, f"{ref} is absent"
            change(manifest)
            try:
                where = path(ref) + subresource
                edited = await self.client.request("replace", where, resource=ref.kind.resource.plural, body=manifest)
            except Conflict:
                continue
            assert edited is not None, f"{ref} is absent"
            return edited

    async def patch(self, ref: ObjectRef, body: dict[str, Any], *, subresource: str = "") -> Manifest:
        where = path(ref) + subresource
        patched = await self.client.request("patch", where, resource=ref.kind.resource.plural, body=body)
        assert patched is not None, f"{ref} is absent"
        return patched

    async def delete(self, ref: ObjectRef) -> None:
        await self.client.request("delete", path(ref), resource=ref.kind.resource.plural)

    async def events(self, about: ObjectRef) -> Sequence[Manifest]:
        where = f"/api/v1/namespaces/{about.namespace}/events"
        query = {"fieldSelector": f"involvedObject.name={about.name},involvedObject.kind={about.kind.resource.kind}"}
        answer = await self.client.request("list", where, resource="events", query=query)
        return tuple((answer or {})["items"])

    async def until(
        self, ref: ObjectRef, holds: Callable[[Manifest | None], object], *, seconds: float = 20.0
    ) -> Manifest:
        """Return the object once ``holds`` of it. Fails with its last state."""
        live = None
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            live = await self.get(ref)
            if holds(live):
                return live or {}
            await asyncio.sleep(0.05)
        raise AssertionError(f"{ref} did not come to that within {seconds} s; last seen: {live}")


def install_crds(kubeconfig: Path) -> None:
    """Create the three CRDs and wait until the API server serves them."""
    with ThreadPoolExecutor(max_workers=1) as thread:  # a test's event loop may be running in this one
        thread.submit(asyncio.run, _install_crds(kubeconfig)).result()


async def _install_crds(kubeconfig: Path) -> None:
    async with People(await load_access(str(kubeconfig))) as people:
        for file in sorted(CRDS.glob("*.yaml")):
            body = yaml.safe_load(file.read_text())
            await people.client.request("create", _CRD_PATH, resource="customresourcedefinitions", body=body)
        for file in sorted(CRDS.glob("*.yaml")):
            await _established(people, f"{_CRD_PATH}/{yaml.safe_load(file.read_text())['metadata']['name']}")
        for kind in (Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY):
            await _served(people, kind)


async def remove_crds(people: People) -> None:
    """Delete the three CRDs, and with them every object of theirs."""
    for file in sorted(CRDS.glob("*.yaml")):
        where = f"{_CRD_PATH}/{yaml.safe_load(file.read_text())['metadata']['name']}"
        await people.client.request("delete", where, resource="customresourcedefinitions")
        while await people.client.request("get", where, resource="customresourcedefinitions"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _served(people: People, kind: Kind) -> None:
    """An established kind still answers 404, or 429 "storage is (re)initializing", for a moment."""
    while True:
        with contextlib.suppress(ClusterUnavailable):
            where = collection_path(kind, None)
            if await people.client.request("list", where, resource=kind.resource.plural) is not None:
                return
        await asyncio.sleep(0.05)


async def _established(people: People, where: str) -> None:
    while True:
        live = await people.client.request("get", where, resource="customresourcedefinitions")
        conditions = {item["type"]: item["status"] for item in (live or {}).get("status", {}).get("conditions", [])}
        if conditions.get("Established") == "True":
            return
        await asyncio.sleep(0.05)


def reference(manifest: Manifest) -> ObjectRef:
    """Return the reference of a manifest."""
    return ref_of(kind_of(manifest), manifest)
