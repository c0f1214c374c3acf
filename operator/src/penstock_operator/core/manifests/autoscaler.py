"""The HorizontalPodAutoscaler of one revision."""

from penstock_operator.api.v1alpha1.model_deployment import Autoscaling
from penstock_operator.core import names
from penstock_operator.core.manifests.ownership import controller_reference
from penstock_operator.core.objects import Manifest


def autoscaler(owner: Manifest, revision: str, *, spec: Autoscaling, least: int) -> Manifest:
    """Return the autoscaler of a revision's Deployment, which leaves it at least so many pods."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": revision,
            "namespace": owner["metadata"]["namespace"],
            "labels": names.revision_labels(owner["metadata"]["name"], revision),
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": revision},
            "minReplicas": least,
            "maxReplicas": spec.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": spec.target_cpu_utilization},
                    },
                }
            ],
        },
    }
