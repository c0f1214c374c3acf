"""What cannot be answered: the code, the words, and how it is counted."""

import asyncio
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from grpc import StatusCode
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import eventually
from tests.penstock_server.grpc.conftest import FOR_EVER, Serve, raw_input, rounds

from penstock_server.grpc_service.messages import SERVICE, ModelInferRequest
from penstock_server.grpc_service.request import MessageDecoder
from penstock_server.protocol import BadRequest, RequestDecoder, TensorSpec

ONE = np.ones((1, 2), np.float32)
GOOD = raw_input("x", "FP32", ONE)
X = {"name": "x", "datatype": "FP32", "shape": [1, 2]}


def with_input(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "inputs": [{**X, **changes}]}


def typed(**tensor: Any) -> dict[str, Any]:
    return {"model_name": "m", "inputs": [{**X, **tensor}]}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no model name": ({**GOOD, "model_name": ""}, "'model_name' is empty; this server serves 'm'"),
    "no inputs": ({"model_name": "m"}, "input 'x' is missing; the model needs 'x' (FP32 [-1, 2])"),
    "no name": (with_input(name=""), "inputs[0] has no 'name'"),
    "unknown input": (with_input(name="z"), "the model has no input 'z'; it has 'x' (FP32 [-1, 2])"),
    "input twice": (
        {"model_name": "m", "inputs": [X, X], "raw_input_contents": [ONE.tobytes()] * 2},
        "input 'x' is given twice",
    ),
    "no datatype": (with_input(datatype=""), "input 'x' has no datatype; the model expects FP32 [-1, 2]"),
    "wrong datatype": (with_input(datatype="FP64"), "input 'x' has datatype 'FP64'; the model expects FP32 [-1, 2]"),
    "wrong shape": (with_input(shape=[2, 1]), "input 'x' has shape [2, 1]; the model expects [-1, 2] (-1: any size)"),
    "wrong rank": (with_input(shape=[2]), "input 'x' has shape [2]; the model expects [-1, 2] (-1: any size)"),
    "negative size": (with_input(shape=[-1, 2]), "input 'x': 'shape' must hold whole numbers from 0, not -1"),
    "huge shape": (
        with_input(shape=[1 << 62, 2]),
        "input 'x' has 8 bytes of binary data; shape [4611686018427387904, 2] of FP32 needs 36893488147419103232",
    ),
    "too few bytes": (
        {**GOOD, "raw_input_contents": [b"1234567"]},
        "input 'x' has 7 bytes of binary data; shape [1, 2] of FP32 needs 8",
    ),
    "more raw tensors than inputs": (
        {**GOOD, "raw_input_contents": [ONE.tobytes()] * 2},
        "raw_input_contents has 2 entries for 1 inputs; send one for each input, in their order, or none at all",
    ),
    "raw and typed": (
        {**typed(contents={"fp32_contents": [1, 2]}), "raw_input_contents": [ONE.tobytes()]},
        "input 'x' has both contents and an entry in raw_input_contents; send one of them",
    ),
    "no elements": (typed(), "input 'x': fp32_contents has 0 elements; shape [1, 2] needs 2"),
    "too few elements": (
        typed(contents={"fp32_contents": [1]}),
        "input 'x': fp32_contents has 1 elements; shape [1, 2] needs 2",
    ),
    "elements in a wrong field": (
        typed(contents={"fp64_contents": [1, 2]}),
        "input 'x' has elements in fp64_contents; those of FP32 belong in fp32_contents",
    ),
    "unknown output": ({**GOOD, "outputs": [{"name": "z"}]}, "the model has no output 'z'; it has 'y' (FP32 [-1, 2])"),
    "output without a name": ({**GOOD, "outputs": [{}]}, "outputs[0] has no 'name'"),
    "output twice": ({**GOOD, "outputs": [{"name": "y"}] * 2}, "output 'y' is asked for twice"),
    "a classification that is none": (
        {**GOOD, "outputs": [{"name": "y", "parameters": {"classification": {"int64_param": -1}}}]},
        "output 'y': 'classification' must be a whole number from 1, not -1",
    ),
    "shared memory": (
        with_input(parameters={"shared_memory_region": {"string_param": "r"}}),
        "input 'x': this server shares no memory with its clients; send the elements in the message",
    ),
    "a parameter without a value": (
        {**GOOD, "parameters": {"p": {}}},
        "parameter 'p' of the request has no value",
    ),
    "a timeout that is none": (
        {**GOOD, "parameters": {"timeout": {"string_param": "1s"}}},
        "parameter 'timeout' must be a whole number of microseconds from 0, not a string",
    ),
}


@pytest.mark.parametrize("fault", BAD)
async def test_a_request_that_does_not_fit_is_invalid(serve: Serve, fault: str) -> None:
    served = await serve(onnx_models.identity("FP32", [None, 2]))
    fields, message = BAD[fault]
    assert await served.fails("ModelInfer", **fields) == (StatusCode.INVALID_ARGUMENT, message)
    assert served.metric('penstock_requests_total{code="400"') == 1
    assert served.metric('penstock_requests_rejected_total{model="m",model_version="",reason="bad_request"') == 1


@pytest.mark.parametrize(
    ("datatype", "contents", "message"),
    [
        ("FP16", {"fp32_contents": [1]}, "FP16 has no typed contents; send its elements in raw_input_contents"),
        ("INT8", {"int_contents": [-129]}, "int_contents holds -129, which does not fit INT8"),
        ("UINT16", {"uint_contents": [65536]}, "uint_contents holds 65536, which does not fit UINT16"),
        ("BYTES", {"bytes_contents": [b"\xff"]}, "element 0 of BYTES is not UTF-8, which string tensors hold"),
    ],
)
async def test_typed_elements_that_do_not_fit_are_invalid(
    serve: Serve, datatype: str, contents: dict[str, Any], message: str
) -> None:
    served = await serve(onnx_models.identity(datatype, [None]))
    tensor = {"name": "x", "datatype": datatype, "shape": [1], "contents": contents}
    code, said = await served.fails("ModelInfer", model_name="m", inputs=[tensor])
    assert code is StatusCode.INVALID_ARGUMENT
    assert message in said


SPEC = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
IN_JSON = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}


@pytest.mark.parametrize(
    "message",
    [
        {"inputs": []},
        {"inputs": [{**IN_JSON, "name": "z"}]},
        {"inputs": [IN_JSON, IN_JSON]},
        {"inputs": [{**IN_JSON, "datatype": "INT8"}]},
        {"inputs": [{**IN_JSON, "shape": [1, 3]}]},
        {"inputs": [IN_JSON], "outputs": [{"name": "z"}]},
        {"inputs": [IN_JSON], "outputs": [{"name": "y"}, {"name": "y"}]},
    ],
    ids=lambda message: str(message)[:60],
)
def test_the_same_fault_has_the_same_words_as_over_rest(message: dict[str, Any]) -> None:
    output = TensorSpec(name="y", datatype="FP32", shape=(-1, 2))
    with pytest.raises(BadRequest) as over_rest:
        RequestDecoder([SPEC], [output]).decode(orjson.dumps(message))
    wire = ModelInferRequest(
        inputs=[
            {**{key: value for key, value in tensor.items() if key != "data"}, "contents": {"fp32_contents": [1, 2]}}
            for tensor in message["inputs"]
        ],
        outputs=message.get("outputs", []),
    )
    with pytest.raises(BadRequest) as over_grpc:
        MessageDecoder([SPEC], [output]).decode(wire, seconds_max=None)
    assert str(over_grpc.value) == str(over_rest.value)


@pytest.mark.parametrize("call", ["ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"])
async def test_unknown_models_and_versions_are_not_found(serve: Serve, call: str) -> None:
    served = await serve(onnx_models.identity("FP32", [None]), version="3")
    name, version = ("model_name", "model_version") if call == "ModelInfer" else ("name", "version")
    other: dict[str, Any] = {name: "other"}
    unknown = "unknown model 'other'; this server serves 'm'"
    assert await served.fails(call, **other) == (StatusCode.NOT_FOUND, unknown)
    other = {name: "m", version: "4"}
    unknown = "unknown version '4' of 'm'; this server serves version '3'"
    assert await served.fails(call, **other) == (StatusCode.NOT_FOUND, unknown)


async def test_what_is_not_a_message_is_invalid(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    for call in ("ModelInfer", "ModelReady"):
        with pytest.raises(grpc.aio.AioRpcError, match=f"the message is not a {call}Request") as caught:
            await served.start_bytes(f"/{SERVICE}/{call}", b"\xff\xff\xff")
        assert caught.value.code() is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("call", ["RepositoryModelLoad", "ModelStreamInfer", "Frobnicate"])
async def test_calls_that_are_not_there_are_told_with_those_that_are(serve: Serve, call: str) -> None:
    served = await serve(None)
    with pytest.raises(grpc.aio.AioRpcError, match=f"there is no call '/{SERVICE}/{call}'; this server has") as caught:
        await served.start_bytes(f"/{SERVICE}/{call}", b"")
    assert caught.value.code() is StatusCode.UNIMPLEMENTED


async def test_while_the_model_loads_calls_are_told_to_come_back(serve: Serve) -> None:
    served = await serve(None)
    call = served.start("ModelInfer", **GOOD)
    assert (await call.code(), await call.details()) == (StatusCode.UNAVAILABLE, "the model is still loading")
    assert dict(await call.trailing_metadata()) == {"grpc-retry-pushback-ms": "1000"}
    assert await served.fails("ModelMetadata", name="m") == (StatusCode.UNAVAILABLE, "the model is still loading")
    assert served.metric('penstock_requests_total{code="503"') == 1


async def test_a_message_over_the_limit_is_refused(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    code, message = await served.fails(
        "ModelInfer", **raw_input("x", "FP32", np.zeros(32 * 1024 * 1024 // 4 + 1, np.float32))
    )
    assert code is StatusCode.RESOURCE_EXHAUSTED
    assert message == "the message is larger than 33554432 bytes"


async def test_when_too_many_wait_calls_are_turned_away(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), concurrency_max=1, queue_max=0)
    running = served.start("ModelInfer", **rounds(FOR_EVER))
    await eventually(lambda: served.admission.in_flight == 1)
    call = served.start("ModelInfer", **rounds(1))
    assert await call.code() is StatusCode.RESOURCE_EXHAUSTED
    assert await call.details() == "overloaded: 1 requests run and 0 wait already; try again later"
    assert dict(await call.trailing_metadata()) == {"grpc-retry-pushback-ms": "1000"}
    running.cancel()
    await eventually(lambda: served.admission.in_flight == 0)


async def test_a_run_ends_at_the_server_s_time(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=0.05)
    code, message = await served.fails("ModelInfer", **rounds(FOR_EVER))
    assert code is StatusCode.DEADLINE_EXCEEDED
    assert message == "no result within 0.05 s, waiting included; what ran was terminated"
    assert served.metric('penstock_requests_total{code="504"') == 1
    await eventually(lambda: served.admission.in_flight == 0)


async def test_a_run_ends_at_the_client_s_time_where_that_comes_first(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=3600)
    code, _ = await served.fails("ModelInfer", 0.1, **rounds(FOR_EVER))
    assert code is StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: served.admission.in_flight == 0)
    assert served.metric('penstock_requests_total{code="504"') == 1


async def test_the_timeout_of_a_request_is_a_time_too(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=3600)
    asked = {**rounds(FOR_EVER), "parameters": {"timeout": {"int64_param": 50_000}}}
    code, message = await served.fails("ModelInfer", **asked)
    assert code is StatusCode.DEADLINE_EXCEEDED
    assert message == "no result within 0.05 s, waiting included; what ran was terminated"


async def test_a_client_that_gives_up_ends_its_run(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=3600)
    call = served.start("ModelInfer", **rounds(FOR_EVER))
    await eventually(lambda: served.admission.in_flight == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: served.admission.in_flight == 0)
    assert served.metric('penstock_requests_total{code="499"') == 1
    assert served.errors == []


async def test_a_client_that_goes_away_ends_its_run(serve: Serve) -> None:
    served = await serve(onnx_models.counter(), timeout_seconds=3600)
    call = served.start("ModelInfer", **rounds(FOR_EVER))
    await eventually(lambda: served.admission.in_flight == 1)
    await served.reconnect()
    assert call.done()
    await eventually(lambda: served.admission.in_flight == 0)


async def test_a_model_that_fails_is_an_internal_error(serve: Serve) -> None:
    served = await serve(onnx_models.lookup())
    code, message = await served.fails("ModelInfer", **raw_input("i", "INT64", np.array([3])))
    assert code is StatusCode.INTERNAL
    assert message.startswith("the model failed: ")
    assert served.metric('penstock_requests_total{code="500"') == 1
    assert served.errors == []


async def test_a_mistake_of_ours_is_an_internal_error_and_a_line_in_the_log(serve: Serve) -> None:
    class Broken:
        def observe(self, *_: object) -> None:
            raise ZeroDivisionError

    served = await serve(onnx_models.identity("FP32", [None, 2]), observers=[Broken()])
    code, message = await served.fails("ModelInfer", **GOOD)
    assert (code, message) == (StatusCode.INTERNAL, "internal error; the server's log says more")
    assert served.errors == [
        {"event": "internal-error", "path": f"/{SERVICE}/ModelInfer", "error": "ZeroDivisionError()"}
    ]
    assert served.metric('penstock_requests_total{code="500"') == 1


async def test_a_long_message_is_cut_and_not_lost(serve: Serve) -> None:
    served = await serve(None)
    code, message = await served.fails("ModelReady", name="é" * 10_000)
    assert code is StatusCode.NOT_FOUND
    assert message.startswith("unknown model 'éé")
    assert message.endswith("…")
