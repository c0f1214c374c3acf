"""Leads the routers to the leader: the EndpointSlice of the xDS Service."""

from ipaddress import ip_address

from penstock_operator.adapters.api_client import ApiClient
from penstock_operator.adapters.kubernetes import FIELD_MANAGER

SERVICE = "penstock-xds"
_NAME = SERVICE


async def point_to(client: ApiClient, *, namespace: str, pod_ip: str, pod_name: str, port: int) -> None:
    """Make ``pod_ip`` the only endpoint of the xDS Service, which has no selector. Raises the port's errors."""
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": _NAME,
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": SERVICE,
                "endpointslice.kubernetes.io/managed-by": FIELD_MANAGER,
                "app.kubernetes.io/managed-by": FIELD_MANAGER,
            },
        },
        "addressType": f"IPv{ip_address(pod_ip).version}",
        "endpoints": [
            {
                "addresses": [pod_ip],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod_name},
            }
        ],
        "ports": [{"name": "xds", "port": port, "protocol": "TCP"}],
    }
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{_NAME}"
    query = {"fieldManager": FIELD_MANAGER, "force": "true"}
    await client.request("apply", path, resource="endpointslices", body=body, query=query)
