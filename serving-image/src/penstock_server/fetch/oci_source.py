"""A file of an artifact in an OCI registry, through the HTTP API of the distribution specification."""

import base64
import binascii
import hashlib
import ipaddress
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from yarl import URL

from penstock_contract.termination import Reason
from penstock_server.fetch import http_client
from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.http_source import HttpSource, basic
from penstock_server.fetch.location import Artifact
from penstock_server.fetch.source import Position, Stream

_IMAGE = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFESTS = {_IMAGE, "application/vnd.docker.distribution.manifest.v2+json"}
_INDEXES = {_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"}
_ACCEPT = ", ".join(sorted(_MANIFESTS | _INDEXES))
_TITLE = "org.opencontainers.image.title"
_UNPACK = "io.deis.oras.content.unpack"
_ARCHIVES = re.compile(r"[+./](tar|gzip|tar\.gzip|zip|zstd)\b")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_MANIFEST_OR_CHALLENGE = frozenset({HTTPStatus.OK, HTTPStatus.UNAUTHORIZED})
_LISTED_MAX = 10


class OciSource:
    """Finds the layer in the manifest, whose digest is checked, and reads its blob."""

    def __init__(self, location: Artifact, credentials: Credentials) -> None:
        self._location = location
        self._credentials = credentials
        encrypted = location.encrypted and not _is_here(location.host)
        # Docker Hub's API is not where its name says.
        host = "registry-1.docker.io" if location.host == "docker.io" else location.host
        self._base = URL(f"{'https' if encrypted else 'http'}://{host}/v2/{location.repository}/")
        self._shown = f"oci://{location.host}/{location.repository} {location.reference}"

    @asynccontextmanager
    async def open(self, position: Position | None = None) -> AsyncIterator[Stream]:
        """Yield the blob; raise FetchFailed if there is no such artifact or no such file in it."""
        # Asked for each time: a token lives for minutes, and a retry may come later.
        manifest, authorization = await self._manifest()
        digest = self._layer(manifest)
        blob = HttpSource(str(self._base / "blobs" / digest), authorization, immutable=True)
        async with blob.open(position) as stream:
            yield stream

    async def _manifest(self) -> tuple[dict[str, Any], str]:
        url = self._base / "manifests" / self._location.reference
        authorization = ""
        body, challenge = await self._ask(url, authorization, accepted=_MANIFEST_OR_CHALLENGE)
        if body is None:
            authorization = await self._authorization(challenge)
            body, _ = await self._ask(url, authorization, accepted=frozenset({HTTPStatus.OK}))
        if body is None:  # pragma: no cover - 401 is not accepted a second time
            raise http_client.failure(url, HTTPStatus.UNAUTHORIZED)
        reference = self._location.reference
        if _DIGEST.fullmatch(reference) and f"sha256:{hashlib.sha256(body).hexdigest()}" != reference:
            raise FetchFailed(Reason.CHECKSUM_MISMATCH, f"{self._shown}: the registry sent another manifest")
        return http_client.json_object(body, url), authorization

    async def _ask(self, url: URL, authorization: str, *, accepted: frozenset[int]) -> tuple[bytes | None, str]:
        async with http_client.get(
            url, authorization=authorization, headers={"Accept": _ACCEPT}, accepted=accepted
        ) as response:
            if response.status == HTTPStatus.UNAUTHORIZED:
                return None, response.headers.get("WWW-Authenticate", "")
            return await http_client.document(response), ""

    async def _authorization(self, challenge: str) -> str:
        """Return the header that the registry asks for: Basic, or a Bearer token from the service that it names."""
        username, password = self._user()
        scheme, _, rest = challenge.partition(" ")
        own = basic(username, password) if username else ""
        if scheme.lower() == "basic":
            if not own:
                raise self._forbidden("it wants a user and a password")
            return own
        said = dict(_CHALLENGE.findall(rest))
        if scheme.lower() != "bearer" or not said.get("realm"):
            raise self._forbidden(f"it wants credentials of a kind that is not known here: {scheme or 'none named'}")
        realm = URL(said["realm"])
        if realm.host != self._base.host and realm.scheme != "https":
            raise self._forbidden(f"it sends us for a token to {http_client.where(realm)}, without https")
        query = {
            "scope": f"repository:{self._location.repository}:pull",
            **({"service": said["service"]} if "service" in said else {}),
        }
        async with http_client.get(realm.update_query(query), authorization=own) as response:
            answer = http_client.json_object(await http_client.document(response), realm)
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str):
            raise self._forbidden(f"{http_client.where(realm)} gave no token")
        return f"Bearer {token}"

    def _user(self) -> tuple[str, str]:
        """Return user and password, from keys of their own or from a pull secret as Kubernetes makes it."""
        if self._credentials.get("username"):
            return self._credentials.get("username"), self._credentials.get("password")
        if self._credentials.get(".dockerconfigjson"):
            return pull_secret(self._credentials.get(".dockerconfigjson"), self._location.host)
        return "", ""

    def _layer(self, manifest: Mapping[str, Any]) -> str:
        kind = manifest.get("mediaType", "")
        if kind in _INDEXES or "manifests" in manifest:
            raise FetchFailed(
                Reason.SOURCE_NOT_FOUND,
                f"{self._shown} is an index of several images; name one of them by its digest, oci://…@sha256:…",
            )
        layers = [layer for layer in manifest.get("layers", ()) if isinstance(layer, dict)]
        titles = [_title(layer) for layer in layers]
        path = self._location.path
        if path:
            found = [layer for layer in layers if _title(layer) == path]
        elif len(layers) == 1:
            found = layers
        else:
            found = [layer for layer in layers if _title(layer).endswith(".onnx")]
        if len(found) != 1:
            what = f"no file {path!r}" if path else "not exactly one ONNX file"
            listed = ", ".join(repr(title) for title in titles[:_LISTED_MAX]) or "nothing"
            raise FetchFailed(
                Reason.SOURCE_NOT_FOUND, f"{self._shown} holds {what} but {listed}; write oci://…#FILE to choose one"
            )
        return self._digest(found[0])

    def _digest(self, layer: Mapping[str, Any]) -> str:
        kind = str(layer.get("mediaType", ""))
        if _ARCHIVES.search(kind) or (layer.get("annotations") or {}).get(_UNPACK) == "true":
            raise FetchFailed(
                Reason.NOT_ONNX,
                f"{self._shown} holds an archive ({kind}), and archives are never unpacked here, because a small one "
                "can hold terabytes; push the file itself (oras push … model.onnx), or mount a container image with "
                "image://…#PATH",
            )
        digest = layer.get("digest")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise FetchFailed(Reason.SOURCE_UNAVAILABLE, f"{self._shown}: the layer has no sha256 digest")
        return digest

    def _forbidden(self, why: str) -> FetchFailed:
        return FetchFailed(
            Reason.SOURCE_FORBIDDEN, f"{self._shown} may not be read: {why}; check spec.model.credentials"
        )


def pull_secret(text: str, host: str) -> tuple[str, str]:
    """Return user and password for a registry from a Secret of type kubernetes.io/dockerconfigjson."""
    try:
        entries = json.loads(text)["auths"]
        entry: dict[str, str] = next((value for name, value in entries.items() if _registry(name) == host), {})
        if "auth" in entry:
            username, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
            return username, password
        return str(entry.get("username", "")), str(entry.get("password", ""))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise FetchFailed(
            Reason.INVALID_CONFIGURATION,
            ".dockerconfigjson of the Secret is not what `kubectl create secret docker-registry` makes",
        ) from None


def _registry(name: str) -> str:
    """Return the host of an entry, which docker writes as a host or as a URL."""
    host = name.partition("://")[2] or name
    host = host.partition("/")[0]
    return "docker.io" if host in {"index.docker.io", "registry-1.docker.io"} else host


def _title(layer: Mapping[str, Any]) -> str:
    return str((layer.get("annotations") or {}).get(_TITLE, ""))


def _is_here(host: str) -> bool:
    """Return whether a registry is on this machine, where clients of registries agree to speak plain http."""
    name = URL(f"http://{host}").host or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
