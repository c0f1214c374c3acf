"""The credentials of a source, from the files of a mounted Secret."""

from collections.abc import Mapping
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
    "token",
    "username",
    "password",
)
_PUBLIC = {"AWS_REGION", "AWS_ENDPOINT_URL", "username"}
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
        for name, value in self.values.items():
            if name not in _PUBLIC and len(value) >= _SECRET_LENGTH_MIN:
                text = text.replace(value, "***")
        return shown(text)


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
