"""Who serving pods are and who may talk to them: ServiceAccount and NetworkPolicy of a ModelDeployment."""

from penstock_operator.core import names
from penstock_operator.core.manifests.ownership import controller_reference
from penstock_operator.core.manifests.serving_pod import GRPC_PORT, HTTP_PORT, MANAGEMENT_PORT
from penstock_operator.core.objects import Manifest


def service_account(owner: Manifest) -> Manifest:
    """Return an identity without a token: serving pods never talk to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(owner),
        "automountServiceAccountToken": False,
    }


def network_policy(owner: Manifest, *, grpc: bool) -> Manifest:
    """Return the policy of the serving pods.

    In: inference (``grpc``: over that too) and metrics, nothing else. Out: the model source may be anywhere, so
    everything but link-local addresses, where clouds hand out a node's credentials.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(owner),
        "spec": {
            "podSelector": {"matchLabels": {names.MODEL_DEPLOYMENT: owner["metadata"]["name"]}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [{"port": port, "protocol": "TCP"} for port in (HTTP_PORT, *([GRPC_PORT] if grpc else []))]},
                {
                    "from": [{"namespaceSelector": {}}],
                    "ports": [{"port": MANAGEMENT_PORT, "protocol": "TCP"}],
                },
            ],
            "egress": [
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]},
                {"to": [{"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}]},
            ],
        },
    }


def _metadata(owner: Manifest) -> Manifest:
    name = owner["metadata"]["name"]
    return {
        "name": names.serving_name(name),
        "namespace": owner["metadata"]["namespace"],
        "labels": names.deployment_labels(name),
        "ownerReferences": [controller_reference(owner)],
    }
