"""What a model's URI says, and how it is shown without what might be secret in it."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed

SCHEMES = ("https", "http", "s3", "pvc", "configmap", "file")
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/?#@]*@)?([^\s?#'\"]*)(?:[?#][^\s'\"]*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """A file behind a URL."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """An object in a bucket of an S3-compatible store."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A file below the folder where the pod mounts a volume."""

    path: str


Location = Http | S3 | Mounted


def parse(uri: str) -> Location:
    """Return where a URI points; raise FetchFailed naming what is wrong with it."""
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises for a port that is not a number
    except ValueError as error:
        raise _invalid(uri, str(error)) from None
    match parts.scheme.lower():
        case "http" | "https":
            return _http(uri, parts)
        case "s3":
            key = uri.partition("://")[2].partition("/")[2]  # verbatim: "?" and "%" may be part of a key
            if not parts.netloc or not key or key.endswith("/"):
                raise _invalid(uri, "it must be s3://BUCKET/KEY, and KEY must be a file")
            return S3(bucket=parts.netloc, key=key)
        case "pvc" | "configmap":
            path = unquote(parts.path).lstrip("/")
            if not parts.netloc or not path:
                what = "pvc://CLAIM/PATH" if parts.scheme == "pvc" else "configmap://NAME/KEY"
                raise _invalid(uri, f"it must be {what}")
            return Mounted(path=path)
        case "file":
            return Mounted(path=unquote(parts.path))
        case _:
            raise _invalid(uri, f"its scheme must be one of {', '.join(SCHEMES)}")


def shown(text: str) -> str:
    """Return a URI, or a text with URLs in it, without user, password and query."""
    return _URL.sub(r"\1\2", text)


def _http(uri: str, parts: SplitResult) -> Http:
    if not parts.hostname:
        raise _invalid(uri, "it has no host")
    if parts.username or parts.password:
        raise _invalid(uri, "it holds credentials; put them into a Secret and name it in spec.model.credentials")
    return Http(url=uri)


def _invalid(uri: str, why: str) -> FetchFailed:
    return FetchFailed(Reason.INVALID_CONFIGURATION, f"the model's uri {shown(uri)!r} cannot be used: {why}")
