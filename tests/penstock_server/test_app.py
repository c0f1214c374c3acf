"""The server over HTTP, with real models."""

import asyncio
import gzip
import json
import socket
from typing import Any

import aiohttp
import pytest
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import Serve, eventually

from penstock_server import http_inference
from penstock_server.descriptions import EXTENSIONS
from penstock_server.lifecycle import Event

IDENTITY = onnx_models.identity("FP32", [None, 2])
GOOD = {"id": "7", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}]}
LONG = {"inputs": [{"name": "rounds", "shape": [1], "datatype": "INT64", "data": [2**60]}]}
SHORT = {"inputs": [{"name": "rounds", "shape": [1], "datatype": "INT64", "data": [1]}]}


async def test_a_request_is_answered_by_the_model(serve: Serve) -> None:
    served = await serve(IDENTITY)
    output = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.5]}
    assert await served.infer(GOOD) == (200, {"model_name": "m", "id": "7", "outputs": [output]})


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m/versions/3/infer"])
async def test_a_model_with_a_version_answers_with_and_without_it(serve: Serve, path: str) -> None:
    served = await serve(IDENTITY, version="3")
    status, body = await served.infer(GOOD, path)
    assert (status, body["model_version"]) == (200, "3")


async def test_wanted_outputs_come_in_the_wanted_order(serve: Serve) -> None:
    served = await serve(onnx_models.sum_and_difference())
    tensor = {"shape": [1, 2], "datatype": "FP32"}
    message = {
        "inputs": [{"name": "b", **tensor, "data": [1, 1]}, {"name": "a", **tensor, "data": [5, 7]}],
        "outputs": [{"name": "difference"}, {"name": "sum"}],
    }
    _, body = await served.infer(message)
    assert [(output["name"], output["data"]) for output in body["outputs"]] == [
        ("difference", [4.0, 6.0]),
        ("sum", [6.0, 8.0]),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2", {"name": "penstock", "version": "9", "extensions": list(EXTENSIONS)}),
        ("/v2/", {"name": "penstock", "version": "9", "extensions": list(EXTENSIONS)}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True, "live": True}),
        ("/v2/models", {"models": ["m"]}),
        ("/v2/models/m/ready", {"name": "m", "ready": True}),
        ("/v2/models/m/versions/3/ready", {"name": "m", "ready": True}),
        (
            "/v2/models/m",
            {
                "name": "m",
                "versions": ["3"],
                "platform": "onnx_onnxv1",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
            },
        ),
    ],
)
async def test_the_server_describes_itself(serve: Serve, path: str, body: dict[str, Any]) -> None:
    served = await serve(IDENTITY, version="3")
    async with served.client.get(served.url + path) as response:
        assert (response.status, await response.json()) == (200, body)
    async with served.client.head(served.url + path) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/", 404, "there is nothing at '/'; inference is POST /v2/models/m/infer"),
        ("POST", "/v2/models/m/explain", 404, "there is nothing at '/v2/models/m/explain'"),
        ("GET", "/v2/models/other", 404, "unknown model 'other'; this server serves 'm'"),
        ("POST", "/v2/models/other/infer", 404, "unknown model 'other'"),
        ("POST", "/v2/models/m/versions/4/infer", 404, "unknown version '4' of 'm'; this server serves version '3'"),
        ("GET", "/v2/models/m/infer", 405, "infer takes POST, not GET"),
        ("DELETE", "/v2", 405, "server metadata takes GET, HEAD, not DELETE"),
        ("POST", "/v2/models/m/infer", 400, "the body is empty"),
    ],
)
async def test_every_error_is_json_that_names_the_fault(
    serve: Serve, method: str, path: str, status: int, error: str
) -> None:
    served = await serve(IDENTITY, version="3")
    async with served.client.request(method, served.url + path) as response:
        assert response.status == status
        assert error in (await response.json())["error"]
        assert (status == 405) == ("Allow" in response.headers)


async def test_a_versionless_model_has_no_versions(serve: Serve) -> None:
    served = await serve(IDENTITY)
    status, body = await served.infer(GOOD, "/v2/models/m/versions/1/infer")
    assert (status, body["error"]) == (404, "unknown version '1' of 'm'; this server serves no particular version")


async def test_a_request_that_does_not_fit_is_the_clients_error(serve: Serve) -> None:
    served = await serve(IDENTITY)
    bad = {"inputs": [{**GOOD["inputs"][0], "datatype": "FP64"}]}  # type: ignore[dict-item]
    status, body = await served.infer(bad)
    assert (status, body["error"]) == (400, "input 'x' has datatype 'FP64'; the model expects FP32 [-1, 2]")
    assert await served.metric("penstock_requests_rejected_total") == 1


async def test_a_model_that_fails_is_the_servers_error_in_the_runtimes_words(serve: Serve) -> None:
    served = await serve(onnx_models.lookup())
    status, body = await served.infer({"inputs": [{"name": "i", "shape": [1], "datatype": "INT64", "data": [3]}]})
    assert status == 500
    assert "Name:'Lookup' Status Message: indices element out of data bounds" in body["error"]


async def test_an_answer_that_is_not_a_number_is_the_servers_error(serve: Serve) -> None:
    served = await serve(onnx_models.logarithm())
    status, body = await served.infer({"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, -1]}]})
    assert (status, body) == (
        500,
        {
            "error": "the model failed: output 'y' holds NaN or an infinity, which JSON cannot carry; "
            "ask for it as binary data to see it"
        },
    )


async def test_a_run_that_takes_too_long_is_terminated(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=0.1, concurrency_max=1)
    status, body = await served.infer(LONG)
    assert (status, body["error"]) == (504, "no result within 0.1 s, waiting included; what ran was terminated")
    # The only turn there is comes back: the run has really ended.
    assert (await served.infer(SHORT))[0] == 200
    await eventually(lambda: served.admission.in_flight == 0)


async def test_time_spent_waiting_counts_too(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=0.2, concurrency_max=1)
    answers = await asyncio.gather(*(served.infer(LONG) for _ in range(3)))
    assert [status for status, _ in answers] == [504, 504, 504]
    assert served.admission.queued == 0
    await eventually(lambda: served.admission.in_flight == 0)


async def test_who_comes_when_the_queue_is_full_is_told_to_come_back(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=0.5, concurrency_max=1, queue_max=0)
    first = asyncio.ensure_future(served.infer(LONG))
    await eventually(lambda: served.admission.in_flight == 1)
    async with served.client.post(served.url + "/v2/models/m/infer", json=SHORT) as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "1"
        assert "overloaded: 1 requests run and 0 wait already" in (await response.json())["error"]
    assert (await first)[0] == 504


async def test_a_client_that_leaves_keeps_no_turn(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=0.3, concurrency_max=1)
    leaving = asyncio.ensure_future(served.infer(LONG))
    await eventually(lambda: served.admission.in_flight == 1)
    leaving.cancel()
    assert (await served.infer(SHORT))[0] in {200, 504}
    await eventually(lambda: served.admission.in_flight == 0)
    assert (await served.infer(SHORT))[0] == 200


async def test_a_body_over_the_limit_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_inference, "BODY_BYTES_MAX", 1000)
    served = await serve(IDENTITY)
    async with served.client.post(served.url + "/v2/models/m/infer", data=b"x" * 1001) as response:
        assert (response.status, await response.json()) == (413, {"error": "the body is larger than 1000 bytes"})


async def test_a_compressed_body_counts_by_its_real_size(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_inference, "BODY_BYTES_MAX", 1000)
    served = await serve(IDENTITY)
    headers = {"Content-Encoding": "gzip"}
    url = served.url + "/v2/models/m/infer"
    async with served.client.post(url, data=gzip.compress(json.dumps(GOOD).encode()), headers=headers) as response:
        assert response.status == 200
    async with served.client.post(url, data=gzip.compress(b" " * 10_000_000), headers=headers) as response:
        assert response.status == 413


async def test_a_body_that_is_not_as_compressed_as_it_says_is_the_clients_error(serve: Serve) -> None:
    served = await serve(IDENTITY)
    headers = {"Content-Encoding": "gzip"}
    async with served.client.post(served.url + "/v2/models/m/infer", data=b"nope", headers=headers) as response:
        assert response.status == 400
    assert served.errors == []


async def test_a_body_that_does_not_arrive_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_inference, "BODY_SECONDS_MAX", 0.05)
    served = await serve(IDENTITY)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\nContent-Length: 10\r\n\r\n{")
    assert b" 408 " in await reader.readline()
    writer.close()


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(serve: Serve) -> None:
    served = await serve(IDENTITY)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    body = json.dumps(GOOD).encode()
    writer.write(
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
    assert await reader.readline() == b"\r\n"
    writer.write(body)
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()


async def test_a_server_that_loads_is_live_and_not_ready(serve: Serve) -> None:
    served = await serve(None)
    for path, status in [("/v2/health/live", 200), ("/v2/health/ready", 503), ("/v2/models/m/ready", 503)]:
        async with served.client.get(served.url + path) as response:
            assert response.status == status
            body = await response.json()
            assert body.get("error") == (None if status == 200 else "the model is still loading")
            assert body.get("ready", False) is False
    for path, status in [("/healthz", 200), ("/readyz", 503), ("/metrics", 200)]:
        async with served.client.get(served.management_url + path) as response:
            assert response.status == status
    assert await served.infer(GOOD) == (503, {"error": "the model is still loading"})


async def test_a_server_that_drains_answers_on_and_sends_clients_away(serve: Serve) -> None:
    served = await serve(IDENTITY)
    async with served.client.post(served.url + "/v2/models/m/infer", json=GOOD) as response:
        assert "Connection" not in response.headers
    served.lifecycle.handle(Event.STOP_ASKED)
    async with served.client.post(served.url + "/v2/models/m/infer", json=GOOD) as response:
        assert (response.status, response.headers["Connection"]) == (200, "close")
    for url in (served.url + "/v2/health/ready", served.management_url + "/readyz"):
        async with served.client.get(url) as response:
            assert response.status == 503
            assert (await response.json())["error"] == "the server is shutting down"
    async with served.client.get(served.management_url + "/healthz") as response:
        assert response.status == 200


async def test_an_old_connection_is_closed_after_its_next_answer(serve: Serve) -> None:
    served = await serve(IDENTITY, max_connection_age_seconds=0.05)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as client:
        closed = []
        for _ in range(2):
            async with client.post(served.url + "/v2/models/m/infer", json=GOOD) as response:
                assert response.status == 200
                closed.append(response.headers.get("Connection"))
            await asyncio.sleep(0.06)
    assert closed == [None, "close"]


async def test_metrics_count_and_carry_the_labels_of_the_pod(serve: Serve) -> None:
    served = await serve(onnx_models.lookup(), version="3")
    for entries in ([0, 1, 2], [2], [9]):
        data = {"name": "i", "shape": [len(entries)], "datatype": "INT64", "data": entries}
        await served.infer({"inputs": [data]})
    pod = 'model="m",model_version="3",revision="m-1"'
    assert await served.metric(f'penstock_requests_total{{code="200",{pod}}}') == 2
    assert await served.metric(f'penstock_requests_total{{code="500",{pod}}}') == 1
    assert await served.metric(f"penstock_rows_total{{{pod}}}") == 4
    assert await served.metric(f"penstock_request_duration_seconds_count{{{pod}}}") == 3
    assert await served.metric(f"penstock_ready{{{pod}}}") == 1
    async with served.client.get(served.management_url + "/metrics") as response:
        series = [line for line in (await response.text()).splitlines() if not line.startswith("#")]
    assert all('revision="m-1"' in line and 'model_version="3"' in line for line in series)


async def test_no_label_comes_from_a_request(serve: Serve) -> None:
    served = await serve(IDENTITY)
    for number in range(5):
        await served.infer(GOOD, f"/v2/models/other-{number}/infer")
    assert await served.metric('penstock_requests_rejected_total{model="m",model_version="",reason="unknown') == 5


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405)])
async def test_the_management_port_answers_errors_in_json(serve: Serve, method: str, path: str, status: int) -> None:
    served = await serve(IDENTITY)
    async with served.client.request(method, served.management_url + path) as response:
        assert response.status == status
        assert "error" in await response.json()


async def test_a_mistake_of_ours_is_logged_and_answered(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = await serve(IDENTITY)

    def broken(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(served.inference, "answer_now", broken)
    assert await served.infer(GOOD) == (500, {"error": "internal error; the server's log says more"})
    assert served.errors == [{"event": "internal-error", "call": "infer", "error": "KeyError('oops')"}]


async def test_a_client_that_vanishes_in_the_middle_of_its_body_is_no_error_of_ours(serve: Serve) -> None:
    served = await serve(IDENTITY)
    _, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\nContent-Length: 10\r\n\r\n{")
    await writer.drain()
    raw: socket.socket = writer.get_extra_info("socket")
    assert raw.fileno() >= 0
    writer.close()
    await writer.wait_closed()
    assert (await served.infer(GOOD))[0] == 200
    assert served.errors == []
