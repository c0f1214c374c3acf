"""Reads single Secrets of people who have allowed it, and makes request headers of them."""

import base64
import binascii
import ssl
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.adapters.api_client import ApiClient
from penstock_operator.ports import ClusterUnavailable, RequestRejected

_FORBIDDEN = 403


class SecretUnusable(Exception):  # noqa: N818 - it is an answer to a person
    """A Secret is not there, may not be read, or has other keys. The message says what to do, and never a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What opens an endpoint. Not shown when printed."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    trust: ssl.SSLContext | None = None


class SecretReader:
    """Reads Secrets by name, anew each time. ``account`` is the operator's own, as ``namespace:name``."""

    def __init__(self, client: ApiClient, *, account: str) -> None:
        self._client = client
        self._account = account

    async def credentials(self, namespace: str, name: str) -> Credentials:
        """Return what a Secret says. Raises SecretUnusable."""
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        try:
            secret = await self._client.request("get", path, resource="secrets")
        except RequestRejected as error:
            if error.status == _FORBIDDEN:
                raise SecretUnusable(self._grant(namespace, name)) from None
            raise SecretUnusable(f"Secret {name} cannot be read: {error.reason}") from None
        except ClusterUnavailable:
            raise SecretUnusable(f"Secret {name} cannot be read now: the API server does not answer") from None
        if secret is None:
            raise SecretUnusable(f"there is no Secret {name} in this namespace; create it, or correct secretName")
        return credentials_of(name, secret.get("data") or {})

    def _grant(self, namespace: str, name: str) -> str:
        role = f"penstock-reads-{name}"
        return (
            f"the operator may not read Secret {name}; allow it: kubectl -n {namespace} create role {role} --verb=get "
            f"--resource=secrets --resource-name={name} && kubectl -n {namespace} create rolebinding {role} "
            f"--role={role} --serviceaccount={self._account}"
        )


def credentials_of(name: str, data: dict[str, Any]) -> Credentials:
    """Return what the keys of a Secret mean. Raises SecretUnusable, which names keys and no value."""
    try:
        values = {key: base64.b64decode(value, validate=True).decode() for key, value in data.items()}
    except (binascii.Error, UnicodeDecodeError, TypeError):
        raise SecretUnusable(f"Secret {name} holds something that is no text") from None
    trust = _trust(name, values["ca.crt"]) if "ca.crt" in values else None
    return Credentials(headers=_headers(name, values), trust=trust)


def _headers(name: str, values: dict[str, str]) -> dict[str, str]:
    if "token" in values:
        found = {"Authorization": f"Bearer {values['token'].strip()}"}
    elif "username" in values and "password" in values:
        pair = f"{values['username'].strip()}:{values['password'].strip()}"
        found = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    elif "header" in values and "value" in values:
        found = {values["header"].strip(): values["value"].strip()}
    elif "ca.crt" in values:
        found = {}
    else:
        raise SecretUnusable(f"Secret {name} has neither token, nor username and password, nor header and value")
    for key, value in found.items():
        if not key.isascii() or not key.replace("-", "").isalnum() or not value.isprintable():
            raise SecretUnusable(f"Secret {name} holds characters that no HTTP header may have")
    return found


def _trust(name: str, authority: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError):
        raise SecretUnusable(f"Secret {name}: ca.crt holds no certificate in PEM form") from None
