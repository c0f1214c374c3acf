"""A model behind an http(s) URL."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
from yarl import URL

from penstock_contract.termination import Reason
from penstock_server.fetch import addresses
from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.failure import FetchFailed, unavailable
from penstock_server.fetch.location import shown
from penstock_server.fetch.source import CHUNK_BYTES, Stream

_REDIRECTS_MAX = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_TRANSIENT = {408, 425, 429}
_CONNECT_SECONDS_MAX = 5.0
_SILENCE_SECONDS_MAX = 15.0


class HttpSource:
    """GETs a URL, follows a few redirects, and checks the address of every host on the way."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        # Encoded already: a presigned URL must be sent exactly as it was signed.
        self._url = URL(url, encoded=True)
        self._credentials = credentials

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Stream]:
        """Yield the body of the answer; raise FetchFailed for any answer but 200."""
        connector = aiohttp.TCPConnector(resolver=addresses.CheckedResolver())
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS_MAX, sock_read=_SILENCE_SECONDS_MAX)
        try:
            async with (
                # auto_decompress off: the digest is that of the bytes as they are stored.
                aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
                await self._get(session) as response,
            ):
                yield Stream(size=response.content_length, chunks=_chunks(response))
        except aiohttp.ClientConnectorCertificateError as error:
            raise FetchFailed(
                Reason.SOURCE_FORBIDDEN, f"{_where(self._url)}: its certificate is not trusted: {error}"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unavailable(f"{_where(self._url)}: {_words(error)}") from error

    async def _get(self, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        url = self._url
        for _ in range(_REDIRECTS_MAX + 1):
            addresses.check_literal(url.host or "")
            response = await session.get(url, headers=self._headers(url), allow_redirects=False)
            if response.status == HTTPStatus.OK:
                return response
            response.close()
            if response.status not in _REDIRECTS:
                raise _failure(url, response.status)
            url = self._redirected(url, response.headers.get("Location", ""))
        raise FetchFailed(Reason.SOURCE_FORBIDDEN, f"{_where(self._url)}: more than {_REDIRECTS_MAX} redirects")

    def _redirected(self, url: URL, location: str) -> URL:
        try:
            target = url.join(URL(location, encoded=True))
        except ValueError:
            target = URL()
        # Only to the same scheme, or from http to https: a redirect must not take protection away.
        if target.scheme not in {url.scheme, "https"} or not target.host:
            raise FetchFailed(
                Reason.SOURCE_FORBIDDEN,
                f"{_where(url)} redirects to {_where(target)!r}; from {url.scheme} only {url.scheme} "
                "or https is followed",
            )
        return target.with_user(None)

    def _headers(self, url: URL) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": "penstock-fetch"}
        if url.origin() != self._url.origin():
            return headers  # the credentials are for the host that the spec names
        token, username = self._credentials.get("token"), self._credentials.get("username")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        elif username:
            pair = f"{username}:{self._credentials.get('password')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return headers


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        yield chunk


def _failure(url: URL, status: int) -> FetchFailed:
    try:
        said = f"{_where(url)} answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = f"{_where(url)} answered {status}"
    if status in {401, 403, 407}:
        return FetchFailed(Reason.SOURCE_FORBIDDEN, f"{said}; check spec.model.credentials")
    if status in {404, 410}:
        return FetchFailed(Reason.SOURCE_NOT_FOUND, said)
    if status in _TRANSIENT or status >= 500:  # noqa: PLR2004 - the class of server errors
        return unavailable(said)
    return FetchFailed(Reason.SOURCE_UNAVAILABLE, said)


def _where(url: URL) -> str:
    return shown(str(url))


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in time ({_CONNECT_SECONDS_MAX:g} s to connect, {_SILENCE_SECONDS_MAX:g} s between bytes)"
    return shown(str(error)) or type(error).__name__
