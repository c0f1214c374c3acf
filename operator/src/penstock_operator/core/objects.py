"""Kinds of Kubernetes objects that Penstock reads or writes, and references to them."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

#: A Kubernetes object in its JSON form. Parsed into types at the edge of each reconciler.
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """How the API server addresses one kind of namespaced object."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` field of a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version


class Kind(Enum):
    """Every kind that the operator touches."""

    MODEL_DEPLOYMENT = Resource(
        group="penstock.dev", version="v1alpha1", plural="modeldeployments", kind="ModelDeployment"
    )
    TRAFFIC_SPLIT = Resource(group="penstock.dev", version="v1alpha1", plural="trafficsplits", kind="TrafficSplit")
    DRIFT_POLICY = Resource(group="penstock.dev", version="v1alpha1", plural="driftpolicies", kind="DriftPolicy")
    DEPLOYMENT = Resource(group="apps", version="v1", plural="deployments", kind="Deployment")
    CONTROLLER_REVISION = Resource(group="apps", version="v1", plural="controllerrevisions", kind="ControllerRevision")
    SERVICE = Resource(group="", version="v1", plural="services", kind="Service")
    SERVICE_ACCOUNT = Resource(group="", version="v1", plural="serviceaccounts", kind="ServiceAccount")
    POD = Resource(group="", version="v1", plural="pods", kind="Pod")
    POD_DISRUPTION_BUDGET = Resource(
        group="policy", version="v1", plural="poddisruptionbudgets", kind="PodDisruptionBudget"
    )
    HORIZONTAL_POD_AUTOSCALER = Resource(
        group="autoscaling", version="v2", plural="horizontalpodautoscalers", kind="HorizontalPodAutoscaler"
    )
    NETWORK_POLICY = Resource(group="networking.k8s.io", version="v1", plural="networkpolicies", kind="NetworkPolicy")

    @property
    def resource(self) -> Resource:
        """How the API server addresses this kind."""
        return self.value


#: What people write.
CUSTOM_KINDS = (Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY)
#: What the operator writes for them; watched with the managed-by label only.
CHILD_KINDS = tuple(kind for kind in Kind if kind not in CUSTOM_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True, order=False)
class ObjectRef:
    """Names one namespaced object; the key of the cache and of the work queue."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``Kind namespace/name`` for logs."""
        return f"{self.kind.resource.kind} {self.namespace}/{self.name}"


def ref_of(kind: Kind, manifest: Manifest) -> ObjectRef:
    """Return the reference of a live or desired object."""
    metadata = manifest["metadata"]
    return ObjectRef(kind=kind, namespace=metadata["namespace"], name=metadata["name"])


def kind_of(manifest: Manifest) -> Kind:
    """Return the kind of a manifest by its apiVersion and kind. Raises KeyError for a kind not in ``Kind``."""
    for kind in Kind:
        if kind.resource.kind == manifest["kind"] and kind.resource.api_version == manifest["apiVersion"]:
            return kind
    raise KeyError(f"{manifest['apiVersion']} {manifest['kind']}")
