"""What a model's URI says, and how it is shown without what might be secret in it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed

#: Where MLflow's ONNX flavour puts the model.
_MLFLOW_FILE = "model.onnx"
_BUCKETS = {"s3": "s3://BUCKET/KEY", "gs": "gs://BUCKET/KEY", "az": "az://CONTAINER/PATH"}
_MOUNTED = {"pvc": "pvc://CLAIM/PATH", "configmap": "configmap://NAME/KEY"}
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/?#@]*@)?([^\s?#'\"]*)(?:[?#][^\s'\"]*)?", re.IGNORECASE)
# The grammar of the distribution specification, its lengths left to the registry.
_REPOSITORY = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_OCI = re.compile(
    rf"(?P<host>[^/@]+)/(?P<repository>{_REPOSITORY})"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_MLFLOW = re.compile(r"/+(?P<name>[^/@]+)(?:/(?P<version>[0-9]+)|@(?P<alias>[A-Za-z0-9_-]+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """A file behind a URL."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object in a bucket: of an S3-compatible store (s3), Google's (gs), or a container of Azure's (az)."""

    scheme: str
    bucket: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A layer of an artifact in an OCI registry. ``path`` is the layer's title; empty: the only ONNX file in it."""

    host: str
    repository: str
    reference: str
    path: str = ""
    encrypted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A file of a model version in an MLflow registry, which either ``version`` or ``alias`` names."""

    name: str
    version: str = ""
    alias: str = ""
    path: str = _MLFLOW_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A file below the folder where the pod mounts a volume."""

    path: str


Location = Http | StoredObject | Artifact | RegisteredModel | Mounted


def parse(uri: str) -> Location:
    """Return where a URI points; raise FetchFailed naming what is wrong with it."""
    try:
        parts = urlsplit(uri)
        scheme = parts.scheme.lower()
        if scheme in {"http", "https"}:
            _ = parts.port  # raises for a port that is not a number
    except ValueError as error:
        raise _invalid(uri, str(error)) from None
    reader = _READERS.get(scheme)
    if reader is None:
        raise _invalid(uri, f"its scheme must be one of {', '.join(SCHEMES)}")
    return reader(uri, parts)


def beside(location: Location, path: str) -> Location:
    """Return where the file ``path`` lies if it is in the same folder, or in the same artifact, as ``location``."""
    match location:
        case Http(url=url):
            parts = urlsplit(url)
            # Without the query: a signature is for one file.
            return Http(url=urlunsplit((parts.scheme, parts.netloc, _sibling(parts.path, path), "", "")))
        case StoredObject(key=key):
            return replace(location, key=_sibling(key, path))
        case Artifact():
            return replace(location, path=path)
        case RegisteredModel(path=own) | Mounted(path=own):
            return replace(location, path=_sibling(own, path))


def shown(text: str) -> str:
    """Return a URI, or a text with URLs in it, without user, password and query."""
    return _URL.sub(r"\1\2", text)


def _sibling(of: str, path: str) -> str:
    folder, slash, _ = of.rpartition("/")
    return folder + slash + path


def _http(uri: str, parts: SplitResult) -> Http:
    if not parts.hostname:
        raise _invalid(uri, "it has no host")
    if parts.username or parts.password:
        raise _invalid(uri, "it holds credentials; put them into a Secret and name it in spec.model.credentials")
    return Http(url=uri)


def _object(uri: str, parts: SplitResult) -> StoredObject:
    scheme = parts.scheme.lower()
    key = uri.partition("://")[2].partition("/")[2]  # verbatim: "?" and "%" may be part of a key
    if not parts.netloc or not key or key.endswith("/"):
        raise _invalid(uri, f"it must be {_BUCKETS[scheme]}, and its end must be a file")
    return StoredObject(scheme=scheme, bucket=parts.netloc, key=key)


def _volume(uri: str, parts: SplitResult) -> Mounted:
    path = unquote(parts.path).lstrip("/")
    if not parts.netloc or not path:
        raise _invalid(uri, f"it must be {_MOUNTED[parts.scheme.lower()]}")
    return Mounted(path=path)


def _image(uri: str, parts: SplitResult) -> Mounted:
    if not parts.fragment:
        raise _invalid(uri, "it must be image://HOST/REPOSITORY:TAG#PATH, PATH being the file in the image")
    return Mounted(path=unquote(parts.fragment).lstrip("/"))


def _file(_uri: str, parts: SplitResult) -> Mounted:
    return Mounted(path=unquote(parts.path))


def _artifact(uri: str, parts: SplitResult) -> Artifact:
    reference, _, path = uri.partition("://")[2].partition("#")
    found = _OCI.fullmatch(reference)
    if found is None or not (found["tag"] or found["digest"]):
        raise _invalid(uri, "it must be oci://HOST/REPOSITORY:TAG, or …@sha256:DIGEST, with #FILE behind if need be")
    return Artifact(
        host=found["host"],
        repository=found["repository"],
        # Both may stand there; the digest is what counts then.
        reference=found["digest"] or found["tag"],
        path=unquote(path),
        encrypted=parts.scheme.lower() == "oci",
    )


def _registered(uri: str, parts: SplitResult) -> RegisteredModel:
    found = _MLFLOW.fullmatch(parts.path)
    if found is None or parts.netloc:
        raise _invalid(uri, "it must be models:/NAME/VERSION or models:/NAME@ALIAS, with #FILE behind if need be")
    path = unquote(parts.fragment) or _MLFLOW_FILE
    if ".." in PurePosixPath(path).parts or path.startswith("/"):
        raise _invalid(uri, f"{path!r} leaves the model's folder")
    return RegisteredModel(
        name=unquote(found["name"]), version=found["version"] or "", alias=found["alias"] or "", path=path
    )


def _invalid(uri: str, why: str) -> FetchFailed:
    return FetchFailed(Reason.INVALID_CONFIGURATION, f"the uri {shown(uri)!r} cannot be used: {why}")


_READERS: dict[str, Callable[[str, SplitResult], Location]] = {
    "https": _http,
    "http": _http,
    "s3": _object,
    "gs": _object,
    "az": _object,
    "oci": _artifact,
    "oci+http": _artifact,
    "models": _registered,
    "image": _image,
    "pvc": _volume,
    "configmap": _volume,
    "file": _file,
}
SCHEMES = tuple(_READERS)
