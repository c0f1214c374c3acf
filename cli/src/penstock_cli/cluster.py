"""The one door to the API server."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlencode

from penstock_cli.errors import PluginError
from penstock_cli.wire import Wire, name_of

GROUP = "penstock.dev"
VERSION = "v1alpha1"
SPLITS, DEPLOYMENTS, POLICIES = "trafficsplits", "modeldeployments", "driftpolicies"

_TIMEOUT_SECONDS = 10.0
#: Of serving pods, for those who watch them.
_MANAGEMENT_PORT = 8081
_INSTALL = "install Penstock: helm install penstock charts/penstock --namespace penstock-system --create-namespace"


class PodUnreadable(Exception):  # noqa: N818 - one pod that does not answer ends nothing
    """A pod does not answer, or may not be asked; the message says why."""


class Cluster(Protocol):
    """What the plugin asks of a cluster. Every call may raise PluginError with the remedy."""

    @property
    def namespace(self) -> str:
        """The namespace that is asked about."""

    def list(self, plural: str) -> list[Wire]:
        """Return the objects of one of our kinds in the namespace."""

    def get(self, plural: str, name: str) -> Wire:
        """Return one object; an unknown name is answered with the names there are."""

    def annotate(self, plural: str, name: str, annotation: str, value: str) -> None:
        """Set one annotation."""

    def pods(self, selector: str) -> Sequence[Wire]:
        """Return the pods of the namespace that a label selector chooses."""

    def ask_pod(self, pod: str, path: str) -> bytes:
        """Return what a serving pod answers on its management port. Raises PodUnreadable."""

    def who(self) -> str:
        """Return the name under which the API server knows the caller."""

    def served_versions(self) -> tuple[str, ...]:
        """Return the versions of our API group that the API server serves."""


class LiveCluster:
    """A cluster behind a kubeconfig. ``context`` and ``namespace`` default to what the kubeconfig says."""

    def __init__(self, *, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        self._client, self._user, default = _connect(kubeconfig, context)
        self._namespace = namespace or default

    @property
    def namespace(self) -> str:
        """The namespace that is asked about."""
        return self._namespace

    def list(self, plural: str) -> list[Wire]:
        """Return the objects of one of our kinds in the namespace."""
        status, answer = self._call("GET", self._path(plural))
        if status == HTTPStatus.NOT_FOUND:
            raise PluginError(f"the cluster does not know {plural}.{GROUP}: the CRDs are missing; {_INSTALL}")
        self._accept(status, answer, f"list {plural}")
        return list(answer.get("items", ()))

    def get(self, plural: str, name: str) -> Wire:
        """Return one object; an unknown name is answered with the names there are."""
        status, answer = self._call("GET", self._path(plural, name))
        if status == HTTPStatus.NOT_FOUND:
            raise unknown_name(name, plural, self._namespace, [name_of(wire) for wire in self.list(plural)])
        self._accept(status, answer, f"get {plural}")
        return answer

    def annotate(self, plural: str, name: str, annotation: str, value: str) -> None:
        """Set one annotation."""
        body = {"metadata": {"annotations": {annotation: value}}}
        status, answer = self._call("PATCH", self._path(plural, name), body, "application/merge-patch+json")
        self._accept(status, answer, f"patch {plural}")

    def pods(self, selector: str) -> Sequence[Wire]:
        """Return the pods of the namespace that a label selector chooses."""
        where = f"/api/v1/namespaces/{self._namespace}/pods?{urlencode({'labelSelector': selector})}"
        status, answer = self._call("GET", where)
        self._accept(status, answer, "list pods")
        found: Sequence[Wire] = answer.get("items", ())
        return found

    def ask_pod(self, pod: str, path: str) -> bytes:
        """Return what a serving pod answers on its management port, by the API server's proxy."""
        where = f"/api/v1/namespaces/{self._namespace}/pods/{pod}:{_MANAGEMENT_PORT}/proxy{path}"
        status, body = self._send("GET", where)
        if status == HTTPStatus.FORBIDDEN:
            raise PodUnreadable(f"you may not ask pods; it takes the right to get pods/proxy in {self._namespace}")
        if status != HTTPStatus.OK:
            raise PodUnreadable(f"it answered {status}: {_said(body)}")
        return body

    def who(self) -> str:
        """Return the name under which the API server knows the caller."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        status, answer = self._call("POST", path, review, "application/json")
        if status != HTTPStatus.CREATED:  # a server that is too old, or forbids it
            return self._user
        return str(answer.get("status", {}).get("userInfo", {}).get("username") or self._user)

    def served_versions(self) -> tuple[str, ...]:
        """Return the versions of our API group that the API server serves."""
        status, answer = self._call("GET", f"/apis/{GROUP}")
        if status == HTTPStatus.NOT_FOUND:
            return ()
        self._accept(status, answer, f"discover {GROUP}")
        return tuple(entry["version"] for entry in answer.get("versions", ()))

    def _path(self, plural: str, name: str | None = None) -> str:
        collection = f"/apis/{GROUP}/{VERSION}/namespaces/{self._namespace}/{plural}"
        return f"{collection}/{name}" if name else collection

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, content_type: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the parsed body of any answer."""
        status, answer = self._send(method, path, body, content_type)
        try:
            parsed = json.loads(answer)
        except ValueError:
            parsed = {"message": answer[:500].decode(errors="replace")}
        return status, parsed if isinstance(parsed, dict) else {"message": str(parsed)}

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, content_type: str | None = None
    ) -> tuple[int, bytes]:
        """Return the status and the body of any answer."""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - keeps --help fast

        headers = {"Accept": "application/json", **({"Content-Type": content_type} if content_type else {})}
        try:
            request = self._client.param_serialize(
                method, path, header_params=headers, query_params=[], body=body, auth_settings=["BearerToken"]
            )
            response = self._client.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
            return response.status, bytes(response.read())
        except HTTPError as error:
            server = self._client.configuration.host
            raise PluginError(
                f"cannot reach the API server {server}: {_innermost(error)}; is the cluster up, and is this the right "
                "context? See kubectl config get-contexts"
            ) from error

    def _accept(self, status: int, answer: dict[str, Any], doing: str) -> None:
        """Raise for everything but success."""
        if status < HTTPStatus.BAD_REQUEST:
            return
        said = answer.get("message") or HTTPStatus(status).phrase
        remedy = {
            HTTPStatus.UNAUTHORIZED: "; log in again",
            HTTPStatus.FORBIDDEN: f"; ask for the role view or edit in namespace {self._namespace}",
        }.get(HTTPStatus(status), "")
        raise PluginError(f"the API server refused to {doing}: {said}{remedy}")


def unknown_name(name: str, what: str, namespace: str, known: list[str]) -> PluginError:
    """Return the error for a name that does not exist, with the names that do."""
    there = f"there are: {', '.join(sorted(known))}" if known else "there are none"
    return PluginError(f"no {what} named {name!r} in namespace {namespace}; {there} (-n chooses another namespace)")


def _said(body: bytes) -> str:
    """Return the message of an answer that is an error, or its beginning."""
    try:
        message = json.loads(body)
    except ValueError:
        message = None
    told = message.get("error") or message.get("message") if isinstance(message, dict) else None
    return str(told or body[:200].decode(errors="replace"))


def _innermost(error: BaseException) -> BaseException:
    """Return what really happened, below the layers of the HTTP library."""
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else error


def _connect(kubeconfig: str | None, context: str | None) -> tuple[Any, str, str]:
    """Return a client, the kubeconfig's user and its namespace."""
    import yaml  # noqa: PLC0415 - both take a third of a second to import
    from kubernetes import client, config  # noqa: PLC0415

    settings = client.Configuration()
    settings.retries = False
    try:
        contexts, active = config.list_kube_config_contexts(config_file=kubeconfig)
        config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=settings)
    except (config.ConfigException, OSError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        # The last three: a file that is YAML, but no kubeconfig.
        raise PluginError(f"no cluster: {error}; set KUBECONFIG, or name one by --kubeconfig and --context") from error
    chosen = next((entry for entry in contexts if entry["name"] == context), active)["context"]
    return client.ApiClient(settings), str(chosen.get("user", "")), str(chosen.get("namespace") or "default")
