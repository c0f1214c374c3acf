"""Reads and writes the HTTPRoutes of splits, and reads the Gateways that run them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from penstock_operator.adapters.api_client import Verb
from penstock_operator.adapters.cache import without_managed_fields
from penstock_operator.adapters.kubernetes import FIELD_MANAGER
from penstock_operator.core.gateway import API_VERSION, KIND, Attachment, Parent
from penstock_operator.core.objects import Manifest
from penstock_operator.journal import note
from penstock_operator.ports import ClusterUnavailable, RequestRejected

_ROOT = f"/apis/{API_VERSION}"
#: Gateways change rarely, and all splits of a namespace ask for the same one.
_GATEWAY_SECONDS = 5.0
_CLASS_SECONDS = 300.0
#: What the API server says, with status 500, of an applied field that a CRD does not have. Trying again cannot help.
_UNKNOWN_FIELD = "field not declared in schema"


class Requests(Protocol):
    """The part of the API client that is used here."""

    async def request(
        self,
        verb: Verb,
        path: str,
        *,
        resource: str,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
    ) -> dict[str, Any] | None:
        """Return the answer, or None if there is no such object (404)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    manifest: Manifest | None
    until: float


class KubernetesGatewayApi:
    """Implements the GatewayApi port by plain requests, without watches: the CRDs may be absent, come and go.

    ``namespaces``: those that the operator has rights in; empty for all, and for what belongs to no namespace.
    """

    def __init__(self, client: Requests, *, namespaces: Collection[str], monotonic: Callable[[], float]) -> None:
        self._client = client
        self._namespaces = frozenset(namespaces)
        self._monotonic = monotonic
        self._remembered: dict[str, _Remembered] = {}

    async def route(self, namespace: str, name: str) -> Manifest | None:
        """Return the HTTPRoute of this name, whoever owns it."""
        live = await self._client.request("get", _route_path(namespace, name), resource="httproutes")
        return None if live is None else {"apiVersion": API_VERSION, "kind": KIND, **without_managed_fields(live)}

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply with force; a field that the cluster's CRD does not have is refused, not dropped."""
        metadata = manifest["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        where = _route_path(metadata["namespace"], metadata["name"])
        try:
            applied = await self._client.request("apply", where, resource="httproutes", body=manifest, query=query)
        except ClusterUnavailable as error:
            if _UNKNOWN_FIELD in str(error):
                raise RequestRejected(str(error), HTTPStatus.BAD_REQUEST, "BadRequest") from error
            raise
        if applied is None:
            raise RequestRejected(
                f"the API server knows no {KIND} of {API_VERSION}; install the CRDs of the Gateway API",
                HTTPStatus.NOT_FOUND,
                "NotFound",
            )
        note(f"applied {KIND.lower()}/{metadata['name']}")
        return without_managed_fields(applied)

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete the HTTPRoute if it still has this uid; absent is fine."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        await self._client.request("delete", _route_path(namespace, name), resource="httproutes", body=body)
        note(f"deleted {KIND.lower()}/{name}")

    async def attachment(self, parents: Collection[Parent]) -> Attachment:
        """Return the Gateways of ``parents``; those in namespaces without rights are left out."""
        gateways: dict[Parent, Manifest | None] = {}
        for parent in parents:
            if not self._namespaces or parent.namespace in self._namespaces:
                where = f"{_ROOT}/namespaces/{parent.namespace}/gateways/{parent.name}"
                gateways[parent] = await self._recent(where, "gateways", _GATEWAY_SECONDS)
        return Attachment(gateways=gateways)

    async def features(self, gateway_class: str) -> frozenset[str]:
        """Return the features that a GatewayClass publishes; empty where it publishes none or may not be read."""
        if self._namespaces:
            return frozenset()
        live = await self._recent(f"{_ROOT}/gatewayclasses/{gateway_class}", "gatewayclasses", _CLASS_SECONDS)
        status: Mapping[str, Any] = (live or {}).get("status") or {}
        # Names only until version 1.3 of the API, objects with a name since.
        told = status.get("supportedFeatures") or ()
        return frozenset(str(item.get("name", "")) if isinstance(item, Mapping) else str(item) for item in told)

    async def _recent(self, where: str, resource: str, seconds: float) -> Manifest | None:
        now = self._monotonic()
        known = self._remembered.get(where)
        if known is None or known.until <= now:
            live = await self._client.request("get", where, resource=resource)
            self._remembered = {path: kept for path, kept in self._remembered.items() if kept.until > now}
            # One that is missing or not programmed yet is looked at again at once: somebody waits for it.
            kept_seconds = seconds if live is not None and _is_programmed(live) else 0.0
            known = self._remembered[where] = _Remembered(manifest=live, until=now + kept_seconds)
        return known.manifest


def _route_path(namespace: str, name: str) -> str:
    return f"{_ROOT}/namespaces/{namespace}/httproutes/{name}"


def _is_programmed(live: Manifest) -> bool:
    """Return whether a Gateway is programmed; a GatewayClass has no such condition and counts as settled."""
    conditions = (live.get("status") or {}).get("conditions") or ()
    told = [condition["status"] for condition in conditions if condition.get("type") == "Programmed"]
    return told[:1] == ["True"] if live.get("kind") == "Gateway" else True
