"""Calls that a router has copied: their answers are kept for the comparison, and nobody else's."""

import asyncio

import grpc
import numpy as np
from tests.penstock_server import onnx_models
from tests.penstock_server.grpc.conftest import Serve, Served, raw_input

from penstock_contract.outputs import PAIR_HEADER, Output
from penstock_server.grpc_service.messages import CALLS, SERVICE


async def ask(served: Served, values: list[float], *, pair: str = "", name: str = "x") -> grpc.StatusCode:
    """Send a row for each value; return how the call ended."""
    asked, answered = CALLS["ModelInfer"]
    method = served.channel.unary_unary(
        f"/{SERVICE}/ModelInfer", request_serializer=asked.SerializeToString, response_deserializer=answered.FromString
    )
    metadata = ((PAIR_HEADER, pair),) if pair else ()
    call = method(asked(**raw_input(name, "FP32", np.array(values, np.float32))), metadata=metadata, timeout=10)
    return await call.code()


async def test_the_answer_to_a_copied_call_is_kept(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    assert await ask(served, [1.5], pair="one") is grpc.StatusCode.OK
    (sample,) = served.noted.take(0).samples().samples
    assert (sample.pair, sample.outputs) == ("one", (Output(name="y", scores=(1.5,)),))
    assert 0 < sample.seconds < 5
    assert served.metric('penstock_requests_total{code="200"') == 1


async def test_the_answers_to_other_calls_are_not(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    for _ in range(3):
        assert await ask(served, [1.0]) is grpc.StatusCode.OK
    assert served.noted.take(0).samples().samples == ()


async def test_a_copied_call_that_fails_ends_as_any_other_and_leaves_nothing(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    for pair in ("", "two"):
        assert await ask(served, [1.0], pair=pair, name="unknown") is grpc.StatusCode.INVALID_ARGUMENT
    assert served.noted.take(0).samples().samples == ()
    assert served.metric('penstock_requests_total{code="400"') == 2


async def test_both_sides_keep_the_same_row_of_a_call_with_many(serve: Serve) -> None:
    rows = [float(number) for number in range(50)]
    kept = []
    for _ in range(2):
        served = await serve(onnx_models.identity("FP32", [None]))
        await ask(served, rows, pair="many")
        (sample,) = served.noted.take(0).samples().samples
        kept.append(sample.outputs)
    assert kept[0] == kept[1]


async def test_what_is_no_pair_of_a_router_is_answered_and_not_kept(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    assert await ask(served, [1.0], pair="x" * 65) is grpc.StatusCode.OK
    assert served.noted.take(0).samples().samples == ()


async def test_many_copied_calls_at_once_are_all_answered(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]), concurrency_max=2, queue_max=64)
    ended = await asyncio.gather(*(ask(served, [float(n)], pair=f"pair-{n}") for n in range(50)))
    assert set(ended) == {grpc.StatusCode.OK}
    assert len(served.noted.take(0).samples().samples) == 50
