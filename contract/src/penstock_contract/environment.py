"""What the operator writes into the environment of a serving pod's two containers, and how they read it back."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import PurePosixPath
from typing import Any, Self

#: Where the fetching container leaves the model, and the server finds it.
MODEL_PATH = "/models/model.onnx"
#: Where a persistent volume claim or a ConfigMap that holds the model is mounted.
SOURCE_MOUNT_DIR = "/source"
#: The port that says that nothing is served over gRPC.
GRPC_OFF = -1
#: The value of ``prediction_log`` that logs nothing.
PREDICTION_LOG_OFF = "off"

_SERVING_PREFIX = "PENSTOCK_"
_FETCH_PREFIX = "PENSTOCK_FETCH_"

#: Marks a field that came after the first release: it is written only when it differs from its default, so that what
#: was not asked for changes no pod template, and older servers are told nothing that they do not know.
LATER: Mapping[str, bool] = {"later": True}
_SHA256_DIGITS = 64
_PATH_LENGTH_MAX = 255


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
    request_timeout_seconds: float = 30.0
    concurrency_max: int = 64
    queue_max: int = 256
    http_port: int = 8080
    management_port: int = 8081
    drain_seconds: float = 15.0
    max_connection_age_seconds: float = 30.0
    grpc_port: int = field(default=9000, metadata=LATER)  # GRPC_OFF: no gRPC
    batching_max_rows: int = field(default=0, metadata=LATER)  # 0 or 1: no batching
    batching_max_delay_seconds: float = field(default=0.0, metadata=LATER)
    profile_path: str = field(default="", metadata=LATER)  # empty: profile.json beside the model, if it is there
    prediction_log: str = field(default=PREDICTION_LOG_OFF, metadata=LATER)  # stdout, or s3:// gs:// az:// and a folder
    prediction_log_sample: float = field(default=0.01, metadata=LATER)  # share of the requests that are logged
    prediction_log_credentials_dir: str = field(default="", metadata=LATER)  # as FetchEnvironment.credentials_dir

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
        _check_at_least(self, _SERVING_PREFIX, "grpc_port", GRPC_OFF)
        _check_at_most(self, _SERVING_PREFIX, "grpc_port", 65535)
        _check_at_least(self, _SERVING_PREFIX, "batching_max_rows", 0)
        _check_at_least(self, _SERVING_PREFIX, "batching_max_delay_seconds", 0)
        _check_not_empty(self, _SERVING_PREFIX, "prediction_log")
        _check_at_least(self, _SERVING_PREFIX, "prediction_log_sample", 0)
        _check_at_most(self, _SERVING_PREFIX, "prediction_log_sample", 1)

    def to_env(self) -> dict[str, str]:
        """Return the variables that ``from_env`` reads back as an equal value."""
        return _to_env(self, _SERVING_PREFIX)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the variables; raise InvalidEnvironment naming the one that is missing or wrong."""
        return cls(**_from_env(cls, _SERVING_PREFIX, env))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraFile:
    """A file that belongs to the model: ``path`` in the model's folder. Without ``uri`` it lies beside the model."""

    path: str
    sha256: str
    uri: str = ""

    def __post_init__(self) -> None:
        if not is_inside(self.path):
            raise InvalidEnvironment(
                f"{_FETCH_PREFIX}FILES: {self.path!r} must be a relative path of letters, digits, '.', '_', '-' and "
                "'/' that stays in the model's folder"
            )
        _check_sha256(f"{_FETCH_PREFIX}FILES: the sha256 of {self.path!r}", self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchEnvironment:
    """Which model file the fetching container brings, from where, and within which limits.

    ``credentials_dir`` is a mounted Secret with one file per key; docs/tasks/sources.md lists the keys of each source.
    Empty: no credentials. ``max_bytes`` bounds all files together.
    """

    uri: str
    sha256: str
    destination: str = MODEL_PATH
    credentials_dir: str = ""
    max_bytes: int = 2 * 1024**3
    timeout_seconds: float = 600.0
    mount_dir: str = SOURCE_MOUNT_DIR
    files: tuple[ExtraFile, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        _check_not_empty(self, _FETCH_PREFIX, "uri", "destination", "mount_dir")
        _check_at_least(self, _FETCH_PREFIX, "max_bytes", 1)
        _check_at_least(self, _FETCH_PREFIX, "timeout_seconds", 1)
        _check_sha256(f"{_FETCH_PREFIX}SHA256", self.sha256)
        paths = [PurePosixPath(one.path) for one in self.files]
        taken = {PurePosixPath(PurePosixPath(self.destination).name)}
        for path in paths:
            if path in taken or any(path in other.parents or other in path.parents for other in paths if other != path):
                raise InvalidEnvironment(f"{_FETCH_PREFIX}FILES names {str(path)!r} twice, or the model itself")
            taken.add(path)

    def to_env(self) -> dict[str, str]:
        """Return the variables that ``from_env`` reads back as an equal value."""
        variables = _to_env(replace(self, files=()), _FETCH_PREFIX)
        if self.files:
            variables[_FETCH_PREFIX + "FILES"] = json.dumps(
                [{"path": one.path, "sha256": one.sha256, "uri": one.uri} for one in self.files], separators=(",", ":")
            )
        return variables

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the variables; raise InvalidEnvironment naming the one that is missing or wrong."""
        variable = _FETCH_PREFIX + "FILES"
        values = _from_env(cls, _FETCH_PREFIX, {name: text for name, text in env.items() if name != variable})
        return cls(**values, files=_files(variable, env.get(variable, "[]")))


def is_inside(path: str) -> bool:
    """Return whether a path may name a file in the model's folder: relative, plain, and never out of it.

    >>> is_inside("weights/model.onnx.data"), is_inside("../secret"), is_inside("/etc/passwd"), is_inside(".hidden")
    (True, False, False, False)
    """
    plain = path.isascii() and all(letter.isalnum() or letter in "._-/" for letter in path)
    parts = path.split("/")
    return plain and len(path) <= _PATH_LENGTH_MAX and all(part and not part.startswith(".") for part in parts)


def _files(variable: str, text: str) -> tuple[ExtraFile, ...]:
    try:
        return tuple(ExtraFile(**entry) for entry in json.loads(text))
    except InvalidEnvironment:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InvalidEnvironment(
            f'{variable} must be a JSON list of {{"path": …, "sha256": …, "uri": …}}, not {text[:100]!r}'
        ) from None


def _to_env(value: Any, prefix: str) -> dict[str, str]:
    return {
        prefix + one.name.upper(): str(getattr(value, one.name))
        for one in fields(value)
        if not one.metadata.get("later") or getattr(value, one.name) != one.default
    }


def _from_env(cls: type, prefix: str, env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for one in fields(cls):
        variable = prefix + one.name.upper()
        if variable in env:
            values[one.name] = _parse(one, variable, env[variable])
        elif one.default is MISSING:
            raise InvalidEnvironment(f"{variable} is not set")
    return values


def _parse(wanted: Field[Any], variable: str, text: str) -> Any:
    """Return ``text`` as the type of the field, which is one of str, int and float."""
    if wanted.type is str:
        return text
    try:
        return int(text) if wanted.type is int else float(text)
    except ValueError:
        kind = "a whole number" if wanted.type is int else "a number"
        raise InvalidEnvironment(f"{variable} must be {kind}, not {text!r}") from None


def _check_sha256(what: str, digest: str) -> None:
    if len(digest) != _SHA256_DIGITS or not set(digest.lower()) <= set("0123456789abcdef"):
        raise InvalidEnvironment(f"{what} must be the 64 hex digits that `sha256sum` prints, not {digest!r}")


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
