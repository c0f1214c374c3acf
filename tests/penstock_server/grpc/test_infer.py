"""ModelInfer: what goes in comes out, in the form in which it was asked."""

from typing import Any

import grpc
import numpy as np
import pytest
from onnx import ModelProto, helper
from tests.penstock_server import onnx_models
from tests.penstock_server.grpc.conftest import Serve, raw_input

from penstock_server.grpc_service.messages import CALLS, SERVICE
from penstock_server.grpc_service.tensors import FIELDS
from penstock_server.protocol import DTYPES, Array, InferRequest
from penstock_server.protocol.binary import encode_raw

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    "UINT8": [0, 255, 7],
    "UINT16": [0, 65535, 7],
    "UINT32": [0, 2**32 - 1, 7],
    "UINT64": [0, 2**64 - 1, 7],
    "INT8": [-128, 127, 7],
    "INT16": [-(2**15), 2**15 - 1, 7],
    "INT32": [-(2**31), 2**31 - 1, 7],
    "INT64": [-(2**63), 2**63 - 1, 7],
    "FP16": [1.5, -65504.0, 0.0],
    "FP32": [1.5, float(np.float32(0.1)), -0.0],
    "FP64": [1.5, 0.1, 5e-324],
    "BYTES": ["", "é", "a\0b"],
}


def on_wire(datatype: str, value: Any) -> Any:
    return value.encode() if datatype == "BYTES" else value


@pytest.mark.parametrize("datatype", sorted(VALUES))
async def test_raw_tensors_of_every_datatype_come_back_raw(serve: Serve, datatype: str) -> None:
    served = await serve(onnx_models.identity(datatype, [None]))
    raw = encode_raw(np.array(VALUES[datatype], DTYPES[datatype]), datatype)
    answer = await served.call(
        "ModelInfer",
        model_name="m",
        inputs=[{"name": "x", "datatype": datatype, "shape": [3]}],
        raw_input_contents=[raw],
    )
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, [3])
    assert not output.HasField("contents")
    assert list(answer.raw_output_contents) == [raw]


@pytest.mark.parametrize("datatype", sorted(FIELDS))
async def test_typed_tensors_of_every_datatype_come_back_typed(serve: Serve, datatype: str) -> None:
    served = await serve(onnx_models.identity(datatype, [None]))
    values = [on_wire(datatype, value) for value in VALUES[datatype]]
    tensor = {"name": "x", "datatype": datatype, "shape": [3], "contents": {FIELDS[datatype]: values}}
    answer = await served.call("ModelInfer", model_name="m", inputs=[tensor])
    (output,) = answer.outputs
    assert list(getattr(output.contents, FIELDS[datatype])) == values
    assert not answer.raw_output_contents


async def test_a_typed_request_is_answered_raw_where_an_output_has_no_typed_form(serve: Serve) -> None:
    half = onnx_models.model(
        [helper.make_node("Cast", ["x"], ["y"], to=onnx_models.ONNX_TYPES["FP16"])],
        [onnx_models.tensor("x", "FP32", [None])],
        [onnx_models.tensor("y", "FP16", [None])],
    )
    served = await serve(half)
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "contents": {"fp32_contents": [1, 0.5]}}
    answer = await served.call("ModelInfer", model_name="m", inputs=[tensor])
    assert [output.datatype for output in answer.outputs] == ["FP16"]
    assert list(answer.raw_output_contents) == [np.array([1, 0.5], np.float16).tobytes()]


@pytest.mark.parametrize("shape", [(0, 2), (1, 2), (5, 2)], ids=str)
async def test_a_batch_may_have_any_number_of_rows_and_none(serve: Serve, shape: tuple[int, ...]) -> None:
    served = await serve(onnx_models.identity("FP32", [None, 2]))
    array = np.arange(shape[0] * 2, dtype=np.float32).reshape(shape)
    answer = await served.call("ModelInfer", **raw_input("x", "FP32", array))
    assert list(answer.outputs[0].shape) == list(shape)
    assert answer.raw_output_contents[0] == array.tobytes()
    assert served.metric("penstock_rows_total") == shape[0]


async def test_nan_and_infinities_are_kept(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    array = np.array([np.nan, np.inf, -np.inf], np.float32)
    answer = await served.call("ModelInfer", **raw_input("x", "FP32", array))
    assert answer.raw_output_contents[0] == array.tobytes()


async def test_an_id_comes_back_and_so_does_the_version(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None]), version="3")
    asked = raw_input("x", "FP32", np.ones(1, np.float32))
    answer = await served.call("ModelInfer", **asked, id="a id\n'é", model_version="3")
    assert (answer.id, answer.model_name, answer.model_version) == ("a id\n'é", "m", "3")
    assert (await served.call("ModelInfer", **asked)).id == ""


async def test_only_the_outputs_that_are_asked_for_come_in_that_order(serve: Serve) -> None:
    served = await serve(onnx_models.sum_and_difference())
    one = np.ones((1, 2), np.float32)
    asked: dict[str, Any] = {
        "model_name": "m",
        "inputs": [{"name": name, "datatype": "FP32", "shape": [1, 2]} for name in "ba"],
        "raw_input_contents": [(3 * one).tobytes(), one.tobytes()],
    }
    both = await served.call("ModelInfer", **asked)
    assert [output.name for output in both.outputs] == ["sum", "difference"]
    turned = await served.call("ModelInfer", **asked, outputs=[{"name": "difference"}, {"name": "sum"}])
    assert [output.name for output in turned.outputs] == ["difference", "sum"]
    assert list(turned.raw_output_contents) == [(-2 * one).tobytes(), (4 * one).tobytes()]
    single = await served.call("ModelInfer", **asked, outputs=[{"name": "sum"}])
    assert list(single.raw_output_contents) == [(4 * one).tobytes()]


async def test_a_large_tensor_goes_both_ways(serve: Serve) -> None:
    served = await serve(onnx_models.identity("FP32", [None, 1024]))
    array = np.random.default_rng(1).random((1500, 1024), np.float32)  # 6 MB: more than gRPC takes by default
    await served.reconnect(("grpc.max_receive_message_length", -1))
    answer = await served.call("ModelInfer", **raw_input("x", "FP32", array))
    assert answer.raw_output_contents[0] == array.tobytes()


LARGE = {
    "BOOL": [True, False],
    "FP16": [1.5, float("nan")],
    "FP64": [1.5, -0.0],
    "UINT8": [0, 255],
    "BYTES": ["", "é", "some longer text"],
}


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip], ids=["plain", "compressed"])
@pytest.mark.parametrize("datatype", sorted(LARGE))
async def test_large_tensors_are_the_same_as_small_ones(
    serve: Serve, datatype: str, compression: grpc.Compression | None
) -> None:
    served = await serve(three_of(datatype))
    one = np.resize(np.array(LARGE[datatype], DTYPES[datatype]), 40_001)
    raw = [encode_raw(array, datatype) for array in (one, one[::-1], one[:1])]
    asked, answered = CALLS["ModelInfer"]
    method = served.channel.unary_unary(
        f"/{SERVICE}/ModelInfer", request_serializer=asked.SerializeToString, response_deserializer=answered.FromString
    )
    inputs = [
        {"name": name, "datatype": datatype, "shape": [size]} for name, size in (("a", 40_001), ("b", 40_001), ("c", 1))
    ]
    message = asked(model_name="m", id="7", inputs=inputs, raw_input_contents=raw, outputs=[{"name": n} for n in "xyz"])
    answer = await method(message, compression=compression)
    assert [output.name for output in answer.outputs] == ["x", "y", "z"]
    assert list(answer.raw_output_contents) == raw
    assert answer.id == "7"


def three_of(datatype: str) -> ModelProto:
    """Three inputs that come back."""
    names = (("a", "x"), ("b", "y"), ("c", "z"))
    return onnx_models.model(
        [helper.make_node("Identity", [name], [other]) for name, other in names],
        [onnx_models.tensor(name, datatype, [None]) for name, _ in names],
        [onnx_models.tensor(other, datatype, [None]) for _, other in names],
    )


async def test_parameters_of_every_kind_are_taken(serve: Serve) -> None:
    seen: list[InferRequest] = []

    class Noting:
        def observe(self, request: InferRequest, outputs: list[Array]) -> None:
            assert [output.tolist() for output in outputs] == [[1.0]]
            seen.append(request)

    served = await serve(onnx_models.identity("FP32", [None]), observers=[Noting()])
    parameters = {
        "a": {"bool_param": True},
        "b": {"int64_param": -1},
        "c": {"string_param": "é"},
        "d": {"double_param": 0.5},
        "e": {"uint64_param": 2**63},
        "timeout": {"int64_param": 2_000_000},
    }
    await served.call("ModelInfer", **raw_input("x", "FP32", np.ones(1, np.float32)), parameters=parameters)
    (request,) = seen
    assert request.parameters == {"a": True, "b": -1, "c": "é", "d": 0.5, "e": 2**63, "timeout": 2_000_000}
    assert request.timeout_seconds == 2.0


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
async def test_the_largest_values_come_as_text_where_they_are_asked_for(serve: Serve, raw: bool) -> None:  # noqa: FBT001
    served = await serve(onnx_models.identity("FP32", [None, 3]))
    array = np.array([[0.25, 0.5, 0.125]], np.float32)
    asked = raw_input("x", "FP32", array)
    if not raw:
        del asked["raw_input_contents"]
        asked["inputs"][0]["contents"] = {"fp32_contents": array[0].tolist()}
    wanted = [{"name": "y", "parameters": {"classification": {"int64_param": 2}}}]
    answer = await served.call("ModelInfer", **asked, outputs=wanted)
    (output,) = answer.outputs
    texts = [b"0.500000:1", b"0.250000:0"]
    assert (output.datatype, list(output.shape)) == ("BYTES", [1, 2])
    if raw:
        assert answer.raw_output_contents[0] == b"".join(len(one).to_bytes(4, "little") + one for one in texts)
    else:
        assert list(output.contents.bytes_contents) == texts
