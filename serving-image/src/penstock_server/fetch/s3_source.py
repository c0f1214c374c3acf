"""A model in an S3-compatible object store."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from penstock_contract.termination import Reason
from penstock_server.fetch import addresses
from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.failure import FetchFailed, unavailable
from penstock_server.fetch.location import S3
from penstock_server.fetch.source import CHUNK_BYTES, Stream

_CONNECT_TIMEOUT = timedelta(seconds=5)
_DEFAULT_REGION = "us-east-1"
_XML_ERROR = re.compile(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>")
_ABSENT = {"", "NoSuchKey", "NoSuchBucket", "NoSuchVersion"}
_PORTS = {"http": 80, "https": 443}


class S3Source:
    """GETs one object; without credentials the request is not signed, as public buckets want it."""

    def __init__(self, location: S3, credentials: Credentials, *, timeout_seconds: float) -> None:
        self._location = location
        self._credentials = credentials
        self._timeout = timedelta(seconds=timeout_seconds)
        self._shown = f"s3://{location.bucket}/{location.key}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Stream]:
        """Yield the object; raise FetchFailed with what the store said."""
        await self._check_endpoint()
        try:
            result = await obstore.get_async(self._store(), self._location.key)
            yield Stream(size=int(result.meta["size"]), chunks=_chunks(result))
        except FileNotFoundError as error:
            # Some stores say 404 to an access key that they do not know.
            if _code(error) not in _ABSENT:
                raise self._forbidden(error) from error
            raise FetchFailed(Reason.SOURCE_NOT_FOUND, f"there is no {self._shown}: {self._words(error)}") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise self._forbidden(error) from error
        except (BaseError, OSError, ValueError) as error:
            raise unavailable(f"{self._shown}: {self._words(error)}") from error

    @property
    def _signed(self) -> bool:
        return bool(self._credentials.get("AWS_ACCESS_KEY_ID"))

    def _store(self) -> S3Store:
        endpoint = self._credentials.get("AWS_ENDPOINT_URL")
        config: dict[str, Any] = {"region": self._credentials.get("AWS_REGION") or _DEFAULT_REGION}
        if endpoint:
            # Stores other than Amazon's rarely have a DNS name per bucket.
            config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        if self._signed:
            config |= {
                "access_key_id": self._credentials.get("AWS_ACCESS_KEY_ID"),
                "secret_access_key": self._credentials.get("AWS_SECRET_ACCESS_KEY"),
            }
            if self._credentials.get("AWS_SESSION_TOKEN"):
                config["session_token"] = self._credentials.get("AWS_SESSION_TOKEN")
        else:
            # Otherwise the client would ask the node's metadata service for credentials.
            config["skip_signature"] = True
        return S3Store(
            self._location.bucket,
            config=config,  # type: ignore[arg-type]  # a TypedDict there, built up by steps here
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": _CONNECT_TIMEOUT,
                "timeout": self._timeout,
            },
            # Attempts are counted and told in one place for all sources.
            retry_config={"max_retries": 0},
        )

    async def _check_endpoint(self) -> None:
        endpoint = self._credentials.get("AWS_ENDPOINT_URL")
        if not endpoint:
            return
        parts = urlsplit(endpoint)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise FetchFailed(
                Reason.INVALID_CONFIGURATION, "AWS_ENDPOINT_URL of the Secret must be http(s)://HOST[:PORT]"
            )
        await addresses.check_resolved(parts.hostname, parts.port or _PORTS[parts.scheme])

    def _forbidden(self, error: BaseException) -> FetchFailed:
        signed = "with the Secret's credentials" if self._signed else "without credentials"
        return FetchFailed(Reason.SOURCE_FORBIDDEN, f"{self._shown} may not be read {signed}: {self._words(error)}")

    def _words(self, error: BaseException) -> str:
        """Return what the store said, or else what the client did."""
        said = _XML_ERROR.search(str(error))
        text = f"{said[1]}: {said[2]}" if said else str(error).partition("\n\nDebug source:")[0]
        return self._credentials.redact(" ".join(text.split()))


def _code(error: BaseException) -> str:
    said = _XML_ERROR.search(str(error))
    return said[1] if said else ""


async def _chunks(result: "obstore.GetResult") -> AsyncIterator[bytes]:
    async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
        yield bytes(chunk)
