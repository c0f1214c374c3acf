"""The KServe SDK's ``InferenceGRPCClient`` as its users call it."""

from typing import Any

import grpc as library
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

MODEL = "sum_and_difference"
A, B = np.array([[1, 2], [3, 4]], np.float32), np.array([[10, 20], [30, 40]], np.float32)


def request(*, binary: bool, model: str = MODEL) -> Any:
    inputs = []
    for name, array in (("a", A), ("b", B)):
        one = InferInput(name, list(array.shape), "FP32")
        one.set_data_from_numpy(array, binary_data=binary)
        inputs.append(one)
    return InferRequest(model_name=model, infer_inputs=inputs, request_id="7")


async def check_health(_url: str, grpc: str) -> None:
    async with InferenceGRPCClient(grpc) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL)


async def _infer(grpc: str, *, binary: bool) -> None:
    async with InferenceGRPCClient(grpc) as client:
        response = await client.infer(request(binary=binary))
    assert (response.model_name, response.id) == (MODEL, "7")
    found = {one.name: one.as_numpy() for one in response.outputs}
    assert (found["sum"] == A + B).all()
    assert (found["difference"] == A - B).all()


async def check_raw_contents(_url: str, grpc: str) -> None:
    await _infer(grpc, binary=True)


async def check_typed_contents(_url: str, grpc: str) -> None:
    await _infer(grpc, binary=False)


async def check_an_unknown_model_is_an_error(_url: str, grpc: str) -> None:
    async with InferenceGRPCClient(grpc) as client:
        try:
            await client.infer(request(binary=True, model="unknown"))
        except library.aio.AioRpcError as error:
            assert error.code() is library.StatusCode.NOT_FOUND, error
        else:
            raise AssertionError("it should have been refused")
