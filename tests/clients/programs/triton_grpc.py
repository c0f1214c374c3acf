"""``tritonclient.grpc`` and ``tritonclient.grpc.aio`` as their users call them."""

import runpy
from pathlib import Path
from typing import Any

import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

MODEL, VERSION = "everything", "1"
ARRAYS = runpy.run_path(str(Path(__file__).with_name("triton_http.py")))["ARRAYS"]


def inputs_of(arrays: dict[str, Any] = ARRAYS) -> list[Any]:
    made = []
    for datatype, array in arrays.items():
        one = triton.InferInput(f"x_{datatype.lower()}", array.shape, datatype)
        one.set_data_from_numpy(array)
        made.append(one)
    return made


def check_health(_url: str, grpc: str) -> None:
    with triton.InferenceServerClient(grpc) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.is_model_ready(MODEL, VERSION)


def check_metadata(_url: str, grpc: str) -> None:
    with triton.InferenceServerClient(grpc) as client:
        assert client.get_server_metadata().name
        metadata = client.get_model_metadata(MODEL, as_json=True)
        assert [one["datatype"] for one in metadata["inputs"]] == list(ARRAYS)
        assert metadata["versions"] == [VERSION]


def _compare(result: Any) -> None:
    for datatype, array in ARRAYS.items():
        found = result.as_numpy(f"y_{datatype.lower()}")
        assert found.dtype == array.dtype, (datatype, found.dtype)
        assert (found == array).all(), datatype


def check_every_datatype(_url: str, grpc: str) -> None:
    with triton.InferenceServerClient(grpc) as client:
        result = client.infer(MODEL, inputs_of(), request_id="7")
    assert result.get_response().id == "7"
    _compare(result)


def check_a_version_and_some_outputs(_url: str, grpc: str) -> None:
    wanted = [triton.InferRequestedOutput("y_int64"), triton.InferRequestedOutput("y_fp16")]
    with triton.InferenceServerClient(grpc) as client:
        result = client.infer(MODEL, inputs_of(), model_version=VERSION, outputs=wanted)
    assert [one.name for one in result.get_response().outputs] == ["y_int64", "y_fp16"]
    assert (result.as_numpy("y_int64") == ARRAYS["INT64"]).all()


def check_compression(_url: str, grpc: str) -> None:
    with triton.InferenceServerClient(grpc) as client:
        _compare(client.infer(MODEL, inputs_of(), compression_algorithm="gzip"))


def _refused(client: Any, model: str, inputs: list[Any], status: str, words: str, **options: Any) -> None:
    try:
        client.infer(model, inputs, **options)
    except InferenceServerException as error:
        assert status in str(error.status()), error
        assert words in error.message(), error
    else:
        raise AssertionError("it should have been refused")


def check_an_error_carries_its_status_and_the_servers_words(_url: str, grpc: str) -> None:
    with triton.InferenceServerClient(grpc) as client:
        _refused(client, "unknown", inputs_of(), "NOT_FOUND", "unknown")
        _refused(client, MODEL, inputs_of(), "NOT_FOUND", "99", model_version="99")
        _refused(client, MODEL, inputs_of()[:1], "INVALID_ARGUMENT", "x_uint8")


async def check_the_asynchronous_client(_url: str, grpc: str) -> None:
    async with triton_aio.InferenceServerClient(grpc) as client:
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL)
        _compare(await client.infer(MODEL, inputs_of()))


def check_the_index_of_the_repository(_url: str, grpc: str) -> None:
    with triton.InferenceServerClient(grpc) as client:
        [model] = client.get_model_repository_index().models
    assert (model.name, model.state) == (MODEL, "READY")


def check_statistics(_url: str, grpc: str) -> None:
    with triton.InferenceServerClient(grpc) as client:
        client.infer(MODEL, inputs_of())
        [model] = client.get_inference_statistics(MODEL).model_stats
    assert model.inference_stats.success.count >= 1
