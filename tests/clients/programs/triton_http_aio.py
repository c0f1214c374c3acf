"""``tritonclient.http.aio`` as its users call it."""

from typing import Any

import numpy as np
import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException

MODEL = "sum_and_difference"
A, B = np.array([[1, 2], [3, 4]], np.float32), np.array([[10, 20], [30, 40]], np.float32)


def inputs_of(*, binary: bool) -> list[Any]:
    made = []
    for name, array in (("a", A), ("b", B)):
        one = triton.InferInput(name, array.shape, "FP32")
        one.set_data_from_numpy(array, binary_data=binary)
        made.append(one)
    return made


async def check_health_and_metadata(url: str, _grpc: str) -> None:
    async with triton.InferenceServerClient(url) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert (await client.get_server_metadata())["name"]


async def _both(url: str, *, binary: bool, **options: Any) -> None:
    async with triton.InferenceServerClient(url) as client:
        assert await client.is_model_ready(MODEL)
        wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("difference", "sum")]
        result = await client.infer(MODEL, inputs_of(binary=binary), outputs=wanted, **options)
    assert (result.as_numpy("sum") == A + B).all()
    assert (result.as_numpy("difference") == A - B).all()


async def check_binary(url: str, _grpc: str) -> None:
    await _both(url, binary=True)


async def check_json(url: str, _grpc: str) -> None:
    await _both(url, binary=False)


async def check_gzip(url: str, _grpc: str) -> None:
    await _both(url, binary=True, request_compression_algorithm="gzip", response_compression_algorithm="gzip")


async def check_deflate(url: str, _grpc: str) -> None:
    await _both(url, binary=True, request_compression_algorithm="deflate", response_compression_algorithm="deflate")


async def check_an_error_carries_the_servers_words(url: str, _grpc: str) -> None:
    async with triton.InferenceServerClient(url) as client:
        try:
            await client.infer(MODEL, inputs_of(binary=True)[:1])
        except InferenceServerException as error:
            assert "'b'" in error.message(), error
        else:
            raise AssertionError("it should have been refused")
