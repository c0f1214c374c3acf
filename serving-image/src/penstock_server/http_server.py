"""What every HTTP server of ours has: JSON replies, the last resort for mistakes of ours, and its options."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson
from aiohttp import web

from penstock_server import protocol
from penstock_server.descriptions import SERVER_NAME

#: Longer than the router keeps an idle connection (30 s), so that it is never us who close one that it is about to use.
KEEPALIVE_SECONDS = 75.0
#: How long a client may go on sending a body that has been refused, so that it reads the answer and not a reset.
LINGERING_SECONDS = 1.0

SERVER_HEADER = {"Server": SERVER_NAME}
JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"
JSON_HEADERS = {"Content-Type": JSON_TYPE, **SERVER_HEADER}

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ErrorLog(Protocol):
    """Where an error of ours goes that no client can do anything about."""

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one line."""


def server_options(body_bytes_max: int) -> dict[str, Any]:
    """Return the options of a server that reads bodies up to a size; needs a running event loop."""
    loop = asyncio.get_running_loop()

    def make_request(message: Any, payload: Any, protocol_: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol_, writer, task, loop, client_max_size=body_bytes_max)

    return {
        "request_factory": make_request,
        "keepalive_timeout": KEEPALIVE_SECONDS,
        "lingering_time": LINGERING_SECONDS,
        "access_log": None,
        # aiohttp decompresses all that has arrived at once, which may be a thousand times as much.
        "auto_decompress": False,
    }


def guarded(handler: Handler, log: ErrorLog) -> Handler:
    """Return the handler with its last resort: a JSON 500 and a line in the log for a mistake of ours."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:
            raise  # nobody is left to answer
        except Exception as error:  # noqa: BLE001 - the top of the request loop
            log("internal-error", path=request.path, error=repr(error))
            return error_reply(500, "internal error; the server's log says more")

    return handle


def json_reply(value: Any, *, status: int = 200) -> web.Response:
    """Return a reply that carries a value."""
    return web.Response(status=status, body=orjson.dumps(value), headers=JSON_HEADERS)


def error_reply(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a reply that says what is wrong."""
    return web.Response(status=status, body=protocol.encode_error(message), headers={**JSON_HEADERS, **(headers or {})})
