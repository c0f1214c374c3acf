"""The children of one revision: its record, Deployment, headless Service and disruption budget."""

from penstock_operator.core import names
from penstock_operator.core.manifests.ownership import controller_reference
from penstock_operator.core.manifests.serving_pod import HTTP_PORT, grpc_port
from penstock_operator.core.objects import Manifest


def controller_revision(
    owner: Manifest, revision: str, *, number: int, content: Manifest, pod_template: Manifest
) -> Manifest:
    """Return the immutable record of a revision: what the user asked for, and the pods that it means."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": _metadata(owner, revision),
        "revision": number,
        "data": {"spec": content, "podTemplate": pod_template},
    }


def deployment(owner: Manifest, revision: str, *, pod_template: Manifest, replicas: int) -> Manifest:
    """Return the Deployment of a revision."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(owner, revision),
        "spec": {
            "replicas": replicas,
            # The template never changes; a replaced pod must be ready before its predecessor goes all the same.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": {names.REVISION: revision}},
            "template": pod_template,
        },
    }


def headless_service(owner: Manifest, revision: str) -> Manifest:
    """Return the headless Service whose DNS name lists the ready pods of a revision; the routers resolve it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(owner, revision),
        "spec": {
            "clusterIP": "None",
            "selector": {names.REVISION: revision},
            # Both always: a pod without gRPC refuses connections to its port, and a Service that is the same for all
            # revisions needs no look into templates of long ago.
            "ports": [{"name": "http", "port": HTTP_PORT, "protocol": "TCP", "targetPort": HTTP_PORT}, grpc_port()],
        },
    }


def disruption_budget(owner: Manifest, revision: str) -> Manifest:
    """Return the budget that keeps a node drain from taking all pods of a revision at once."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(owner, revision),
        "spec": {
            "maxUnavailable": 1,
            # A pod that cannot become ready must not block a node drain for ever.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {names.REVISION: revision}},
        },
    }


def _metadata(owner: Manifest, revision: str) -> Manifest:
    return {
        "name": revision,
        "namespace": owner["metadata"]["namespace"],
        "labels": names.revision_labels(owner["metadata"]["name"], revision),
        "ownerReferences": [controller_reference(owner)],
    }
