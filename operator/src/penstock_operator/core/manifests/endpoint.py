"""The endpoint: one Service that clients know, pointed at serving pods or at the router."""

from dataclasses import dataclass

from penstock_operator.core import names
from penstock_operator.core.manifests.ownership import controller_reference
from penstock_operator.core.manifests.serving_pod import HTTP_PORT, grpc_port
from penstock_operator.core.objects import Manifest
from penstock_operator.core.plan import Apply

PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ToRevision:
    """The endpoint leads straight to the pods of a revision, over gRPC too if they speak it."""

    revision: str
    grpc: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToRouter:
    """The endpoint leads to the router pods, which listen for it on a port of its own, for gRPC too if they lead it."""

    port: int
    grpc: bool


Target = ToRevision | ToRouter


def endpoint_service(owner: Manifest, target: Target) -> Manifest:
    """Return the Service named like ``owner``. Its ClusterIP survives a change of target: only the selector moves."""
    ports: list[Manifest] = []
    match target:
        case ToRevision(revision=revision, grpc=grpc):
            selector, target_port = {names.REVISION: revision}, HTTP_PORT
            ports = [grpc_port()] if grpc else []
        case ToRouter(port=port, grpc=grpc):
            # Routers tell the protocols apart by themselves; clients find either where it was.
            ports = [{**grpc_port(), "targetPort": port}] if grpc else []
            selector, target_port = {names.APP_NAME: names.ROUTER, names.MANAGED_BY: names.OPERATOR}, port
    name = owner["metadata"]["name"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": names.managed_labels(names.SERVER),
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": target_port}, *ports],
        },
    }


def endpoint_write(service: Manifest, live: Manifest | None, address: str | None) -> Apply:
    """Return the write that makes or mends an endpoint.

    One that was deleted asks for the ``address`` that it had: clients and their DNS caches know it still. Somebody else
    may have got it meanwhile; then any other one will do.
    """
    if live is not None or address is None:
        return Apply(manifest=service)
    as_it_was = {**service, "spec": {**service["spec"], "clusterIP": address}}
    return Apply(manifest=as_it_was, otherwise=service)


def endpoint_address(live: Manifest | None, remembered: str | None) -> str | None:
    """Return the ClusterIP of an endpoint, also while it is not there."""
    address: str | None = (live or {}).get("spec", {}).get("clusterIP")
    return address or remembered


def endpoint_url(name: str, namespace: str, model_name: str) -> str:
    """Return the inference URL inside the cluster."""
    return f"http://{name}.{namespace}.svc/v2/models/{model_name}/infer"
