"""The credentials of a source, from the files of a mounted Secret."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.location import shown

_NAMES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "gcloud-application-credentials.json",
    "GOOGLE_ENDPOINT_URL",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_ENDPOINT_URL",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    ".dockerconfigjson",
    "token",
    "username",
    "password",
)
_PUBLIC = {
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "GOOGLE_ENDPOINT_URL",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_ENDPOINT_URL",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "username",
}
#: What is secret inside the JSON documents that some keys hold.
_SECRET_FIELDS = {"private_key", "private_key_id", "password", "auth", "identitytoken", "registrytoken"}
_BYTES_MAX = 65536
#: Shorter values would be replaced inside ordinary words.
_SECRET_LENGTH_MIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Values by the Secret's keys; only those keys that a source can use."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def get(self, name: str) -> str:
        """Return the value, or an empty string."""
        return self.values.get(name, "")

    def redact(self, text: str) -> str:
        """Return the text without any secret value, user or query of a URL in it."""
        for value in self._secrets():
            if len(value) >= _SECRET_LENGTH_MIN:
                text = text.replace(value, "***")
        return shown(text)

    def _secrets(self) -> Iterator[str]:
        for name, value in self.values.items():
            if name in _PUBLIC:
                continue
            yield value
            if value.startswith("{"):
                with contextlib.suppress(ValueError, RecursionError):
                    yield from _secret_fields(json.loads(value))


def _secret_fields(value: object) -> Iterator[str]:
    match value:
        case dict():
            for name, inner in value.items():
                if name in _SECRET_FIELDS and isinstance(inner, str):
                    yield inner
                else:
                    yield from _secret_fields(inner)
        case list():
            for inner in value:
                yield from _secret_fields(inner)


def read(folder: str) -> Credentials:
    """Return what the folder holds; no folder, no credentials."""
    if not folder:
        return Credentials()
    if not Path(folder).is_dir():
        raise FetchFailed(Reason.INVALID_CONFIGURATION, f"the credentials are not mounted: {folder} is no folder")
    values: dict[str, str] = {}
    for name in _NAMES:
        file = Path(folder) / name
        if file.is_file():
            with file.open(encoding="utf-8", errors="strict") as stream:
                # `kubectl create secret --from-file` keeps the newline that an editor put at the end.
                values[name] = stream.read(_BYTES_MAX).strip()
    if not values:
        known = ", ".join(_NAMES)
        raise FetchFailed(
            Reason.INVALID_CONFIGURATION,
            f"the Secret that spec.model.credentials names is missing or has none of these keys: {known}",
        )
    return Credentials(values=values)
