"""The document describes this very model, its example works, and the page may do nothing but ask this server."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from onnx import ModelProto
from referencing import Registry, Resource
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import Serve

from penstock_server import openapi
from penstock_server.protocol import TensorSpec
from penstock_server.session import Session

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 3))
NAMES = TensorSpec(name="names", datatype="BYTES", shape=(-1,))
MODELS = {
    "one input": onnx_models.identity("FP32", [None, 3]),
    "two inputs": onnx_models.sum_and_difference(),
    "a scalar": onnx_models.identity("FP32", []),
    "text": onnx_models.identity("BYTES", [None, 2]),
    "booleans": onnx_models.identity("BOOL", [2]),
    "half precision": onnx_models.identity("FP16", [None, 2]),
}


def described(*inputs: TensorSpec, version: str = "") -> dict[str, Any]:
    return openapi.document(
        model_name="m",
        model_version=version,
        server_version="9",
        inputs=inputs,
        outputs=[TensorSpec(name="y", datatype="FP32", shape=())],
    )


def validator(document: dict[str, Any], schema: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource(
        "urn:document", Resource.from_contents({"$schema": Draft202012Validator.META_SCHEMA["$id"], **document})
    )
    return Draft202012Validator({"$ref": f"urn:document#/components/schemas/{schema}"}, registry=registry)


def infer(document: dict[str, Any]) -> dict[str, Any]:
    [call] = [path["post"] for name, path in document["paths"].items() if name.endswith("/m/infer")]
    assert isinstance(call, dict)
    return call


def test_every_schema_is_one() -> None:
    for schema in described(X, NAMES)["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere() -> None:
    document = described(X)
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]


def test_paths_name_the_model_and_its_version() -> None:
    assert {"/v2/models/m/infer", "/v2/models/m/versions/1.0/infer"} <= set(described(X, version="1.0")["paths"])


def test_a_model_without_a_version_has_no_paths_with_one() -> None:
    assert not [path for path in described(X)["paths"] if "versions" in path]


def test_a_name_is_encoded_in_paths() -> None:
    document = openapi.document(model_name="a b/{c}", model_version="", server_version="9", inputs=[X], outputs=[])
    assert "/v2/models/a%20b%2F%7Bc%7D/infer" in document["paths"]


@pytest.mark.parametrize("status", openapi.STATUSES)
def test_every_refusal_of_an_inference_request_is_described(status: int) -> None:
    assert infer(described(X))["responses"][str(status)]["description"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "y"},
        {"datatype": "INT32"},
        {"shape": [1]},
        {"shape": [1, 2]},
        {"shape": [-1, 3]},
        {"shape": None},
        {"data": 1},
        {"data": ["1", "2", "3"]},
        {"data": None},
        {"parameters": {"a": []}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_does_not_fit_the_model(change: dict[str, Any]) -> None:
    schema = validator(described(X), "Request")
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
    assert schema.is_valid({"inputs": [tensor]})
    assert not schema.is_valid({"inputs": [{**tensor, **change}]})


@pytest.mark.parametrize("inputs", [[], [0, 0], None, {}], ids=str)
def test_the_schema_refuses_another_number_of_inputs(inputs: Any) -> None:
    assert not validator(described(X), "Request").is_valid({"inputs": inputs})


@pytest.mark.parametrize("datatype", ["UINT8", "INT8", "UINT64", "INT64"])
def test_the_schema_knows_the_range_of_integers(datatype: str) -> None:
    schema = validator(described(TensorSpec(name="x", datatype=datatype, shape=(-1,))), "Request")
    for value, fits in ((2**64, False), (1, True), (0.5, False)):
        message = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1], "data": [value]}]}
        assert schema.is_valid(message) == fits


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
async def test_the_example_fits_its_schema_and_the_model_answers_it_as_described(
    serve: Serve, load: Callable[[ModelProto], Session], model: ModelProto
) -> None:
    session = load(model)
    document = openapi.document(
        model_name="m", model_version="", server_version="9", inputs=session.inputs, outputs=session.outputs
    )
    example = infer(document)["requestBody"]["content"]["application/json"]["example"]
    validator(document, "Request").validate(example)
    status, answer = await (await serve(model)).infer(example)
    assert status == 200
    validator(document, "Answer").validate(answer)


def test_an_example_that_nobody_could_read_is_left_out() -> None:
    wide = TensorSpec(name="x", datatype="FP32", shape=(1, 3, 224, 224))
    assert "example" not in infer(described(wide))["requestBody"]["content"]["application/json"]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    assert not re.findall(rb"https?:|['\"(]//|\bsrc=|@import|:\s*url\(", openapi.page())


def test_the_page_may_run_its_own_script_and_no_other() -> None:
    policy = openapi.page_headers()["Content-Security-Policy"]
    for element, directive in ((b"script", "script-src"), (b"style", "style-src")):
        [inner] = re.findall(rb"<%b>(.*?)</%b>" % (element, element), openapi.page(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_puts_no_text_into_its_own_markup() -> None:
    assert not re.findall(rb"innerHTML|outerHTML|document\.write|insertAdjacentHTML|eval\(", openapi.page())
