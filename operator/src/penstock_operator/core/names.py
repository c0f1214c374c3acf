"""Names and labels of everything that the operator makes: stable, and at most 63 characters."""

import hashlib
import json
from datetime import timedelta

from penstock_operator.api.duration import format_duration
from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.core.objects import Manifest

MANAGED_BY = "app.kubernetes.io/managed-by"
APP_NAME = "app.kubernetes.io/name"
MODEL_DEPLOYMENT = "penstock.dev/model-deployment"
REVISION = "penstock.dev/revision"

OPERATOR = "penstock"
SERVER = "penstock-server"
ROUTER = "penstock-router"

_HASH_LENGTH = 8
#: The default of ``serving.timeout`` when names of revisions came to be. Objects made then hold it written out; left
#: out of the name, it goes on naming the same revisions although the default is another one now.
_FIRST_TIMEOUT = timedelta(seconds=2)


def managed_labels(app: str) -> dict[str, str]:
    """Return the labels that every child carries."""
    return {MANAGED_BY: OPERATOR, APP_NAME: app}


def deployment_labels(model_deployment: str) -> dict[str, str]:
    """Return the labels of children that belong to a ModelDeployment as a whole."""
    return {**managed_labels(SERVER), MODEL_DEPLOYMENT: model_deployment}


def revision_labels(model_deployment: str, revision: str) -> dict[str, str]:
    """Return the labels of children that belong to one revision."""
    return {**deployment_labels(model_deployment), REVISION: revision}


def revision_content(spec: ModelDeploymentSpec) -> Manifest:
    """Return what makes a revision: model, serving, resources and pod, without what merely repeats a default.

    Leaving defaults out keeps the name the same when a later version adds an optional field with a default.
    """
    parts = {
        field: getattr(spec, field).to_wire(exclude_defaults=True) for field in ("model", "serving", "resources", "pod")
    }
    if spec.serving.timeout == _FIRST_TIMEOUT:
        parts["serving"].pop("timeout", None)
    else:
        parts["serving"]["timeout"] = format_duration(spec.serving.timeout)
    return {field: content for field, content in parts.items() if content}


def revision_name(model_deployment: str, spec: ModelDeploymentSpec) -> str:
    """Return the name of the revision that ``spec`` asks for, ``<name>-<8 hexadecimal digits>``."""
    canonical = json.dumps(revision_content(spec), sort_keys=True, separators=(",", ":"))
    return f"{model_deployment}-{hashlib.sha256(canonical.encode()).hexdigest()[:_HASH_LENGTH]}"


def model_deployment_of(revision: str) -> str:
    """Return the ModelDeployment that a revision belongs to.

    >>> model_deployment_of("fraud-xgb-7c9f2b41")
    'fraud-xgb'
    """
    return revision.rpartition("-")[0]


def served_model(model_deployment: str, spec: ModelDeploymentSpec) -> str:
    """Return the {model} of the endpoint's URL."""
    return spec.serving.model_name or model_deployment


def serving_name(model_deployment: str) -> str:
    """Return the name of the ServiceAccount and NetworkPolicy of a ModelDeployment's pods."""
    return f"{model_deployment}-serving"


def revision_host(revision: str, namespace: str) -> str:
    """Return the DNS name of a revision's headless Service.

    Without the cluster's domain, which the operator does not know; the resolver's search list adds it.
    """
    return f"{revision}.{namespace}.svc"
