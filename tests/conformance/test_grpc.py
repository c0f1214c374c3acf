"""The same protocol over gRPC: raw and typed contents, codes, health and reflection."""

import contextlib
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tests.conformance.exchange import TIMEOUT_SECONDS, Target
from tests.conformance.grpc_exchange import Refused, call, channel_to, infer, raw, request, send
from tests.conformance.subjects import Running, free_port
from tests.conformance.values import DATATYPES

from penstock_server.grpc_service.messages import SERVICE

Served = Callable[[str], Target]
Start = Callable[..., Running]
DATATYPE = pytest.mark.parametrize("datatype", DATATYPES)
#: Half precision has no typed contents.
TYPED = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
CODE = grpc.StatusCode
PAIR = struct.pack("<2f", 1.5, -2.0)
LONG = struct.pack("<q", 2_000_000_000)


def refusal(target: Target, name: str, message: Any = None, **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call(target, name, message, **more)
    assert caught.value.details.strip()
    return caught.value


def refused(target: Target, asked: Any, *codes: grpc.StatusCode, timeout: float = 0) -> str:
    error = refusal(target, "ModelInfer", body=asked.SerializeToString(), timeout=timeout)
    assert error.code in codes, error
    return error.details


def typed(target: Target, datatype: str, shape: list[int], values: list[Any]) -> Any:
    asked = request(target)
    tensor = asked.inputs.add(name="x", datatype=datatype, shape=shape)
    values = [one.encode() if isinstance(one, str) else one for one in values]
    getattr(tensor.contents, TYPED[datatype]).extend(values)
    return asked


def elements(answer: Any) -> list[bytes]:
    """The elements of each output as bytes, in whichever of the two forms they came."""
    if answer.raw_output_contents:
        return list(answer.raw_output_contents)
    found = []
    for output in answer.outputs:
        assert output.datatype in TYPED, "half precision has no other form than raw"
        found.append(DATATYPES[output.datatype].encode(list(getattr(output.contents, TYPED[output.datatype]))))
    return found


def identity(served: Served, datatype: str) -> Target:
    return served(f"identity_{datatype.lower()}")


@pytest.mark.parametrize(("name", "field"), [("ServerLive", "live"), ("ServerReady", "ready")])
def test_a_server_that_serves_is_live_and_ready(fp32: Target, name: str, field: str) -> None:
    assert getattr(call(fp32, name), field) is True


@pytest.mark.parametrize("version", ["", "3"], ids=["without a version", "with one"])
def test_a_model_that_is_served_is_ready(fp32: Target, version: str) -> None:
    wanted = fp32.version if version else ""
    assert call(fp32, "ModelReady", {"name": fp32.model, "version": wanted}).ready is True


def test_the_server_says_its_name_its_version_and_its_extensions(fp32: Target) -> None:
    answer = call(fp32, "ServerMetadata")
    assert answer.name
    assert answer.version


@DATATYPE
def test_metadata_is_that_of_the_model(served: Served, datatype: str) -> None:
    target = identity(served, datatype)
    answer = call(target, "ModelMetadata", {"name": target.model})
    [x], [y] = answer.inputs, answer.outputs
    assert (answer.name, bool(answer.platform)) == (target.model, True)
    assert (x.name, x.datatype, list(x.shape)) == ("x", datatype, [-1, 2])
    assert (y.name, y.datatype, list(y.shape)) == ("y", datatype, [-1, 2])


def test_metadata_lists_the_version(fp32: Target) -> None:
    assert list(call(fp32, "ModelMetadata", {"name": fp32.model}).versions) == [fp32.version]


@pytest.mark.parametrize("name", ["ModelReady", "ModelMetadata"])
@pytest.mark.parametrize("what", ["model", "version"])
def test_what_is_unknown_is_not_found(fp32: Target, name: str, what: str) -> None:
    message = {"name": "unknown"} if what == "model" else {"name": fp32.model, "version": "99"}
    assert refusal(fp32, name, message).code is CODE.NOT_FOUND


@DATATYPE
def test_raw_contents_come_back_as_they_were_sent(served: Served, datatype: str) -> None:
    target = identity(served, datatype)
    data = DATATYPES[datatype].encode(DATATYPES[datatype].values)
    answer = infer(target, raw(target, ("x", datatype, [2, 2], data)))
    [output] = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, [2, 2])
    assert elements(answer) == [data]


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_come_back_as_they_were_sent(served: Served, datatype: str) -> None:
    target, wanted = identity(served, datatype), DATATYPES[datatype]
    answer = infer(target, typed(target, datatype, [2, 2], list(wanted.values)))
    [output] = answer.outputs
    assert (output.datatype, list(output.shape)) == (datatype, [2, 2])
    assert elements(answer) == [wanted.encode(wanted.values)]


@DATATYPE
def test_a_batch_of_no_rows_has_an_answer_of_no_rows(served: Served, datatype: str) -> None:
    target = identity(served, datatype)
    answer = infer(target, raw(target, ("x", datatype, [0, 2], b"")))
    assert list(answer.outputs[0].shape) == [0, 2]
    assert b"".join(answer.raw_output_contents) == b""


@DATATYPE
@pytest.mark.parametrize("change", ["one byte less", "one byte more"])
def test_raw_contents_that_do_not_fit_the_shape_are_refused(served: Served, datatype: str, change: str) -> None:
    target = identity(served, datatype)
    data = DATATYPES[datatype].encode(DATATYPES[datatype].values)
    data = data[:-1] if change == "one byte less" else data + b"\0"
    assert "x" in refused(target, raw(target, ("x", datatype, [2, 2], data)), CODE.INVALID_ARGUMENT)


@pytest.mark.parametrize("datatype", TYPED)
@pytest.mark.parametrize("count", [0, 3, 5])
def test_typed_contents_of_another_number_are_refused(served: Served, datatype: str, count: int) -> None:
    target = identity(served, datatype)
    values = [*DATATYPES[datatype].values, DATATYPES[datatype].values[0]][:count]
    refused(target, typed(target, datatype, [2, 2], values), CODE.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    ("datatype", "value"), [("UINT8", 256), ("UINT16", 65536), ("INT8", 128), ("INT8", -129), ("INT16", 32768)]
)
def test_a_typed_value_beyond_its_datatype_is_refused(served: Served, datatype: str, value: int) -> None:
    target = identity(served, datatype)
    refused(target, typed(target, datatype, [1, 2], [0, value]), CODE.INVALID_ARGUMENT)


def test_typed_contents_of_another_field_are_refused(served: Served) -> None:
    target = identity(served, "FP32")
    asked = request(target)
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp64_contents.extend([1, 2])
    refused(target, asked, CODE.INVALID_ARGUMENT)


def test_half_precision_as_typed_contents_is_refused_with_advice(served: Served) -> None:
    target = identity(served, "FP16")
    asked = request(target)
    asked.inputs.add(name="x", datatype="FP16", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
    assert "raw" in refused(target, asked, CODE.INVALID_ARGUMENT)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0])
def test_what_json_cannot_say_passes_unchanged(fp32: Target, value: float) -> None:
    data = struct.pack("<2f", value, 1.0)
    assert elements(infer(fp32, raw(fp32, ("x", "FP32", [1, 2], data)))) == [data]


@pytest.mark.parametrize("name", ["1", "ünïcode ✓", "x" * 4000])
def test_an_id_is_echoed_as_it_is(fp32: Target, name: str) -> None:
    assert infer(fp32, raw(fp32, ("x", "FP32", [1, 2], PAIR), id=name)).id == name


def test_the_answer_says_which_model_and_version_it_is_from(fp32: Target) -> None:
    answer = infer(fp32, raw(fp32, ("x", "FP32", [1, 2], PAIR), model_version=fp32.version))
    assert (answer.model_name, answer.model_version) == (fp32.model, fp32.version)


def pair(served: Served, **more: Any) -> tuple[Target, Any]:
    target = served("sum_and_difference")
    a, b = struct.pack("<2f", 1, 2), struct.pack("<2f", 10, 20)
    return target, raw(target, ("b", "FP32", [1, 2], b), ("a", "FP32", [1, 2], a), **more)


def test_inputs_may_come_in_any_order_and_all_outputs_are_answered(served: Served) -> None:
    answer = infer(*pair(served))
    found = dict(zip([one.name for one in answer.outputs], elements(answer), strict=True))
    assert found == {"sum": struct.pack("<2f", 11, 22), "difference": struct.pack("<2f", -9, -18)}


@pytest.mark.parametrize("names", [["sum"], ["difference"], ["difference", "sum"]], ids="+".join)
def test_only_the_outputs_that_are_asked_for_are_answered_in_their_order(served: Served, names: list[str]) -> None:
    target, asked = pair(served)
    for name in names:
        asked.outputs.add(name=name)
    assert [one.name for one in infer(target, asked).outputs] == names


def test_an_output_that_is_unknown_is_refused(served: Served) -> None:
    target, asked = pair(served)
    asked.outputs.add(name="product")
    assert "product" in refused(target, asked, CODE.INVALID_ARGUMENT)


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a"], ["a", "b", "c"], ["a", "c"]], ids="+".join)
def test_inputs_that_are_missing_foreign_or_twice_are_refused(served: Served, names: list[str]) -> None:
    target = served("sum_and_difference")
    asked = raw(target, *[(name, "FP32", [1, 2], PAIR) for name in names])
    refused(target, asked, CODE.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    ("datatype", "shape"),
    [
        *(("FP64", [1, 2]), ("", [1, 2]), ("fp32", [1, 2])),
        *(("FP32", shape) for shape in ([2], [1, 3], [-1, 2], [2**62, 2], [])),
    ],
    ids=str,
)
def test_a_tensor_that_does_not_fit_the_model_is_refused(fp32: Target, datatype: str, shape: list[int]) -> None:
    refused(fp32, raw(fp32, ("x", datatype, shape, PAIR)), CODE.INVALID_ARGUMENT)


@pytest.mark.parametrize("count", [0, 2])
def test_raw_contents_of_another_number_than_the_inputs_are_refused(fp32: Target, count: int) -> None:
    asked = request(fp32)
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    asked.raw_input_contents.extend([PAIR] * count)
    refused(fp32, asked, CODE.INVALID_ARGUMENT)


def test_raw_and_typed_contents_together_are_refused(fp32: Target) -> None:
    asked = typed(fp32, "FP32", [1, 2], [1, 2])
    asked.raw_input_contents.append(PAIR)
    refused(fp32, asked, CODE.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    "data",
    [struct.pack("<I", 5) + b"four", struct.pack("<I", 2**32 - 1), struct.pack("<I", 3) + b"four", b"abc"],
    ids=["longer than it is", "4 GB that are not there", "shorter than it is", "half a length"],
)
def test_bytes_elements_whose_lengths_lie_are_refused(served: Served, data: bytes) -> None:
    target = served("text")
    refused(target, raw(target, ("x", "BYTES", [1], data)), CODE.INVALID_ARGUMENT)


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\xff", b"nonsense", b"\x2a\x05\x0a\x01"], ids=ascii)
def test_a_message_that_cannot_be_read_is_refused(fp32: Target, body: bytes) -> None:
    assert refusal(fp32, "ModelInfer", body=body).code in {CODE.INVALID_ARGUMENT, CODE.INTERNAL}


@pytest.mark.parametrize("what", ["model", "version", "no model"])
def test_inference_with_what_is_unknown_is_refused(fp32: Target, what: str) -> None:
    asked = raw(fp32, ("x", "FP32", [1, 2], PAIR))
    match what:
        case "model":
            asked.model_name = "unknown"
        case "version":
            asked.model_version = "99"
        case _:
            asked.model_name = ""
    refused(fp32, asked, *((CODE.INVALID_ARGUMENT, CODE.NOT_FOUND) if what == "no model" else (CODE.NOT_FOUND,)))


@pytest.mark.parametrize(
    "parameter", [{"bool_param": True}, {"int64_param": 1}, {"string_param": "x"}, {"double_param": 1.5}], ids=str
)
@pytest.mark.parametrize("where", ["request", "input", "output"])
def test_parameters_that_mean_nothing_here_do_no_harm(fp32: Target, where: str, parameter: dict[str, Any]) -> None:
    asked = raw(fp32, ("x", "FP32", [1, 2], PAIR))
    output = asked.outputs.add(name="y")
    owner = {"request": asked, "input": asked.inputs[0], "output": output}[where]
    [(kind, value)] = parameter.items()
    setattr(owner.parameters["comment"], kind, value)
    assert elements(infer(fp32, asked)) == [PAIR]


def test_a_message_too_large_is_refused(served: Served) -> None:
    target = identity(served, "UINT8")
    data = bytes(33 << 20)
    refused(target, raw(target, ("x", "UINT8", [len(data) // 2, 2], data)), CODE.RESOURCE_EXHAUSTED)


def test_a_large_message_passes(served: Served) -> None:
    target = identity(served, "UINT8")
    data = bytes(range(256)) * (80 << 10)
    answer = infer(target, raw(target, ("x", "UINT8", [len(data) // 2, 2], data)))
    assert elements(answer) == [data]


def test_a_failure_inside_the_model_is_told_and_the_server_serves_on(served: Served) -> None:
    target = served("lookup")
    refused(target, raw(target, ("i", "INT64", [1], struct.pack("<q", 7))), CODE.INTERNAL, CODE.INVALID_ARGUMENT)
    answer = infer(target, raw(target, ("i", "INT64", [1], struct.pack("<q", 1))))
    assert elements(answer) == [struct.pack("<f", 20)]


def test_a_call_that_is_unknown_is_unimplemented(fp32: Target) -> None:
    with pytest.raises(Refused) as caught:
        send(fp32, "Nonsense", b"", bytes)
    assert caught.value.code is CODE.UNIMPLEMENTED


@pytest.fixture(scope="module")
def _kept() -> dict[str, Running]:
    return {}


@pytest.fixture
def busy(start: Start, _kept: dict[str, Running]) -> Target:
    """A server that runs one request at a time, lets none wait, and gives each half a second."""
    if "busy" not in _kept:
        _kept["busy"] = start("counter", concurrency_max=1, queue_max=0, request_timeout_seconds=0.5)
    target = _kept["busy"].target
    one = raw(target, ("rounds", "INT64", [1], struct.pack("<q", 1)))
    for _ in range(100):
        with contextlib.suppress(Refused):
            infer(target, one)
            return target
        time.sleep(0.02)  # what the check before left behind is still ending
    raise AssertionError("it never had a turn again")


def test_a_run_that_takes_too_long_ends_with_deadline_exceeded(busy: Target) -> None:
    refused(busy, raw(busy, ("rounds", "INT64", [1], LONG)), CODE.DEADLINE_EXCEEDED)


def test_the_clients_own_deadline_ends_the_run(busy: Target) -> None:
    started = time.monotonic()
    refused(busy, raw(busy, ("rounds", "INT64", [1], LONG)), CODE.DEADLINE_EXCEEDED, timeout=0.1)
    assert time.monotonic() - started < 5


def test_after_the_clients_own_deadline_the_next_one_has_its_turn(busy: Target) -> None:
    refused(busy, raw(busy, ("rounds", "INT64", [1], LONG)), CODE.DEADLINE_EXCEEDED, timeout=0.1)
    time.sleep(0.4)
    assert infer(busy, raw(busy, ("rounds", "INT64", [1], struct.pack("<q", 1)))).outputs[0].name == "y"


def test_a_server_that_has_enough_to_do_is_exhausted(busy: Target) -> None:
    asked = raw(busy, ("rounds", "INT64", [1], LONG))
    asking = threading.Thread(target=lambda: refusal(busy, "ModelInfer", body=asked.SerializeToString()))
    asking.start()
    time.sleep(0.2)
    refused(busy, raw(busy, ("rounds", "INT64", [1], struct.pack("<q", 1))), CODE.RESOURCE_EXHAUSTED)
    asking.join()


@pytest.fixture
def loading(start: Start, _kept: dict[str, Running]) -> Target:
    """A server that listens and is not ready, for a long time."""
    if "loading" not in _kept:
        http, over_grpc = free_port(), free_port()
        _kept["loading"] = start("slow_to_warm_up", until="loaded", http_port=http, grpc_port=over_grpc)
    return _kept["loading"].target


@pytest.fixture
def draining(start: Start, _kept: dict[str, Running]) -> Target:
    """A server that is about to end, some time from now."""
    if "draining" not in _kept:
        _kept["draining"] = start("identity_fp32", drain_seconds=120.0)
        _kept["draining"].process.terminate()
        _kept["draining"].event("draining")
    return _kept["draining"].target


def health(target: Target, service: str = "") -> Any:
    """The answer of the standard health service."""
    with channel_to(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_SECONDS).status


def test_a_server_that_loads_is_live_and_not_ready(loading: Target) -> None:
    assert call(loading, "ServerLive").live is True
    assert call(loading, "ServerReady").ready is False
    assert call(loading, "ModelReady", {"name": loading.model}).ready is False


def test_a_server_that_loads_is_unavailable_for_inference(loading: Target) -> None:
    refused(loading, raw(loading, ("rounds", "INT64", [1], struct.pack("<q", 1))), CODE.UNAVAILABLE)


def test_a_server_that_loads_knows_which_models_are_not_its_own(loading: Target) -> None:
    assert refusal(loading, "ModelReady", {"name": "unknown"}).code is CODE.NOT_FOUND


@pytest.mark.parametrize("service", ["", SERVICE])
def test_the_standard_health_service_says_not_serving_while_loading(loading: Target, service: str) -> None:
    assert health(loading, service) == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_server_that_is_about_to_end_is_not_ready_and_answers_on(draining: Target) -> None:
    assert call(draining, "ServerReady").ready is False
    assert health(draining) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert elements(infer(draining, raw(draining, ("x", "FP32", [1, 2], PAIR)))) == [PAIR]


@pytest.mark.parametrize("service", ["", SERVICE])
def test_the_standard_health_service_says_serving(fp32: Target, service: str) -> None:
    assert health(fp32, service) == health_pb2.HealthCheckResponse.SERVING


def test_the_health_of_an_unknown_service_is_not_found(fp32: Target) -> None:
    with channel_to(fp32) as channel, pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="unknown"), timeout=5)
    assert Refused(caught.value).code is CODE.NOT_FOUND


def test_reflection_lists_the_services(fp32: Target) -> None:
    with channel_to(fp32) as channel:
        names = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {SERVICE, "grpc.health.v1.Health"} <= names


def test_reflection_gives_the_schema_of_a_call(fp32: Target) -> None:
    with channel_to(fp32) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        file = database.FindFileContainingSymbol(SERVICE)
    assert "ModelInferRequest" in [one.name for one in file.message_type]
