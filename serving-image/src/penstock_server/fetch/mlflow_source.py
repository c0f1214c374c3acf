"""A file of a model version in an MLflow registry, found through MLflow's REST API."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from yarl import URL

from penstock_contract.termination import Reason
from penstock_server.fetch import http_client, location
from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.http_source import HttpSource, basic
from penstock_server.fetch.location import Http, RegisteredModel, StoredObject
from penstock_server.fetch.source import Position, Source, Stream

#: Azure's URIs as MLflow writes them: wasbs://container@account.blob.core.windows.net/path.
_AZURE = re.compile(r"wasbs?://(?P<container>[^@/]+)@[^/]+/(?P<path>.+)")


_ANSWERS = frozenset({HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND})
_WORDS_MAX = 300


class MlflowSource:
    """Asks the registry where the version's files are, and reads one from there or through the server's proxy.

    ``direct`` makes the source of a place outside the server.
    """

    def __init__(
        self, wanted: RegisteredModel, credentials: Credentials, *, direct: Callable[[Http | StoredObject], Source]
    ) -> None:
        self._wanted = wanted
        self._credentials = credentials
        self._direct = direct
        self._shown = f"models:/{wanted.name}" + (f"@{wanted.alias}" if wanted.alias else f"/{wanted.version}")
        self._found: Source | None = None

    @asynccontextmanager
    async def open(self, position: Position | None = None) -> AsyncIterator[Stream]:
        """Yield the file; raise FetchFailed if there is no such version, or none of its files has the path."""
        # Resolved once: an alias that moves between two attempts must not splice two models.
        if self._found is None:
            self._found = await self._resolved()
        async with self._found.open(position) as stream:
            yield stream

    async def _resolved(self) -> Source:
        server = self._server()
        version = self._wanted.version or await self._version(server)
        answer = await self._ask(
            server, "model-versions/get-download-uri", {"name": self._wanted.name, "version": version}
        )
        folder = answer.get("artifact_uri")
        if not isinstance(folder, str) or not folder:
            raise FetchFailed(Reason.SOURCE_NOT_FOUND, f"{self._shown}: MLflow does not say where its files are")
        return self._source(server, f"{folder.rstrip('/')}/{self._wanted.path}")

    async def _version(self, server: URL) -> str:
        answer = await self._ask(
            server, "registered-models/alias", {"name": self._wanted.name, "alias": self._wanted.alias}
        )
        version = (answer.get("model_version") or {}).get("version")
        if version is None:
            raise FetchFailed(Reason.SOURCE_NOT_FOUND, f"{self._shown}: MLflow names no version for this alias")
        return str(version)

    async def _ask(self, server: URL, call: str, query: dict[str, str]) -> dict[str, Any]:
        url = (server / "api/2.0/mlflow" / call).with_query(query)
        async with http_client.get(url, authorization=self._authorization(), accepted=_ANSWERS) as response:
            answer = http_client.json_object(await http_client.document(response), url)
            if response.status == HTTPStatus.OK:
                return answer
        said = location.shown(" ".join(str(answer.get("message", "")).split())[:_WORDS_MAX])
        # An alias that is not there is a bad request to MLflow, everything else that is not there is a 404.
        if response.status == HTTPStatus.NOT_FOUND or "not found" in said.lower():
            raise FetchFailed(
                Reason.SOURCE_NOT_FOUND,
                f"there is no {self._shown} at {http_client.where(server)}: {said or 'no reason'}",
            )
        raise FetchFailed(
            Reason.SOURCE_UNAVAILABLE, f"{self._shown}: MLflow refuses the request: {said or 'no reason'}"
        )

    def _source(self, server: URL, uri: str) -> Source:
        parts = urlsplit(uri)
        match parts.scheme:
            case "mlflow-artifacts":
                # Another host in it would be a way to lead our token elsewhere; the server that we asked has the proxy.
                path = quote(parts.path.lstrip("/"))
                url = f"{str(server).rstrip('/')}/api/2.0/mlflow-artifacts/artifacts/{path}"
                return HttpSource(url, self._authorization())
            case "http" | "https" | "s3" | "gs":
                found = location.parse(uri)
            case "wasbs" | "wasb" if azure := _AZURE.fullmatch(uri):
                found = StoredObject(scheme="az", bucket=azure["container"], key=azure["path"])
            case _:
                raise FetchFailed(
                    Reason.INVALID_CONFIGURATION,
                    f"{self._shown} has its files at {location.shown(uri)!r}, which only the MLflow server can reach; "
                    "start it with --serve-artifacts and an artifact root of mlflow-artifacts:/, or keep them in an "
                    "object store",
                )
        if not isinstance(found, Http | StoredObject):  # pragma: no cover - the cases above give nothing else
            raise TypeError(uri)
        return self._direct(found)

    def _server(self) -> URL:
        text = self._credentials.get("MLFLOW_TRACKING_URI")
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise FetchFailed(
                Reason.INVALID_CONFIGURATION,
                "models:/ needs MLFLOW_TRACKING_URI, an http(s) URL, in the Secret of spec.model.credentials",
            )
        return URL(text)

    def _authorization(self) -> str:
        token, username = (
            self._credentials.get("MLFLOW_TRACKING_TOKEN"),
            self._credentials.get("MLFLOW_TRACKING_USERNAME"),
        )
        if token:
            return f"Bearer {token}"
        return basic(username, self._credentials.get("MLFLOW_TRACKING_PASSWORD")) if username else ""
