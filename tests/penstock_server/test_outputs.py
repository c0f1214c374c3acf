"""Answers to copied requests are noted, whichever way the request took, and told on the management port."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import Serve, Served

from penstock_contract.outputs import PAIR_HEADER, PATH, Output, Samples, parse
from penstock_server.connections import Connections

IDENTITY = onnx_models.identity("FP32", [None, 2])
GOOD = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}]}'
BAD = b'{"inputs": []}'


async def infer(served: Served, pair: str = "", body: Any = GOOD) -> int:
    headers = {PAIR_HEADER: pair} if pair else {}
    async with served.client.post(served.url + "/v2/models/m/infer", data=body, headers=headers) as response:
        await response.read()
        return response.status


async def told(served: Served, after: int = 0) -> Samples:
    async with served.client.get(f"{served.management_url}{PATH}?after={after}") as response:
        assert response.status == 200
        return parse(await response.read())


async def in_pieces() -> AsyncIterator[bytes]:
    yield GOOD[:10]
    yield GOOD[10:]


async def test_the_answer_to_a_copied_request_is_noted_with_its_time_and_others_are_not(serve: Serve) -> None:
    served = await serve(IDENTITY)
    assert [await infer(served), await infer(served, "pair-1"), await infer(served)] == [200, 200, 200]
    (sample,) = (await told(served)).samples
    assert sample.pair == "pair-1"
    assert sample.outputs == (Output(name="y", scores=(1.0, 2.5)),)
    assert 0 < sample.seconds < 5


async def test_a_request_that_arrives_in_pieces_is_noted_too(serve: Serve) -> None:
    served = await serve(IDENTITY)
    assert await infer(served, "pair-1", in_pieces()) == 200
    assert [sample.pair for sample in (await told(served)).samples] == ["pair-1"]


async def test_a_request_that_is_refused_is_answered_as_ever_and_not_noted(serve: Serve) -> None:
    served = await serve(IDENTITY)
    assert await infer(served, "pair-1", BAD) == await infer(served, "", BAD) == 400
    assert (await told(served)).samples == ()
    loading = await serve(None)
    assert await infer(loading, "pair-1") == 503


async def test_what_was_read_is_not_told_again(serve: Serve) -> None:
    served = await serve(IDENTITY)
    await infer(served, "pair-1")
    first = await told(served)
    await infer(served, "pair-2")
    second = await told(served, first.seq)
    assert [sample.pair for sample in second.samples] == ["pair-2"]
    assert second.boot_id == first.boot_id


async def test_headers_with_a_pair_do_not_push_out_those_that_come_again(serve: Serve) -> None:
    served = await serve(IDENTITY)
    connections = served.model_server._connections
    assert isinstance(connections, Connections)
    await infer(served)
    known = len(connections._heads)
    for number in range(5):
        await infer(served, f"pair-{number}")
    assert known == len(connections._heads) == 1


async def test_who_read_another_life_of_the_pod_is_told_everything(serve: Serve) -> None:
    served = await serve(IDENTITY)
    await infer(served, "pair-1")
    async with served.client.get(f"{served.management_url}{PATH}?after=100&boot=another") as response:
        assert [sample.pair for sample in parse(await response.read()).samples] == ["pair-1"]


@pytest.mark.parametrize("after", ["-1", "x", "", "9" * 30])
async def test_a_place_to_read_from_that_is_no_number_is_refused(serve: Serve, after: str) -> None:
    served = await serve(IDENTITY)
    async with served.client.get(f"{served.management_url}{PATH}?after={after}") as response:
        assert response.status == 400
        assert "after must be the seq" in (await response.json())["error"]


async def test_clients_cannot_read_what_was_noted_on_the_port_of_the_model(serve: Serve) -> None:
    served = await serve(IDENTITY)
    async with served.client.get(served.url + PATH) as response:
        assert response.status == 404
