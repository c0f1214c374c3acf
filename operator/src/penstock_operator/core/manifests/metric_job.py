"""The Job whose exit a metric is, made of a CronJob's template once for each step of a candidate."""

import copy
import hashlib
from typing import Any

from penstock_operator.api.model import API_VERSION
from penstock_operator.core.manifests.ownership import controller_reference
from penstock_operator.core.manifests.serving_pod import HTTP_PORT
from penstock_operator.core.names import managed_labels, revision_host
from penstock_operator.core.objects import Kind, Manifest
from penstock_operator.core.questions import Occasion

APP = "penstock-metric"
#: A Job that says nothing itself about how long it is kept goes after a day; a step is over by then or was judged.
_KEPT_SECONDS = 86_400


def metric_job_name(cron_job: str, occasion: Occasion) -> str:
    """Return the one name of the Job of an occasion: who asks again, or after a restart, finds it by that."""
    text = f"{occasion.uid}\0{cron_job}\0{occasion.revision}\0{occasion.step}"
    return f"{cron_job[:40].rstrip('-.')}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def metric_job(cron_job: Manifest, occasion: Occasion) -> Manifest:
    """Return the Job that a CronJob's template makes, told which revision it is about."""
    metadata = cron_job["metadata"]
    template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
    told = template.get("metadata") or {}
    spec = template["spec"]
    spec.setdefault("ttlSecondsAfterFinished", _KEPT_SECONDS)
    inner = spec["template"]["spec"]
    for container in (*(inner.get("initContainers") or ()), *inner["containers"]):
        _tell(container, _environment(metadata["namespace"], occasion))
    owner = {
        "apiVersion": API_VERSION,
        "kind": Kind.TRAFFIC_SPLIT.resource.kind,
        "metadata": {"name": occasion.split, "uid": occasion.uid},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": metric_job_name(metadata["name"], occasion),
            "namespace": metadata["namespace"],
            "labels": {**(told.get("labels") or {}), **managed_labels(APP)},
            "annotations": {**(told.get("annotations") or {}), "penstock.dev/cron-job": metadata["name"]},
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": spec,
    }


def _environment(namespace: str, occasion: Occasion) -> dict[str, str]:
    return {
        "PENSTOCK_NAMESPACE": namespace,
        "PENSTOCK_SPLIT": occasion.split,
        "PENSTOCK_REVISION": occasion.revision,
        "PENSTOCK_URL": f"http://{revision_host(occasion.revision, namespace)}:{HTTP_PORT}",
    }


def _tell(container: dict[str, Any], told: dict[str, str]) -> None:
    kept = [entry for entry in container.get("env") or () if entry["name"] not in told]
    container["env"] = [*kept, *({"name": name, "value": value} for name, value in told.items())]
