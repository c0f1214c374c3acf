"""The KServe SDK's ``InferenceRESTClient`` as its users call it."""

from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

MODEL = "sum_and_difference"
A, B = np.array([[1, 2], [3, 4]], np.float32), np.array([[10, 20], [30, 40]], np.float32)


def client() -> Any:
    return InferenceRESTClient(RESTConfig(protocol="v2", retries=0, timeout=10))


def request(*, binary: bool, outputs: list[Any] | None = None) -> Any:
    inputs = []
    for name, array in (("a", A), ("b", B)):
        one = InferInput(name, list(array.shape), "FP32")
        one.set_data_from_numpy(array, binary_data=binary)
        inputs.append(one)
    return InferRequest(model_name=MODEL, infer_inputs=inputs, request_id="7", request_outputs=outputs)


def compare(response: Any) -> None:
    assert (response.model_name, response.id) == (MODEL, "7")
    found = {one.name: one.as_numpy() for one in response.outputs}
    assert (found["sum"] == A + B).all()
    assert (found["difference"] == A - B).all()


async def check_health(url: str, _grpc: str) -> None:
    asking = client()
    assert await asking.is_server_live(f"http://{url}") is True
    assert await asking.is_server_ready(f"http://{url}") is True
    assert await asking.is_model_ready(f"http://{url}", MODEL) is True


async def check_json(url: str, _grpc: str) -> None:
    compare(await client().infer(f"http://{url}", request(binary=False), model_name=MODEL))


async def check_binary_in(url: str, _grpc: str) -> None:
    compare(await client().infer(f"http://{url}", request(binary=True), model_name=MODEL))


async def check_binary_in_and_out(url: str, _grpc: str) -> None:
    outputs = [RequestedOutput(name, parameters={"binary_data": True}) for name in ("sum", "difference")]
    compare(await client().infer(f"http://{url}", request(binary=True, outputs=outputs), model_name=MODEL))


async def check_json_in_and_binary_out(url: str, _grpc: str) -> None:
    outputs = [RequestedOutput(name, parameters={"binary_data": True}) for name in ("sum", "difference")]
    compare(await client().infer(f"http://{url}", request(binary=False, outputs=outputs), model_name=MODEL))


async def check_an_unknown_model_is_an_error(url: str, _grpc: str) -> None:
    try:
        await client().infer(f"http://{url}", request(binary=False), model_name="unknown")
    except Exception as error:  # noqa: BLE001 - the client's own kinds differ between its versions
        assert "404" in str(error), error
    else:
        raise AssertionError("it should have been refused")
