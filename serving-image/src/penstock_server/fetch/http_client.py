"""GETs over http(s): every address checked, few redirects, credentials only for the host that they are meant for."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from penstock_contract.termination import Reason
from penstock_server.fetch import addresses
from penstock_server.fetch.checked_resolver import CheckedResolver
from penstock_server.fetch.failure import FetchFailed, unavailable
from penstock_server.fetch.location import shown

_REDIRECTS_MAX = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_TRANSIENT = {408, 425, 429}
_CONNECT_SECONDS_MAX = 5.0
_SILENCE_SECONDS_MAX = 15.0
_OK = frozenset({HTTPStatus.OK})
_DOCUMENT_BYTES_MAX = 4 << 20


@asynccontextmanager
async def get(
    url: URL, *, authorization: str = "", headers: Mapping[str, str] | None = None, accepted: frozenset[int] = _OK
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yield the answer, its body unread; raise FetchFailed for a status that is not accepted, or none at all."""
    connector = aiohttp.TCPConnector(resolver=CheckedResolver())
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS_MAX, sock_read=_SILENCE_SECONDS_MAX)
    try:
        async with (
            # auto_decompress off: the digest is that of the bytes as they are stored.
            aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
            await _follow(session, url, authorization, headers or {}, accepted) as response,
        ):
            _refuse_encoded(response)
            yield response
    except aiohttp.ClientConnectorCertificateError as error:
        raise FetchFailed(Reason.SOURCE_FORBIDDEN, f"{where(url)}: its certificate is not trusted: {error}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unavailable(f"{where(url)}: {_words(error)}") from error


async def document(response: aiohttp.ClientResponse, bytes_max: int = _DOCUMENT_BYTES_MAX) -> bytes:
    """Return a short body; raise FetchFailed if it is not short."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > bytes_max:
            raise FetchFailed(
                Reason.TOO_LARGE,
                f"{where(response.url)} answered more than {bytes_max} bytes where a few were expected",
            )
    return bytes(body)


def json_object(body: bytes, url: URL) -> dict[str, Any]:
    """Return the JSON object of a body; raise FetchFailed for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise FetchFailed(
            Reason.SOURCE_UNAVAILABLE,
            f"{where(url)} answered something that is not a JSON object; is it the right host?",
        )
    return value


def where(url: URL) -> str:
    """Return a URL without user and query, for people."""
    return shown(str(url))


def failure(url: URL, status: int) -> FetchFailed:
    """Return what an answer of this status means."""
    try:
        said = f"{where(url)} answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = f"{where(url)} answered {status}"
    if status in {401, 403, 407}:
        return FetchFailed(Reason.SOURCE_FORBIDDEN, f"{said}; check spec.model.credentials")
    if status in {404, 410}:
        return FetchFailed(Reason.SOURCE_NOT_FOUND, said)
    if status in _TRANSIENT or status >= 500:  # noqa: PLR2004 - the class of server errors
        return unavailable(said)
    return FetchFailed(Reason.SOURCE_UNAVAILABLE, said)


async def _follow(
    session: aiohttp.ClientSession, start: URL, authorization: str, headers: Mapping[str, str], accepted: frozenset[int]
) -> aiohttp.ClientResponse:
    url = start
    for _ in range(_REDIRECTS_MAX + 1):
        addresses.check_literal(url.host or "")
        sent = {"Accept-Encoding": "identity", "User-Agent": "penstock-fetch", **headers}
        # The credentials are for the host that the spec names, and for no other that it leads to.
        if authorization and url.origin() == start.origin():
            sent["Authorization"] = authorization
        response = await session.get(url, headers=sent, allow_redirects=False)
        if response.status in accepted:
            return response
        response.close()
        if response.status not in _REDIRECTS:
            raise failure(url, response.status)
        url = _redirected(url, response.headers.get("Location", ""))
    raise FetchFailed(Reason.SOURCE_FORBIDDEN, f"{where(start)}: more than {_REDIRECTS_MAX} redirects")


def _redirected(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location, encoded=True))
    except ValueError:
        target = URL()
    # Only to the same scheme, or from http to https: a redirect must not take protection away.
    if target.scheme not in {url.scheme, "https"} or not target.host:
        raise FetchFailed(
            Reason.SOURCE_FORBIDDEN,
            f"{where(url)} redirects to {where(target)!r}; from {url.scheme} only {url.scheme} or https is followed",
        )
    return target.with_user(None)


def _refuse_encoded(response: aiohttp.ClientResponse) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise FetchFailed(
            Reason.SOURCE_UNAVAILABLE,
            f"{where(response.url)} sends the file compressed ({encoding}), which was not asked for; nothing is "
            "decompressed here, because a small body can hold terabytes: have it sent as it is",
        )


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in time ({_CONNECT_SECONDS_MAX:g} s to connect, {_SILENCE_SECONDS_MAX:g} s between bytes)"
    return shown(str(error)) or type(error).__name__
