"""A file behind an http(s) URL."""

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
from yarl import URL

from penstock_server.fetch import http_client
from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.failure import ContentChanged, unavailable
from penstock_server.fetch.source import CHUNK_BYTES, Position, Stream

_ANSWERS = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class HttpSource:
    """GETs a URL. ``immutable``: what it names never changes, so that it can be continued without a mark."""

    def __init__(self, url: str, authorization: str, *, immutable: bool = False) -> None:
        # Encoded already: a presigned URL must be sent exactly as it was signed.
        self._url = URL(url, encoded=True)
        self._authorization = authorization
        self._immutable = immutable

    @asynccontextmanager
    async def open(self, position: Position | None = None) -> AsyncIterator[Stream]:
        """Yield the body of the answer; raise FetchFailed for any answer but 200, or 206 where that was asked for."""
        wanted = _ANSWERS if position else frozenset({HTTPStatus.OK})
        headers = _range(position) if position else {}
        async with http_client.get(
            self._url, authorization=self._authorization, headers=headers, accepted=wanted
        ) as response:
            if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise ContentChanged(http_client.where(self._url))
            yield self._stream(response)

    def _stream(self, response: aiohttp.ClientResponse) -> Stream:
        tag = "immutable" if self._immutable else _tag(response)
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            return Stream(size=response.content_length, chunks=_chunks(response), tag=tag)
        sent = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if sent is None:
            raise unavailable(f"{http_client.where(self._url)} sent a part of the file without saying which")
        return Stream(size=int(sent[3]), chunks=_chunks(response), start=int(sent[1]), tag=tag)


def authorization(credentials: Credentials) -> str:
    """Return the Authorization header that a Secret's keys make: Bearer for a token, else Basic, else none."""
    token, username = credentials.get("token"), credentials.get("username")
    if token:
        return f"Bearer {token}"
    return basic(username, credentials.get("password")) if username else ""


def basic(username: str, password: str) -> str:
    """Return the header of a user and a password."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _range(position: Position) -> dict[str, str]:
    asked = {"Range": f"bytes={position.bytes}-"}
    return asked if position.tag == "immutable" else {**asked, "If-Range": position.tag}


def _tag(response: aiohttp.ClientResponse) -> str:
    """Return a mark that If-Range accepts: only a strong one says that the bytes are the same."""
    if response.headers.get("Accept-Ranges", "bytes").lower() == "none":
        return ""
    tag = response.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        yield chunk
