"""What the operator writes into the environment of a serving pod's two containers, and how they read it back."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Self

#: Where the fetching container leaves the model, and the server finds it.
MODEL_PATH = "/models/model.onnx"
#: Where a persistent volume claim or a ConfigMap that holds the model is mounted.
SOURCE_MOUNT_DIR = "/source"

_SERVING_PREFIX = "PENSTOCK_"
_FETCH_PREFIX = "PENSTOCK_FETCH_"


class InvalidEnvironment(ValueError):  # noqa: N818 - it names a state of the world, like the other errors here
    """A variable is missing or holds a value that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingEnvironment:
    """How one serving pod serves: limits in requests, times in seconds."""

    model_name: str
    revision: str
    namespace: str
    model_path: str = MODEL_PATH
    model_version: str = ""  # empty: the model has no version, and answers do not mention one
    request_timeout_seconds: float = 2.0
    concurrency_max: int = 64
    queue_max: int = 256
    http_port: int = 8080
    management_port: int = 8081
    drain_seconds: float = 15.0
    max_connection_age_seconds: float = 30.0

    def __post_init__(self) -> None:
        _check_not_empty(self, _SERVING_PREFIX, "model_name", "revision", "namespace", "model_path")
        _check_at_least(self, _SERVING_PREFIX, "request_timeout_seconds", 0.001)
        _check_at_least(self, _SERVING_PREFIX, "concurrency_max", 1)
        _check_at_least(self, _SERVING_PREFIX, "queue_max", 0)
        _check_at_least(self, _SERVING_PREFIX, "drain_seconds", 0)
        _check_at_least(self, _SERVING_PREFIX, "max_connection_age_seconds", 1)
        for port in ("http_port", "management_port"):
            _check_at_least(self, _SERVING_PREFIX, port, 0)
            _check_at_most(self, _SERVING_PREFIX, port, 65535)

    def to_env(self) -> dict[str, str]:
        """Return the variables that ``from_env`` reads back as an equal value."""
        return _to_env(self, _SERVING_PREFIX)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the variables; raise InvalidEnvironment naming the one that is missing or wrong."""
        return cls(**_from_env(cls, _SERVING_PREFIX, env))


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchEnvironment:
    """Which model file the fetching container brings, from where, and within which limits.

    ``credentials_dir`` is a mounted Secret with one file per key: AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL for s3; token, or username
    and password, for http(s). Empty: no credentials.
    """

    uri: str
    sha256: str
    destination: str = MODEL_PATH
    credentials_dir: str = ""
    max_bytes: int = 2 * 1024**3
    timeout_seconds: float = 600.0
    mount_dir: str = SOURCE_MOUNT_DIR

    def __post_init__(self) -> None:
        _check_not_empty(self, _FETCH_PREFIX, "uri", "destination", "mount_dir")
        _check_at_least(self, _FETCH_PREFIX, "max_bytes", 1)
        _check_at_least(self, _FETCH_PREFIX, "timeout_seconds", 1)
        digits = self.sha256.lower()
        if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):  # noqa: PLR2004 - hex digits of SHA-256
            raise InvalidEnvironment(
                f"{_FETCH_PREFIX}SHA256 must be the 64 hex digits that `sha256sum` prints, not {self.sha256!r}"
            )

    def to_env(self) -> dict[str, str]:
        """Return the variables that ``from_env`` reads back as an equal value."""
        return _to_env(self, _FETCH_PREFIX)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the variables; raise InvalidEnvironment naming the one that is missing or wrong."""
        return cls(**_from_env(cls, _FETCH_PREFIX, env))


def _to_env(value: Any, prefix: str) -> dict[str, str]:
    return {prefix + field.name.upper(): str(getattr(value, field.name)) for field in fields(value)}


def _from_env(cls: type, prefix: str, env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in fields(cls):
        variable = prefix + field.name.upper()
        if variable in env:
            values[field.name] = _parse(field, variable, env[variable])
        elif field.default is MISSING:
            raise InvalidEnvironment(f"{variable} is not set")
    return values


def _parse(field: Field[Any], variable: str, text: str) -> Any:
    """Return ``text`` as the type of the field, which is one of str, int and float."""
    if field.type is str:
        return text
    try:
        return int(text) if field.type is int else float(text)
    except ValueError:
        kind = "a whole number" if field.type is int else "a number"
        raise InvalidEnvironment(f"{variable} must be {kind}, not {text!r}") from None


def _check_not_empty(value: Any, prefix: str, *names: str) -> None:
    for name in names:
        if not getattr(value, name):
            raise InvalidEnvironment(f"{prefix}{name.upper()} is empty")


def _check_at_least(value: Any, prefix: str, name: str, least: float) -> None:
    if not getattr(value, name) >= least:  # also refuses NaN
        raise InvalidEnvironment(f"{prefix}{name.upper()} must be at least {least}, not {getattr(value, name)}")


def _check_at_most(value: Any, prefix: str, name: str, most: float) -> None:
    if not getattr(value, name) <= most:
        raise InvalidEnvironment(f"{prefix}{name.upper()} must be at most {most}, not {getattr(value, name)}")
