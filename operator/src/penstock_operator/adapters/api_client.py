"""The one door to the API server: sends requests, translates errors, guards writes."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from penstock_operator.ports import ClusterUnavailable, NotLeading, RequestRejected

Verb = Literal["get", "list", "create", "apply", "patch", "replace", "delete"]

_METHODS: dict[Verb, str] = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "apply": "PATCH",
    "patch": "PATCH",
    "replace": "PUT",
    "delete": "DELETE",
}
_CONTENT_TYPES: dict[Verb, str] = {"apply": "application/apply-patch+yaml", "patch": "application/merge-patch+json"}
_READS = frozenset({"get", "list"})
_TIMEOUT_SECONDS = 10.0
_LIST_TIMEOUT_SECONDS = 60.0
_NOT_FOUND, _CONFLICT, _TOO_MANY_REQUESTS, _SERVER_ERRORS = 404, 409, 429, 500
_BODY_SHOWN = 500


class Conflict(ClusterUnavailable):
    """The object is not what the write expected, or exists already: look again and decide anew."""


class RequestObserver(Protocol):
    """Hears of every request; the metrics adapter is one."""

    def requested(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """One request ended with this HTTP status, or with ``error`` before any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach the API server and who we are: shared by our client and by the watches."""

    configuration: Any

    @property
    def server(self) -> str:
        """The base URL."""
        return str(self.configuration.host)

    async def authorization(self) -> str | None:
        """Return the Authorization header of this moment; service account tokens are renewed every hour."""
        if token := await self.configuration.get_api_key_with_prefix("BearerToken"):
            scheme, _, secret = str(token).strip().partition(" ")
            return f"Bearer {secret}" if secret else f"Bearer {scheme}"
        if self.configuration.username:
            return str(self.configuration.get_basic_auth_token())
        return None


async def load_access(kubeconfig: str | None = None) -> Access:
    """Return the access of the pod's service account, or of the kubeconfig ($KUBECONFIG, ~/.kube/config).

    Raises kubernetes.aio.config.ConfigException when there is neither.
    """
    configuration = Configuration()
    # Since Python 3.13 certificates without some extensions are refused; many clusters' own authorities leave them out.
    configuration.disable_strict_ssl_verification = True
    try:
        if kubeconfig is None:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
            return Access(configuration=configuration)
    except kubernetes_config.ConfigException:
        pass  # not in a pod
    await kubernetes_config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    return Access(configuration=configuration)


class ApiClient:
    """Sends JSON to the API server over one pool of connections.

    ``may_write`` is asked immediately before each write is sent. ``user_agent`` tells one replica from another in
    the API server's audit log. Use as an async context manager.
    """

    def __init__(
        self,
        access: Access,
        *,
        may_write: Callable[[], bool],
        observer: RequestObserver,
        user_agent: str = "penstock-operator",
    ) -> None:
        self._access = access
        self._may_write = may_write
        self._observer = observer
        self._user_agent = user_agent
        self._rest = RESTClientObject(access.configuration)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._rest.close()

    async def request(
        self,
        verb: Verb,
        path: str,
        *,
        resource: str,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any] | None:
        """Return the answer, or None if there is no such object (404).

        ``resource`` is the plural, for metrics.
        Raises ClusterUnavailable (Conflict for 409), RequestRejected, NotLeading.
        """
        headers = {
            "Accept": "application/json",
            "Content-Type": _CONTENT_TYPES.get(verb, "application/json"),
            "User-Agent": self._user_agent,
        }
        if authorization := await self._access.authorization():
            headers["Authorization"] = authorization
        limit = timeout_seconds or (_LIST_TIMEOUT_SECONDS if verb == "list" else _TIMEOUT_SECONDS)
        if verb not in _READS and not self._may_write():
            raise NotLeading(f"not sent, the lease is not certain to be ours: {verb} {path}")
        started = time.monotonic()
        code = "error"
        try:
            response = await self._rest.request(
                _METHODS[verb],
                self._access.server + path + ("?" + urlencode(query) if query else ""),
                headers=headers,
                body=body,
                _request_timeout=aiohttp.ClientTimeout(total=limit),
            )
            code = str(response.status)
            content = await response.read()
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            words = str(error) or type(error).__name__
            raise ClusterUnavailable(f"{verb} {path}: {words}") from error
        finally:
            self._observer.requested(verb, resource, code, time.monotonic() - started)
        return _answer(f"{verb} {path}", response.status, content, response.headers.get("Retry-After"))


def _answer(what: str, status: int, content: bytes, retry_after: str | None) -> dict[str, Any] | None:
    """Translate an HTTP answer into a value or one of the port's errors."""
    body = _parsed(content)
    if status < 300 and body is not None:  # noqa: PLR2004 - the 2xx codes
        return body
    told = body or {}
    message = f"{what}: {status} {told.get('message') or content[:_BODY_SHOWN].decode(errors='replace')}"
    if status == _NOT_FOUND and _names_no_namespace(told):
        return None
    if status == _CONFLICT:
        raise Conflict(message)
    if status in (408, _TOO_MANY_REQUESTS) or status >= _SERVER_ERRORS or body is None or status < 400:  # noqa: PLR2004
        raise ClusterUnavailable(message, _seconds(retry_after, told))
    raise RequestRejected(message, status, str(told.get("reason") or "Unknown"))


def _names_no_namespace(told: dict[str, Any]) -> bool:
    """A 404 about the namespace itself, in answer to a write, is a refusal and not an absent object."""
    return (told.get("details") or {}).get("kind") != "namespaces"


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _seconds(retry_after: str | None, told: dict[str, Any]) -> float | None:
    for value in (retry_after, (told.get("details") or {}).get("retryAfterSeconds")):
        try:
            if value is not None:
                return max(0.0, min(float(value), 300.0))
        except ValueError:
            continue  # an HTTP date; our own backoff will do
    return None
