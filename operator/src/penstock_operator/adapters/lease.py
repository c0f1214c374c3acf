"""The Lease of the leader election, as an object of the API server."""

from datetime import UTC, datetime
from typing import Any

from penstock_operator.adapters.api_client import ApiClient, Conflict, Verb
from penstock_operator.election import LeaseRecord


class KubernetesLease:
    """Reads and writes one Lease; a write names the resource version that was seen.

    ``client`` is one of its own: it writes without leading, and its connections are never all taken by other work.
    """

    def __init__(self, client: ApiClient, *, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    async def read(self, timeout_seconds: float) -> LeaseRecord | None:
        """Return the record, or None if there is no Lease."""
        path = f"{self._collection}/{self._name}"
        live = await self._client.request("get", path, resource="leases", timeout_seconds=timeout_seconds)
        return None if live is None else _record(live)

    async def write(
        self, holder: str, *, seen: LeaseRecord | None, duration_seconds: int, timeout_seconds: float
    ) -> LeaseRecord:
        """Create the Lease, or replace it if it still is what was ``seen``; an empty holder frees it."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        taken = seen is None or seen.holder != holder
        transitions = (seen.transitions if seen else 0) + (1 if taken and holder else 0)
        body: dict[str, Any] = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": duration_seconds if holder else 1,
                "acquireTime": now if taken or seen is None else seen.acquired,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }
        verb: Verb = "create" if seen is None else "replace"
        path = self._collection if seen is None else f"{self._collection}/{self._name}"
        if seen is not None:
            body["metadata"]["resourceVersion"] = seen.version
        written = await self._client.request(verb, path, resource="leases", body=body, timeout_seconds=timeout_seconds)
        if written is None:
            raise Conflict(f"{path}: the Lease or its namespace is gone")
        return _record(written)


def _record(live: dict[str, Any]) -> LeaseRecord:
    spec = live.get("spec") or {}
    return LeaseRecord(
        holder=str(spec.get("holderIdentity") or ""),
        duration_seconds=int(spec.get("leaseDurationSeconds") or 1),
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired=str(spec.get("acquireTime") or ""),
        version=str(live["metadata"]["resourceVersion"]),
    )
