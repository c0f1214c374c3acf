"""Many clients at once: everyone gets the answer to the own request, whatever the others send."""

import json
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.conformance.exchange import Target
from tests.conformance.grpc_exchange import infer, raw
from tests.conformance.subjects import Elsewhere, Running, Servers

CLIENTS, REQUESTS = 16, 12
_KEPT: dict[str, Running] = {}


@pytest.fixture(params=["one by one", "in batches"])
def target(request: pytest.FixtureRequest, _subject: Servers | Elsewhere) -> Target:
    """A server that runs each request by itself, and one that puts the rows of several into one run."""
    if request.param == "one by one" or isinstance(_subject, Elsewhere):
        return _subject.target("identity_fp32")
    if "batched" not in _KEPT:
        _KEPT["batched"] = _subject.start("identity_fp32", batching_max_rows=64, batching_max_delay_seconds=0.002)
    return _KEPT["batched"].target


def together(work: Callable[[int], None]) -> None:
    """Do it many times at once, each time with another number."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(work, number) for number in range(CLIENTS * REQUESTS)]:
            done.result()


def values_of(number: int) -> list[float]:
    """Values that no other request has, as many as one to five rows hold."""
    return [float(number * 100 + place) for place in range(2 * (1 + number % 5))]


def message_of(number: int) -> dict[str, Any]:
    values = values_of(number)
    tensor = {"name": "x", "shape": [len(values) // 2, 2], "datatype": "FP32", "data": values}
    return {"id": str(number), "inputs": [tensor]}


def ask_in_json(target: Target, number: int) -> None:
    answer = target.infer(message_of(number)).answer()
    assert (answer["id"], answer["outputs"][0]["data"]) == (str(number), values_of(number))


def ask_in_binary(target: Target, number: int) -> None:
    values = values_of(number)
    data = struct.pack(f"<{len(values)}f", *values)
    message = message_of(number)
    tensor = message["inputs"][0]
    del tensor["data"]
    tensor["parameters"] = {"binary_data_size": len(data)}
    message["parameters"] = {"binary_data_output": True}
    answer, found = target.infer_binary(message, data).tensors()
    assert (answer["id"], found) == (str(number), {"y": data})


def ask_over_grpc(target: Target, number: int) -> None:
    values = values_of(number)
    data = struct.pack(f"<{len(values)}f", *values)
    asked = raw(target, ("x", "FP32", [len(values) // 2, 2], data), id=str(number))
    answer = infer(target, asked)
    assert (answer.id, list(answer.raw_output_contents)) == (str(number), [data])


def ask_wrongly(target: Target, number: int) -> None:
    message = message_of(number)
    message["inputs"][0]["data"].pop()
    target.infer(json.dumps(message).encode()).error(400)


def ask_for_nothing(target: Target, _number: int) -> None:
    empty = {"name": "x", "shape": [0, 2], "datatype": "FP32", "data": []}
    assert target.infer({"inputs": [empty]}).answer()["outputs"][0]["shape"] == [0, 2]


ASKING = {
    "in JSON": [ask_in_json],
    "in binary": [ask_in_binary],
    "over gRPC": [ask_over_grpc],
    "in every way": [ask_in_json, ask_in_binary, ask_over_grpc, ask_wrongly, ask_for_nothing],
}


@pytest.mark.parametrize("ways", ASKING.values(), ids=ASKING)
def test_everybody_gets_the_own_answer(target: Target, ways: list[Callable[[Target, int], None]]) -> None:
    together(lambda number: ways[number % len(ways)](target, number))
