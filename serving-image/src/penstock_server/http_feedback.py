"""POST /v1/feedback over HTTP: delayed labels from clients."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from penstock_server.descriptions import NOT_READY
from penstock_server.feedback import BODY_BYTES_MAX, PATH
from penstock_server.http_server import JSON_HEADERS, error_reply
from penstock_server.inference import Answer
from penstock_server.lifecycle import State

_BODY_SECONDS_MAX = 30.0

#: Takes the body of a request and returns its answer.
TakeLabels = Callable[[bytes], Awaitable[Answer]]


class HttpFeedback:
    """Answers the one call, once somebody takes labels."""

    def __init__(self) -> None:
        self._take: TakeLabels | None = None

    def take_with(self, take: TakeLabels) -> None:
        """Give labels to somebody from now on."""
        self._take = take

    def names(self, path: str) -> bool:
        """Return whether a path is this call's."""
        return path == PATH

    async def respond(self, request: web.BaseRequest) -> web.Response:
        """Return the answer to a request."""
        if request.method != "POST":
            return error_reply(405, f"{PATH} takes POST, not {request.method}", {"Allow": "POST"})
        if self._take is None:
            return error_reply(503, NOT_READY[State.LOADING], {"Retry-After": "1"})
        body = await _body(request)
        if isinstance(body, web.Response):
            body.force_close()  # what is left of the body is not worth reading
            return body
        answer = await self._take(body)
        headers = JSON_HEADERS
        if answer.retry_after_seconds is not None:
            headers = {**JSON_HEADERS, "Retry-After": str(answer.retry_after_seconds)}
        return web.Response(status=answer.status, body=answer.body, headers=headers)


async def _body(request: web.BaseRequest) -> bytes | web.Response:
    too_large = f"the body is larger than {BODY_BYTES_MAX} bytes; send labels in parts"
    if (request.content_length or 0) > BODY_BYTES_MAX:
        return error_reply(413, too_large)
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS_MAX):
            # Piece by piece: a chunked body does not say how long it will be.
            while piece := await request.content.readany():
                body += piece
                if len(body) > BODY_BYTES_MAX:
                    return error_reply(413, too_large)
    except TimeoutError:
        return error_reply(408, f"the body did not arrive within {_BODY_SECONDS_MAX:g} s")
    except (web.RequestPayloadError, HttpProcessingError) as error:
        return error_reply(400, f"the body cannot be read: {error}")
    return bytes(body)
