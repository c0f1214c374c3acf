"""Asks the API server of a whole cluster, as kubectl would, without starting a program for each request."""

import base64
import http.client
import json
import os
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

Manifest = dict[str, Any]

_PENSTOCK = "/apis/penstock.dev/v1alpha1"
_PLURALS = {
    "ModelDeployment": (_PENSTOCK, "modeldeployments"),
    "TrafficSplit": (_PENSTOCK, "trafficsplits"),
    "DriftPolicy": (_PENSTOCK, "driftpolicies"),
    "Pod": ("/api/v1", "pods"),
    "Service": ("/api/v1", "services"),
    "Secret": ("/api/v1", "secrets"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "ResourceQuota": ("/api/v1", "resourcequotas"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "PersistentVolume": ("/api/v1", "persistentvolumes"),
    "Namespace": ("/api/v1", "namespaces"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "ControllerRevision": ("/apis/apps/v1", "controllerrevisions"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "GatewayClass": ("/apis/gateway.networking.k8s.io/v1", "gatewayclasses"),
    "Gateway": ("/apis/gateway.networking.k8s.io/v1", "gateways"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "CronJob": ("/apis/batch/v1", "cronjobs"),
    "Job": ("/apis/batch/v1", "jobs"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "ValidatingAdmissionPolicy": ("/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicies"),
    "ValidatingAdmissionPolicyBinding": (
        "/apis/admissionregistration.k8s.io/v1",
        "validatingadmissionpolicybindings",
    ),
}
_TIMEOUT_SECONDS = 20.0


class RequestFailedError(Exception):
    """The API server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Access:
    host: str
    port: int
    context: ssl.SSLContext


def _access(kubeconfig: Path) -> _Access:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
        for field in ("client-certificate-data", "client-key-data"):
            pair.write(base64.b64decode(user[field]) + b"\n")
        pair.flush()
        context.load_cert_chain(pair.name)
    server = urlsplit(cluster["server"])
    return _Access(host=server.hostname or "", port=server.port or 443, context=context)


class Api:
    """Requests with the rights of a kubeconfig over one connection that stays open."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._access = _access(kubeconfig)
        self._connection: http.client.HTTPSConnection | None = None

    def close(self) -> None:
        """Close the connection; the next request opens one again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def raw(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """Return the status and the text of one answer; a connection that was closed meanwhile is opened again."""
        for attempt in (1, 2):
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(
                    self._access.host, self._access.port, timeout=_TIMEOUT_SECONDS, context=self._access.context
                )
            try:
                sent = {"Content-Type": content_type, "User-Agent": "tests", **(headers or {})}
                self._connection.request(method, path, json.dumps(body) if body is not None else None, sent)
                answer = self._connection.getresponse()
                return answer.status, answer.read().decode(errors="replace")
            except (http.client.HTTPException, OSError):
                self.close()
                if attempt == 2:
                    raise
        raise AssertionError

    def request(
        self, method: str, path: str, body: Manifest | None = None, content_type: str = "application/json"
    ) -> Manifest:
        status, text = self.raw(method, path, body, content_type)
        if status >= HTTPStatus.BAD_REQUEST:
            raise RequestFailedError(status, text)
        answer: Manifest = json.loads(text)
        return answer

    def get(self, kind: str, name: str, namespace: str = "") -> Manifest | None:
        try:
            return self.request("GET", path(kind, namespace, name))
        except RequestFailedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def the(self, kind: str, name: str, namespace: str = "") -> Manifest:
        found = self.get(kind, name, namespace)
        assert found is not None, f"there is no {kind} {namespace}/{name}"
        return found

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Manifest]:
        query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
        items: list[Manifest] = self.request("GET", path(kind, namespace) + query)["items"]
        return items

    def apply(self, manifest: Manifest) -> Manifest:
        """Apply on the server's side, as ``kubectl apply --server-side --force-conflicts``."""
        metadata = manifest["metadata"]
        target = path(manifest["kind"], metadata.get("namespace", ""), metadata["name"])
        query = "?fieldManager=tests&force=true"
        return self.request("PATCH", target + query, manifest, "application/apply-patch+yaml")

    def merge(self, kind: str, name: str, namespace: str, patch: Manifest) -> Manifest:
        return self.request("PATCH", path(kind, namespace, name), patch, "application/merge-patch+json")

    def delete(self, kind: str, name: str, namespace: str = "", *, grace_seconds: int | None = None) -> None:
        body: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            self.request("DELETE", path(kind, namespace, name), body)
        except RequestFailedError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    def log(self, pod: str, namespace: str) -> str:
        status, text = self.raw("GET", f"{path('Pod', namespace, pod)}/log")
        return text if status == HTTPStatus.OK else ""


def path(kind: str, namespace: str, name: str = "") -> str:
    prefix, plural = _PLURALS[kind]
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{prefix}{within}/{plural}" + (f"/{name}" if name else "")


def wait(what: str, done: Callable[[], object], *, seconds: float, picture: Callable[[], str] | None = None) -> float:
    """Wait until ``done`` and return how long that took; fail with ``what`` and ``picture`` after ``seconds``."""
    started = time.monotonic()
    while not done():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}\n{picture() if picture else ''}")
        time.sleep(0.2)
    return time.monotonic() - started


def condition(manifest: Manifest | None, type_: str) -> Manifest:
    """Return a condition of this generation, or an empty one."""
    if manifest is None:
        return {}
    generation = manifest["metadata"].get("generation")
    found: list[Manifest] = manifest.get("status", {}).get("conditions", [])
    return next((item for item in found if item["type"] == type_ and item.get("observedGeneration") == generation), {})


def is_ready(manifest: Manifest | None) -> bool:
    return condition(manifest, "Ready").get("status") == "True"


def kubeconfig_from_environment() -> Path | None:
    """Return the kubeconfig of the cluster to test, or None where there is none."""
    named = os.environ.get("KUBECONFIG", "")
    return Path(named) if named and Path(named).exists() else None
