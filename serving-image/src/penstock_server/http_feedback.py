"""POST /v1/feedback over HTTP: delayed labels from clients."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from penstock_server.descriptions import NOT_READY
from penstock_server.feedback import BODY_BYTES_MAX, PATH
from penstock_server.http_inference import read_body
from penstock_server.http_server import JSON_HEADERS, error_reply
from penstock_server.inference import Answer, refusal
from penstock_server.lifecycle import State
from penstock_server.unfinished_bodies import UnfinishedBodies

#: Bodies that wait to be counted, which happens to one at a time.
_TAKING_MAX = 16

#: Takes the body of a request and returns its answer.
TakeLabels = Callable[[bytes], Awaitable[Answer]]


class HttpFeedback:
    """Answers the one call, once somebody takes labels."""

    def __init__(self, unfinished: UnfinishedBodies) -> None:
        self._unfinished = unfinished
        self._take: TakeLabels | None = None
        self._taking = 0

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
        body = await read_body(request, self._unfinished, bytes_max=BODY_BYTES_MAX)
        if isinstance(body, Answer):
            response = _response(body)
            response.force_close()  # what is left of the body is not worth reading
            return response
        if self._taking >= _TAKING_MAX:
            return _response(
                refusal(429, "overloaded: other labels are counted; try again later", retry_after_seconds=1)
            )
        self._taking += 1
        try:
            return _response(await self._take(body))
        finally:
            self._taking -= 1


def _response(answer: Answer) -> web.Response:
    headers = JSON_HEADERS
    if answer.retry_after_seconds is not None:
        headers = {**JSON_HEADERS, "Retry-After": str(answer.retry_after_seconds)}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
