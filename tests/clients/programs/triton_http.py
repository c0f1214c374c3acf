"""``tritonclient.http`` as its users call it; the model "everything" gives each of its inputs back."""

from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

MODEL, VERSION = "everything", "1"
ARRAYS: dict[str, Any] = {
    "BOOL": np.array([[True, False], [False, True]]),
    "UINT8": np.array([[0, 1], [2, 255]], np.uint8),
    "UINT16": np.array([[0, 1], [2, 65535]], np.uint16),
    "UINT32": np.array([[0, 1], [2, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 1], [2, 2**64 - 1]], np.uint64),
    "INT8": np.array([[0, -1], [127, -128]], np.int8),
    "INT16": np.array([[0, -1], [32767, -32768]], np.int16),
    "INT32": np.array([[0, -1], [2**31 - 1, -(2**31)]], np.int32),
    "INT64": np.array([[0, -1], [2**63 - 1, -(2**63)]], np.int64),
    "FP16": np.array([[0, 1.5], [-2.25, 65504]], np.float16),
    "FP32": np.array([[0, 0.1], [-2.25, 3e38]], np.float32),
    "FP64": np.array([[0, 0.1], [-2.25, 1e300]], np.float64),
    "BYTES": np.array([[b"", b"a"], ["Ünïcode".encode(), b"x" * 1000]], np.object_),
}


def inputs_of(*, binary: bool) -> list[Any]:
    made = []
    for datatype, array in ARRAYS.items():
        one = triton.InferInput(f"x_{datatype.lower()}", array.shape, datatype)
        # The client itself refuses half precision in JSON.
        one.set_data_from_numpy(array, binary_data=binary or datatype == "FP16")
        made.append(one)
    return made


def check_health(url: str, _grpc: str) -> None:
    with triton.InferenceServerClient(url) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.is_model_ready(MODEL, VERSION)
        assert not client.is_model_ready("unknown")
        assert not client.is_model_ready(MODEL, "99")


def check_metadata(url: str, _grpc: str) -> None:
    with triton.InferenceServerClient(url) as client:
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        for version in ("", VERSION):
            metadata = client.get_model_metadata(MODEL, version)
            assert [one["datatype"] for one in metadata["inputs"]] == list(ARRAYS)


def _all(url: str, *, binary_in: bool, binary_out: bool, **options: Any) -> None:
    wanted = [
        triton.InferRequestedOutput(f"y_{datatype.lower()}", binary_data=binary_out or datatype == "FP16")
        for datatype in ARRAYS
    ]
    with triton.InferenceServerClient(url) as client:
        result = client.infer(MODEL, inputs_of(binary=binary_in), outputs=wanted, request_id="7", **options)
    assert result.get_response()["id"] == "7"
    for datatype, array in ARRAYS.items():
        found = result.as_numpy(f"y_{datatype.lower()}")
        if datatype == "BYTES":
            # In JSON, text comes as text and not as bytes.
            found = np.vectorize(lambda one: one if isinstance(one, bytes) else one.encode(), otypes="O")(found)
        assert found.dtype == array.dtype, (datatype, found.dtype)
        assert (found == array).all(), datatype


def check_every_datatype_in_binary(url: str, _grpc: str) -> None:
    _all(url, binary_in=True, binary_out=True)


def check_every_datatype_in_json(url: str, _grpc: str) -> None:
    _all(url, binary_in=False, binary_out=False)


def check_binary_in_and_json_out(url: str, _grpc: str) -> None:
    _all(url, binary_in=True, binary_out=False)


def check_json_in_and_binary_out(url: str, _grpc: str) -> None:
    _all(url, binary_in=False, binary_out=True)


def check_a_version(url: str, _grpc: str) -> None:
    _all(url, binary_in=True, binary_out=True, model_version=VERSION)


def check_gzip_both_ways(url: str, _grpc: str) -> None:
    _all(
        url,
        binary_in=True,
        binary_out=True,
        request_compression_algorithm="gzip",
        response_compression_algorithm="gzip",
    )


def check_deflate_both_ways(url: str, _grpc: str) -> None:
    _all(
        url,
        binary_in=True,
        binary_out=True,
        request_compression_algorithm="deflate",
        response_compression_algorithm="deflate",
    )


def check_without_outputs_all_come_in_binary(url: str, _grpc: str) -> None:
    with triton.InferenceServerClient(url) as client:
        result = client.infer(MODEL, inputs_of(binary=True))
    outputs = result.get_response()["outputs"]
    assert len(outputs) == len(ARRAYS)
    assert all("binary_data_size" in one["parameters"] for one in outputs)


def check_several_at_once(url: str, _grpc: str) -> None:
    with triton.InferenceServerClient(url, concurrency=8) as client:
        asked = [client.async_infer(MODEL, inputs_of(binary=True), request_id=str(number)) for number in range(32)]
        assert [one.get_result().get_response()["id"] for one in asked] == [str(number) for number in range(32)]


def check_an_error_carries_the_servers_words(url: str, _grpc: str) -> None:
    with triton.InferenceServerClient(url) as client:
        for model, some, words in (("unknown", inputs_of(binary=True), "unknown"), (MODEL, [], "input")):
            try:
                client.infer(model, some)
            except InferenceServerException as error:
                assert words in error.message(), error
            else:
                raise AssertionError("it should have been refused")


def check_the_index_of_the_repository(url: str, _grpc: str) -> None:
    with triton.InferenceServerClient(url) as client:
        [model] = client.get_model_repository_index()
    assert (model["name"], model["state"]) == (MODEL, "READY")


def check_statistics(url: str, _grpc: str) -> None:
    with triton.InferenceServerClient(url) as client:
        client.infer(MODEL, inputs_of(binary=True))
        for found in (client.get_inference_statistics(), client.get_inference_statistics(MODEL, VERSION)):
            [model] = found["model_stats"]
            assert (model["name"], model["version"]) == (MODEL, VERSION)
            assert model["inference_stats"]["success"]["count"] >= 1


def check_configuration(url: str, _grpc: str) -> None:
    with triton.InferenceServerClient(url) as client:
        assert client.get_model_config(MODEL)["name"] == MODEL
