"""The pod template of a revision: fetch the model, then serve it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from penstock_contract.environment import (
    GRPC_OFF,
    PREDICTION_LOG_OFF,
    ExtraFile,
    FetchEnvironment,
    ServingEnvironment,
)
from penstock_operator.api.v1alpha1.model_deployment import Model, ModelDeploymentSpec, PredictionLog, Serving
from penstock_operator.core import names
from penstock_operator.core.manifests.pod_security import container_security_context, pod_security_context
from penstock_operator.core.objects import Manifest

HTTP_PORT = 8080
MANAGEMENT_PORT = 8081
GRPC_PORT = 9000
_MODELS = "/models"
_CREDENTIALS = "/credentials"
_SOURCE = "/source"
_PROFILE = "profile.json"
_LOG_CREDENTIALS = "/prediction-log-credentials"
#: Longer than the pod's drain and the slowest request that may be in flight at its end.
_GRACE_MARGIN_SECONDS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingImage:
    """The image that fetches and serves models."""

    image: str
    pull_policy: str


def serving_pod_template(
    *, namespace: str, model_deployment: str, revision: str, spec: ModelDeploymentSpec, image: ServingImage
) -> Manifest:
    """Return the pod template of a new revision.

    It is rendered once, kept in the revision's ControllerRevision and never rendered again, so that a new version
    of the operator restarts no pod.
    """
    serving = _serving_environment(namespace, model_deployment, revision, spec)
    resources = {"requests": dict(spec.resources.requests), "limits": dict(spec.resources.limits)}
    containers: dict[str, list[dict[str, Any]]] = {
        "initContainers": [
            {
                "name": "fetch",
                "command": ["penstock-fetch"],
                "env": _env(_fetch_environment(spec.model)),
                "volumeMounts": [
                    {"name": "models", "mountPath": _MODELS},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
                    *_mounts(_source_volumes(spec.model)),
                ],
            }
        ],
        "containers": [
            {
                "name": "server",
                "env": _env(serving.to_env()),
                "ports": [
                    {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
                    {"name": "management", "containerPort": MANAGEMENT_PORT, "protocol": "TCP"},
                    *(
                        [{"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"}]
                        if spec.serving.grpc.enabled
                        else []
                    ),
                ],
                "volumeMounts": [
                    {"name": "models", "mountPath": _MODELS, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
                    *_mounts(_log_volumes(spec.serving)),
                ],
                # Loading may take long for a big model; until then only start-up is asked for.
                "startupProbe": _probe("/readyz", period_seconds=1, failure_threshold=600),
                "readinessProbe": _probe("/readyz", period_seconds=2, failure_threshold=1),
                "livenessProbe": _probe("/healthz", period_seconds=10, failure_threshold=3),
            }
        ],
    }
    for container in (*containers["initContainers"], *containers["containers"]):
        container.update(
            {
                "image": image.image,
                "imagePullPolicy": image.pull_policy,
                "resources": resources,
                "securityContext": container_security_context(),
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }
        )
    grace = serving.drain_seconds + serving.request_timeout_seconds + _GRACE_MARGIN_SECONDS
    pod = spec.pod
    optional: dict[str, Any] = {
        "nodeSelector": pod.node_selector,
        "tolerations": pod.tolerations,
        "priorityClassName": pod.priority_class_name,
        "imagePullSecrets": [secret.to_wire() for secret in pod.image_pull_secrets],
    }
    return {
        "metadata": {
            "labels": {**pod.labels, **names.revision_labels(model_deployment, revision)},
            **({"annotations": pod.annotations} if pod.annotations else {}),
        },
        "spec": {
            **containers,
            **{field: value for field, value in optional.items() if value},
            "serviceAccountName": names.serving_name(model_deployment),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": pod_security_context(),
            "terminationGracePeriodSeconds": round(grace),
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {names.REVISION: revision}},
                }
            ],
            "volumes": [
                {"name": "models", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
                *_source_volumes(spec.model),
                *_log_volumes(spec.serving),
            ],
        },
    }


def grpc_port() -> dict[str, Any]:
    """Return the port of a Service that leads to gRPC."""
    return {
        "name": "grpc",
        "port": GRPC_PORT,
        "protocol": "TCP",
        "targetPort": GRPC_PORT,
        # HTTP/2 without TLS, as gateways and meshes want to be told.
        "appProtocol": "kubernetes.io/h2c",
    }


def _env(variables: dict[str, str]) -> list[dict[str, str]]:
    # The API server drops empty values; leaving them out keeps what we apply equal to what it stores.
    return [{"name": name, "value": value} for name, value in sorted(variables.items()) if value]


def _probe(path: str, *, period_seconds: int, failure_threshold: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "management"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 2,
        "failureThreshold": failure_threshold,
    }


def _serving_environment(
    namespace: str, model_deployment: str, revision: str, spec: ModelDeploymentSpec
) -> ServingEnvironment:
    asked = spec.serving
    log = asked.prediction_log or PredictionLog(destination=PREDICTION_LOG_OFF)
    return ServingEnvironment(
        model_path=f"{_MODELS}/model.onnx",
        model_name=names.served_model(model_deployment, spec),
        model_version=spec.model.version or "",
        revision=revision,
        namespace=namespace,
        request_timeout_seconds=asked.timeout.total_seconds(),
        concurrency_max=asked.concurrency.max,
        queue_max=asked.concurrency.queue,
        grpc_port=GRPC_PORT if asked.grpc.enabled else GRPC_OFF,
        batching_max_rows=asked.batching.max_rows if asked.batching else 0,
        batching_max_delay_seconds=asked.batching.max_delay.total_seconds() if asked.batching else 0.0,
        profile_path=f"{_MODELS}/{_PROFILE}" if spec.model.profile else "",
        prediction_log=log.destination,
        prediction_log_sample=log.sample,
        prediction_log_credentials_dir=_LOG_CREDENTIALS if log.credentials else "",
    )


def _fetch_environment(model: Model) -> dict[str, str]:
    files = [ExtraFile(path=file.path, sha256=file.sha256, uri=file.uri or "") for file in model.files]
    if model.profile:
        files.append(ExtraFile(path=_PROFILE, sha256=model.profile.sha256, uri=model.profile.uri or ""))
    return FetchEnvironment(
        uri=model.uri,
        sha256=model.sha256,
        destination=f"{_MODELS}/model.onnx",
        credentials_dir=_CREDENTIALS if model.credentials else "",
        mount_dir=_SOURCE,
        files=tuple(files),
    ).to_env()


_MOUNT_PATHS = {"credentials": _CREDENTIALS, "source": _SOURCE, "log-credentials": _LOG_CREDENTIALS}


def _mounts(volumes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": volume["name"], "mountPath": _MOUNT_PATHS[volume["name"]], "readOnly": True} for volume in volumes]


def _secret_volume(name: str, secret_name: str) -> dict[str, Any]:
    # 0440 with fsGroup: readable by our user, by nobody else.
    return {"name": name, "secret": {"secretName": secret_name, "defaultMode": 0o440, "optional": True}}


def _log_volumes(serving: Serving) -> list[dict[str, Any]]:
    """Return the credentials of the prediction log, which the serving container alone sees."""
    log = serving.prediction_log
    return [_secret_volume("log-credentials", log.credentials.secret_name)] if log and log.credentials else []


def _source_volumes(model: Model) -> list[dict[str, Any]]:
    """Return what only the fetching container sees: the credentials, and the volume or image that holds the model.

    A Secret or ConfigMap that is not there yet is an empty folder: the fetcher says what is missing and tries again.
    A pod that waits for a volume to be mounted says nothing at all.
    """
    volumes: list[dict[str, Any]] = []
    if model.credentials:
        volumes.append(_secret_volume("credentials", model.credentials.secret_name))
    source = urlsplit(model.uri)
    match source.scheme:
        case "pvc":
            claim = {"claimName": source.netloc, "readOnly": True}
            volumes.append({"name": "source", "persistentVolumeClaim": claim})
        case "configmap":
            volumes.append({"name": "source", "configMap": {"name": source.netloc, "optional": True}})
        case "image":
            image = {"reference": source.netloc + source.path, "pullPolicy": "IfNotPresent"}
            volumes.append({"name": "source", "image": image})
    return volumes
