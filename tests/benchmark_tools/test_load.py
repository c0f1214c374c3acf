import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import numpy as np
import pytest
from aiohttp import web
from benchmarks.serving.h2 import CallFailed
from benchmarks.serving.load import AnswerRefused, Job, Outcome, perform
from benchmarks.serving.processes import HOST

REQUEST = b"POST /infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
ANSWER = b"x" * 300_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Served = Callable[[Handler], Awaitable[int]]


def job(port: int, *, payload: bytes = REQUEST, connections: int = 3, grpc_path: str = "") -> Job:
    return Job(
        port=port,
        payload=base64.b64encode(payload).decode(),
        connections=connections,
        seconds=0.05,
        warm_up_seconds=0.01,
        server_pids=[os.getpid()],
        grpc_path=grpc_path,
    )


async def outcome_of(chosen: Job) -> Outcome:
    return await asyncio.to_thread(perform, chosen)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    runners: list[web.AppRunner] = []

    async def serve(handler: Handler) -> int:
        app = web.Application()
        app.router.add_post("/infer", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        return int(runner.addresses[0][1])

    yield serve
    for runner in runners:
        await runner.cleanup()


async def test_every_connection_is_kept_busy_and_answers_are_whole(served: Served) -> None:
    asked: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.read())
        return web.Response(body=ANSWER)

    outcome = await outcome_of(job(await served(answer)))
    assert set(asked) == {b"hello"}
    assert 3 <= outcome.requests <= len(asked)
    assert 0 < outcome.p50_ms <= outcome.p99_ms
    assert {base64.b64decode(sample) for sample in outcome.samples} == {ANSWER}


async def test_a_request_larger_than_the_sockets_buffers_arrives_whole(served: Served) -> None:
    sizes: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        sizes.append(len(await request.read()))
        return web.Response(body=b"ok")

    body = bytes(900_000)
    request = b"POST /infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n" + body
    await outcome_of(job(await served(answer), payload=request, connections=2))
    assert set(sizes) == {900_000}


async def test_a_connection_that_the_server_ends_after_an_answer_is_replaced(served: Served) -> None:
    async def answer(_: web.Request) -> web.Response:
        response = web.Response(body=b"ok")
        response.force_close()
        return response

    assert (await outcome_of(job(await served(answer)))).requests >= 3


async def test_an_error_status_is_never_counted_as_an_answer(served: Served) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=429)

    with pytest.raises(AnswerRefused, match="429"):
        await outcome_of(job(await served(answer)))


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def call(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if request == b"refuse":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        return request

    handler = grpc.method_handlers_generic_handler("test.Echo", {"Call": grpc.unary_unary_rpc_method_handler(call)})
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    yield port
    await server.stop(None)


@pytest.mark.parametrize("size", [10, 70_000, 1_500_000], ids=["small", "over one window", "over many windows"])
async def test_grpc_calls_of_any_size_come_back_as_a_real_server_answers_them(echo: int, size: int) -> None:
    message = np.random.default_rng(1).bytes(size)
    outcome = await outcome_of(job(echo, payload=message, grpc_path="/test.Echo/Call"))
    assert outcome.requests >= 3
    assert {base64.b64decode(sample) for sample in outcome.samples} == {message}


async def test_a_grpc_error_is_never_counted_as_an_answer(echo: int) -> None:
    with pytest.raises(CallFailed, match="without a message"):
        await outcome_of(job(echo, payload=b"refuse", grpc_path="/test.Echo/Call"))
