"""MLServer's own types and codecs, given our answers to read."""

import json
import urllib.request
from typing import Any

import numpy as np
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse, MetadataServerResponse

MODEL = "sum_and_difference"


def ask(url: str, path: str, body: str | None = None) -> Any:
    request = urllib.request.Request(f"http://{url}{path}", None if body is None else body.encode())
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def check_metadata_has_the_shape_that_it_expects(url: str, _grpc: str) -> None:
    assert MetadataServerResponse.model_validate(ask(url, "/v2")).name
    assert MetadataModelResponse.model_validate(ask(url, f"/v2/models/{MODEL}")).name == MODEL


def check_what_its_codec_writes_is_answered_and_read(url: str, _grpc: str) -> None:
    a, b = np.array([[1, 2]], np.float32), np.array([[10, 20]], np.float32)
    request = InferenceRequest(inputs=[NumpyCodec.encode_input("a", a), NumpyCodec.encode_input("b", b)])
    answer = ask(url, f"/v2/models/{MODEL}/infer", request.model_dump_json(exclude_none=True))
    response = InferenceResponse.model_validate(answer)
    found = {one.name: NumpyCodec.decode_output(one) for one in response.outputs}
    assert (found["sum"] == a + b).all()
    assert StringCodec.can_encode(["text"])
