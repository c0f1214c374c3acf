"""Inference requests over HTTP: what their headers ask for, their bodies, and their answers."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from http import HTTPStatus
from time import perf_counter
from typing import Any, Protocol

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from penstock_contract.outputs import PAIR_HEADER
from penstock_server import compression, routes
from penstock_server.connection import BODY_SECONDS_MAX, PlainHead, Reply
from penstock_server.descriptions import NOT_READY
from penstock_server.http_server import SERVER_HEADER, ErrorLog
from penstock_server.inference import Answer, Inference, refusal
from penstock_server.lifecycle import Lifecycle, State
from penstock_server.metrics import Metrics
from penstock_server.outputs_ring import OutputsRing
from penstock_server.protocol import JSON_BYTES_HEADER, Array, InferRequest
from penstock_server.protocol.json_tensors import shown
from penstock_server.routes import Call, Route
from penstock_server.unfinished_bodies import OVERLOADED, TooManyBodies, UnfinishedBodies
from penstock_server.wire import Wire, headers

BODY_BYTES_MAX = 32 * 1024 * 1024
_DIGITS_MAX = 18

#: The reasons by which requests are counted that were refused for their bodies.
_REJECTED: Mapping[int, str] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "overloaded",
    HTTPStatus.REQUEST_TIMEOUT: "too_slow",
}


class Unknown(Protocol):
    """Says why a route names nothing that is served here, None: it does."""

    def __call__(self, route: Route) -> str | None:
        """Return the message."""


class HttpInference:
    """Answers inference requests, plain ones by themselves and others through aiohttp."""

    def __init__(self, *, unknown: Unknown, lifecycle: Lifecycle, metrics: Metrics) -> None:
        self._unknown = unknown
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._log: ErrorLog | None = None
        self._wire = Wire()
        self._inference: Inference | None = None
        #: The answers to requests that were copied.
        self.noted = OutputsRing()
        self.unfinished = UnfinishedBodies()
        self.untaken = UnfinishedBodies()

    def serve_with(self, inference: Inference) -> None:
        """Answer from now on."""
        self._inference = inference

    def log_to(self, log: ErrorLog) -> None:
        """Tell mistakes of ours from now on."""
        self._log = log

    def plain_head(self, message: Any) -> PlainHead | None:
        """Return what matters of the headers, or None where aiohttp has to handle the request."""
        if message.method != "POST" or message.version != HttpVersion11 or message.should_close:
            return None
        if message.chunked or message.upgrade or message.compression:
            return None
        given = message.headers
        if "Expect" in given or "Content-Encoding" in given:
            return None
        length, json_bytes = given.get("Content-Length", ""), given.get(JSON_BYTES_HEADER)
        if not is_count(length) or int(length) > BODY_BYTES_MAX or not (json_bytes is None or is_count(json_bytes)):
            return None
        route = routes.find(message.path)
        if route is None or route.call is not Call.INFER or self._unknown(route) is not None:
            return None
        return PlainHead(
            body_bytes=int(length),
            json_bytes=None if json_bytes is None else int(json_bytes),
            coding=compression.wanted(given.get("Accept-Encoding", "")),
            pair=given.get(PAIR_HEADER, ""),
        )

    def reply(self, head: PlainHead, body: bytes, *, close: bool) -> Reply | Awaitable[Reply]:
        """Return head and body of the answer, at once or later; neither raises."""
        started = perf_counter()
        inference = self._ready()
        if head.pair:
            return self._reply_later(self._noted(body, head.json_bytes, head.pair, started), head, started, close=close)
        try:
            answer = inference.answer_now(body, head.json_bytes) if isinstance(inference, Inference) else inference
        except Exception as error:  # noqa: BLE001 - the top of the request loop
            answer = self._mistake(error)
        if isinstance(answer, InferRequest):
            return self._reply_later(self._later(answer), head, started, close=close)
        if head.coding and len(answer.body) >= compression.COMPRESSED_BYTES_MIN:
            return self._reply_later(_done(answer), head, started, close=close)
        self._metrics.answered(answer.status, perf_counter() - started)
        return self._wire.head(answer, close=close), answer.body

    def too_slow(self, what: str, seconds: float) -> Reply:
        """Return the answer to a client that was too slow."""
        answer = refusal(408, f"the {what} did not arrive within {seconds:g} s")
        self._metrics.rejected("too_slow")
        return self._wire.head(answer, close=True), answer.body

    def overloaded(self) -> Reply:
        """Return the answer to a client whose body cannot be kept while so many others arrive."""
        self._metrics.rejected("overloaded")
        answer = refusal(429, OVERLOADED, retry_after_seconds=1)
        return self._wire.head(answer, close=True), answer.body

    async def respond(self, request: web.BaseRequest, route: Route) -> web.Response:
        """Return the answer to a request that came through aiohttp."""
        started = perf_counter()
        answer = await self._answer(request, route, started)
        coding = compression.wanted(request.headers.get("Accept-Encoding", ""))
        answer, coding = await _compressed(answer, coding)
        self._metrics.answered(answer.status, perf_counter() - started)
        response = web.Response(
            status=answer.status, body=answer.body, headers={**SERVER_HEADER, **headers(answer, encoding=coding)}
        )
        if answer.status != HTTPStatus.OK and not request.content.is_eof():
            response.force_close()  # what is left of the body is not worth reading
        return response

    async def _answer(self, request: web.BaseRequest, route: Route, started: float) -> Answer:
        unknown = self._unknown(route)
        if unknown is not None:
            self._metrics.rejected("unknown_model")
            return refusal(404, unknown)
        inference = self._ready()
        if isinstance(inference, Answer):
            return inference
        json_bytes = request.headers.get(JSON_BYTES_HEADER)
        if json_bytes is not None and not is_count(json_bytes):
            self._metrics.rejected("bad_request")
            return refusal(400, f"{JSON_BYTES_HEADER} must be a whole number of bytes, not {json_bytes[:40]!r}")
        body = await read_body(request, self.unfinished)
        if isinstance(body, Answer):
            self._metrics.rejected(_REJECTED.get(body.status, "bad_body"))
            return body
        count, pair = None if json_bytes is None else int(json_bytes), request.headers.get(PAIR_HEADER, "")
        return await (self._noted(body, count, pair, started) if pair else inference.answer(body, count))

    def _ready(self) -> Inference | Answer:
        # A server that drains still answers: clients learn later than it does that they should leave.
        if self._inference is None or self._lifecycle.state is State.LOADING:
            self._metrics.rejected("not_ready")
            return refusal(503, NOT_READY[State.LOADING], retry_after_seconds=1)
        return self._inference

    async def _noted(self, body: bytes, json_bytes: int | None, pair: str, started: float) -> Answer:
        """Return the answer to a request that was copied, or to the copy."""
        inference = self._ready()
        if isinstance(inference, Answer):
            return inference

        def note(request: InferRequest, results: Sequence[Array]) -> None:
            self.noted.note(pair, request, results, perf_counter() - started)

        try:
            return await inference.answer_noted(body, json_bytes, note)
        except Exception as error:  # noqa: BLE001 - the top of the request loop
            return self._mistake(error)

    async def _later(self, request: InferRequest) -> Answer:
        if self._inference is None:
            raise RuntimeError("a request was decoded without a model")
        try:
            return await self._inference.answer_later(request)
        except Exception as error:  # noqa: BLE001 - the top of the request loop
            return self._mistake(error)

    async def _reply_later(
        self, answering: Awaitable[Answer], head: PlainHead, started: float, *, close: bool
    ) -> Reply:
        answer, coding = await _compressed(await answering, head.coding)
        self._metrics.answered(answer.status, perf_counter() - started)
        return self._wire.head(answer, encoding=coding, close=close), answer.body

    def _mistake(self, error: Exception) -> Answer:
        if self._log is not None:
            self._log("internal-error", call="infer", error=repr(error))
        return refusal(500, "internal error; the server's log says more")


def is_count(text: str) -> bool:
    """Return whether a header holds a number of bytes that a body may have; int would take more, and fail on others."""
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX


async def _done(answer: Answer) -> Answer:
    return answer


async def _compressed(answer: Answer, coding: str) -> tuple[Answer, str]:
    """Return the answer, compressed where that is wanted and worth it, and how."""
    if not coding or len(answer.body) < compression.COMPRESSED_BYTES_MIN:
        return answer, ""
    return answer._replace(body=await compression.compress(answer.body, coding)), coding


async def read_body(
    request: web.BaseRequest, unfinished: UnfinishedBodies, *, bytes_max: int | None = None
) -> bytes | Answer:
    """Return the body, or the refusal where it is too large, too slow, damaged or in a coding that nobody knows."""
    coding = _coding(request)
    if isinstance(coding, Answer):
        return coding
    limit = BODY_BYTES_MAX if bytes_max is None else bytes_max
    if (request.content_length or 0) > limit:
        return refusal(413, f"the body is larger than {limit} bytes")
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written so far is not part of the answer that follows.
        request.writer.output_size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            body = await _arrived(request, unfinished, limit)
    except TooManyBodies:
        return refusal(429, OVERLOADED, retry_after_seconds=1)
    except TimeoutError:
        return refusal(408, f"the body did not arrive within {BODY_SECONDS_MAX:g} s")
    except (web.RequestPayloadError, HttpProcessingError) as error:
        return refusal(400, f"the body cannot be read: {error}")
    try:
        if coding != "identity":
            body = await compression.decompress(body, coding, limit)
    except compression.Damaged as error:
        return refusal(400, f"the body cannot be read: {error}")
    except compression.TooLarge:
        return refusal(413, f"the body is larger than {limit} bytes when it is decompressed")
    return body if len(body) <= limit else refusal(413, f"the body is larger than {limit} bytes")


def _coding(request: web.BaseRequest) -> str | Answer:
    """Return how the body is encoded, or the refusal of what nobody can undo here."""
    coding = ", ".join(request.headers.getall("Content-Encoding", ["identity"])).lower()
    if coding not in compression.CODINGS and coding != "identity":
        return refusal(415, f"the body has Content-Encoding {shown(coding)}; send it with gzip, deflate or none")
    transfer = request.headers.get("Transfer-Encoding", "chunked").lower()
    if transfer != "chunked":
        # aiohttp undoes the last coding only, and what was inside would be taken for the body.
        return refusal(415, f"the body has Transfer-Encoding {shown(transfer)}; send it chunked or with its length")
    return coding


async def _arrived(request: web.BaseRequest, unfinished: UnfinishedBodies, limit: int) -> bytes:
    """Return the body as it came, or the beginning of one that is too large."""
    body = bytearray()
    try:
        async for part in request.content.iter_any():
            unfinished.keep(len(part))
            body += part
            if len(body) > limit:
                break
    finally:
        unfinished.give_back(len(body))
    return bytes(body)
