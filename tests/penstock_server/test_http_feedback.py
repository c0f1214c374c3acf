"""Labels over HTTP take no more memory than other requests, however many clients send them."""

import asyncio
import io
from collections import Counter

from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import Serve, eventually

from penstock_server.feedback import BODY_BYTES_MAX, PATH
from penstock_server.inference import Answer

LABEL = {"requestId": "a", "label": 1}


async def test_more_labels_than_can_be_counted_are_sent_away_for_a_moment(serve: Serve) -> None:
    served, go_on = await serve(onnx_models.identity("FP32", [None])), asyncio.Event()

    async def slowly(_: bytes) -> Answer:
        await go_on.wait()
        return Answer(status=200, body=b"{}")

    served.model_server.feedback.take_with(slowly)

    async def post() -> tuple[int, str | None]:
        async with served.client.post(served.url + PATH, json=LABEL) as response:
            return response.status, response.headers.get("Retry-After")

    posted = [asyncio.ensure_future(post()) for _ in range(40)]
    await eventually(lambda: sum(one.done() for one in posted) == 24)
    go_on.set()
    assert Counter(await asyncio.gather(*posted)) == {(200, None): 16, (429, "1"): 24}
    assert await post() == (200, None)


async def test_labels_that_are_still_arriving_are_counted_with_all_other_bodies(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    served.model_server.feedback.take_with(_taken)
    unfinished = served.model_server.unfinished
    _, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" % PATH.encode()
    writer.write(head + b" " * 900)
    await eventually(lambda: unfinished.kept_bytes == 900)
    writer.close()
    await eventually(lambda: unfinished.kept_bytes == 0)


async def test_too_much_at_once_is_refused(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    served.model_server.feedback.take_with(_taken)
    async with served.client.post(served.url + PATH, data=io.BytesIO(b" " * (BODY_BYTES_MAX + 1))) as response:
        assert response.status == 413
        assert await response.json() == {"error": f"the body is larger than {BODY_BYTES_MAX} bytes"}


async def _taken(_: bytes) -> Answer:
    return Answer(status=200, body=b"{}")
