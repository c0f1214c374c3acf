"""A file in an object store: Amazon's and its like, Google's, Azure's."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from penstock_contract.termination import Reason
from penstock_server.fetch import addresses
from penstock_server.fetch.checking_proxy import CheckingProxy
from penstock_server.fetch.failure import ContentChanged, FetchFailed, unavailable
from penstock_server.fetch.source import CHUNK_BYTES, Position, Stream

Store = S3Store | GCSStore | AzureStore

_CONNECT_TIMEOUT = timedelta(seconds=5)
_XML_ERROR = re.compile(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>")
#: What differs at each attempt; in a status it would be a change each time.
_PASSING = re.compile(r"\s*RequestId:\S+\s+Time:\S+|(?<=\S) in [0-9.]+(?:ns|µs|ms|s)\b")
_ABSENT = {"", "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "BlobNotFound", "ContainerNotFound"}
#: What the client says where a store answers with the whole object although a part was asked for.
_NO_RANGES = "non-partial response"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAccess:
    """How to reach a store. ``endpoint`` is a URL from the Secret, empty: the provider's own; ``signed``: with keys."""

    kind: type[S3Store] | type[GCSStore] | type[AzureStore]
    bucket: str
    config: Mapping[str, Any]
    timeout_seconds: float
    endpoint: str
    endpoint_name: str
    signed: bool
    redact: Callable[[str], str]

    def connect(self, proxy_url: str = "") -> Store:
        """Return the client, which goes through the proxy if one is given."""
        client: dict[str, Any] = {
            "allow_http": self.endpoint.startswith("http://"),
            "connect_timeout": _CONNECT_TIMEOUT,
            "timeout": timedelta(seconds=self.timeout_seconds),
            **({"proxy_url": proxy_url} if proxy_url else {}),
        }
        # Without keys the client would ask the node's metadata service for some.
        config = self.config if self.signed else {**self.config, "skip_signature": True}
        # TypedDicts there, built up by steps here. Attempts are counted and told in one place for all sources.
        store: Any = self.kind
        made: Store = store(self.bucket, config=config, client_options=client, retry_config={"max_retries": 0})
        return made


class ObjectSource:
    """GETs one object; attempts are counted and told in one place for all sources, so the client makes only one."""

    def __init__(self, access: StoreAccess, key: str, *, shown: str) -> None:
        self._access = access
        self._key = key
        self._shown = shown

    @asynccontextmanager
    async def open(self, position: Position | None = None) -> AsyncIterator[Stream]:
        """Yield the object; raise FetchFailed with what the store said."""
        await check_endpoint(self._access.endpoint_name, self._access.endpoint)
        proxy = CheckingProxy()
        async with proxy.running() as proxy_url:
            store = self._connected(proxy_url)
            try:
                result = await self._get(store, position)
                yield Stream(
                    size=int(result.meta["size"]),
                    chunks=_chunks(result),
                    start=int(result.range[0]),
                    tag=result.meta.get("e_tag") or "",
                )
            except (BaseError, OSError, ValueError) as error:
                raise proxy.refused or self._failure(error, position) from error

    def _connected(self, proxy_url: str) -> Store:
        try:
            return self._access.connect(proxy_url)
        except (BaseError, ValueError) as error:
            raise FetchFailed(
                Reason.INVALID_CONFIGURATION, f"{self._shown}: the Secret cannot be used: {self._words(error)}"
            ) from error

    def _failure(self, error: BaseException, position: Position | None) -> FetchFailed:
        match error:
            case PreconditionError():
                return ContentChanged(self._shown)
            case FileNotFoundError() if _code(error) in _ABSENT:
                return FetchFailed(Reason.SOURCE_NOT_FOUND, f"there is no {self._shown}: {self._words(error)}")
            # Some stores say 404 to an access key that they do not know.
            case FileNotFoundError() | PermissionDeniedError() | UnauthenticatedError():
                return self._forbidden(error)
            case _ if position is not None and _NO_RANGES in str(error):
                return ContentChanged(self._shown)
            case _:
                return unavailable(f"{self._shown}: {self._words(error)}")

    async def _get(self, store: Store, position: Position | None) -> "obstore.GetResult":
        if position is None:
            return await obstore.get_async(store, self._key)
        options: obstore.GetOptions = {"range": {"offset": position.bytes}, "if_match": position.tag}
        return await obstore.get_async(store, self._key, options=options)

    def _forbidden(self, error: BaseException) -> FetchFailed:
        signed = "with the Secret's credentials" if self._access.signed else "without credentials"
        return FetchFailed(Reason.SOURCE_FORBIDDEN, f"{self._shown} may not be read {signed}: {self._words(error)}")

    def _words(self, error: BaseException) -> str:
        """Return what the store said, or else what the client did."""
        said = _XML_ERROR.search(str(error))
        text = f"{said[1]}: {said[2]}" if said else str(error).partition("\n\nDebug source:")[0]
        return self._access.redact(" ".join(_PASSING.sub("", text).split()))


async def check_endpoint(name: str, endpoint: str) -> None:
    """Raise FetchFailed if the Secret's key ``name`` holds something that is no URL, or no place for a store."""
    if not endpoint:
        return
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise FetchFailed(Reason.INVALID_CONFIGURATION, f"{name} of the Secret must be http(s)://HOST[:PORT]")
    await addresses.check_resolved(parts.hostname, port or _PORTS[parts.scheme])


def _code(error: BaseException) -> str:
    said = _XML_ERROR.search(str(error))
    return said[1] if said else ""


async def _chunks(result: "obstore.GetResult") -> AsyncIterator[bytes]:
    async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
        yield bytes(chunk)
