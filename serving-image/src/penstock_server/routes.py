"""Which call of the protocol a path names."""

from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote


class Call(Enum):
    """A call, and the method that makes it."""

    SERVER_METADATA = "GET", "server metadata"
    SERVER_LIVE = "GET", "server live"
    SERVER_READY = "GET", "server ready"
    MODEL_LIST = "GET", "model list"
    MODEL_METADATA = "GET", "model metadata"
    MODEL_READY = "GET", "model ready"
    MODEL_CONFIGURATION = "GET", "model configuration"
    MODEL_STATISTICS = "GET", "model statistics"
    REPOSITORY_INDEX = "POST", "repository index"
    REPOSITORY_CHANGE = "POST", "load or unload"
    DOCS_PAGE = "GET", "documentation"
    DOCS_DOCUMENT = "GET", "OpenAPI document"
    INFER = "POST", "infer"

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods that make this call."""
        return ("GET", "HEAD") if self.value[0] == "GET" else ("POST",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A call with the model and version that the path names, where it names them."""

    call: Call
    model: str | None = None
    version: str | None = None


_SERVER = {
    ("v2",): Call.SERVER_METADATA,
    ("v2", ""): Call.SERVER_METADATA,
    ("v2", "health", "live"): Call.SERVER_LIVE,
    ("v2", "health", "ready"): Call.SERVER_READY,
    ("v2", "models"): Call.MODEL_LIST,
    ("v2", "models", "stats"): Call.MODEL_STATISTICS,
    ("v2", "repository", "index"): Call.REPOSITORY_INDEX,
    ("v2", "docs"): Call.DOCS_PAGE,
    ("v2", "docs", "openapi.json"): Call.DOCS_DOCUMENT,
}
_MODEL = {
    (): Call.MODEL_METADATA,
    ("ready",): Call.MODEL_READY,
    ("config",): Call.MODEL_CONFIGURATION,
    ("stats",): Call.MODEL_STATISTICS,
    ("infer",): Call.INFER,
}


def find(raw_path: str) -> Route | None:
    """Return what a path (percent-encoded, with or without a query) asks for, or None if it is not of the protocol."""
    segments = tuple(unquote(segment) for segment in raw_path.partition("?")[0].split("/")[1:])
    if segments in _SERVER:
        return Route(call=_SERVER[segments])
    match segments:
        case ("v2", "models", model, "versions", version, *rest) if tuple(rest) in _MODEL:
            return Route(call=_MODEL[tuple(rest)], model=model, version=version)
        case ("v2", "models", model, *rest) if tuple(rest) in _MODEL:
            return Route(call=_MODEL[tuple(rest)], model=model)
        case ("v2", "repository", "models", model, "load" | "unload"):
            return Route(call=Call.REPOSITORY_CHANGE, model=model)
        case _:
            return None
