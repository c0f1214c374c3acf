"""A file in an object store: Amazon's and its like, Google's, Azure's."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from penstock_contract.termination import Reason
from penstock_server.fetch import addresses
from penstock_server.fetch.failure import ContentChanged, FetchFailed, unavailable
from penstock_server.fetch.source import CHUNK_BYTES, Position, Stream

Store = S3Store | GCSStore | AzureStore

CONNECT_TIMEOUT = timedelta(seconds=5)
_XML_ERROR = re.compile(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>")
_ABSENT = {"", "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "BlobNotFound", "ContainerNotFound"}
#: What the client says where a store answers with the whole object although a part was asked for.
_NO_RANGES = "non-partial response"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAccess:
    """How to reach a store. ``endpoint`` is a URL from the Secret, empty: the provider's own; ``signed``: with keys."""

    connect: Callable[[], Store]
    endpoint: str
    endpoint_name: str
    signed: bool
    redact: Callable[[str], str]


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
        store = self._connected()
        try:
            result = await self._get(store, position)
            meta = result.meta
            yield Stream(
                size=int(meta["size"]),
                chunks=_chunks(result),
                start=int(result.range[0]),
                tag=meta.get("e_tag") or "",
            )
        except PreconditionError as error:
            raise ContentChanged(self._shown) from error
        except FileNotFoundError as error:
            # Some stores say 404 to an access key that they do not know.
            if _code(error) not in _ABSENT:
                raise self._forbidden(error) from error
            raise FetchFailed(Reason.SOURCE_NOT_FOUND, f"there is no {self._shown}: {self._words(error)}") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise self._forbidden(error) from error
        except (BaseError, OSError, ValueError) as error:
            if position is not None and _NO_RANGES in str(error):
                raise ContentChanged(self._shown) from error
            raise unavailable(f"{self._shown}: {self._words(error)}") from error

    def _connected(self) -> Store:
        try:
            return self._access.connect()
        except (BaseError, ValueError) as error:
            raise FetchFailed(
                Reason.INVALID_CONFIGURATION, f"{self._shown}: the Secret cannot be used: {self._words(error)}"
            ) from error

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
        return self._access.redact(" ".join(text.split()))


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
