"""The OpenAPI document of the model that is served, and the page to try it on."""

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

from penstock_server.protocol import TensorSpec

DOCUMENT_PATH = "/v2/docs/openapi.json"
PAGE_PATH = "/v2/docs"

#: An example with more numbers than this would be all that one sees of the document.
_EXAMPLE_ELEMENTS_MAX = 4096
_ERROR = {"$ref": "#/components/schemas/Error"}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait before the next try", "schema": {"type": "integer"}}}
#: Every status of an inference request beside 200, and when it comes.
STATUSES: Mapping[int, str] = {
    400: "The request cannot be understood or does not fit the model; the message names the field and the fix",
    404: "Another model or version than the one that is served",
    408: "The body did not arrive in time",
    413: "The body, as sent or decompressed, is too large",
    415: "The body is compressed in a way that the server does not know",
    429: "As many requests run and wait as may; try again later",
    500: "The model failed on inputs that fit it, or its result cannot be carried by JSON",
    503: "The model is still loading",
    504: "No result in time; the run was terminated",
}
_RETRIED = {429, 503}


def document(
    *,
    model_name: str,
    model_version: str,
    server_version: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of exactly this model."""
    versioned = f" version {model_version}" if model_version else ""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{model_name}{versioned}",
            "version": server_version,
            "description": "An ONNX model served by Penstock by the Open Inference Protocol v2.",
        },
        "servers": [{"url": "/"}],
        "paths": _paths(model_name, model_version, inputs),
        "components": {
            "schemas": {
                "Error": _object({"error": {"type": "string", "minLength": 1}}),
                "Tensor": _object({"name": _STRING, "datatype": _STRING, "shape": _list({"type": "integer"})}),
                "Request": _request(inputs, outputs),
                "Answer": _answer(model_name, model_version, outputs),
            }
        },
    }


def example(inputs: Sequence[TensorSpec]) -> dict[str, Any] | None:
    """Return the smallest request of zeros, or None where that is too large to be read."""
    shapes = [[1 if size < 0 else size for size in spec.shape] for spec in inputs]
    counts = [math.prod(shape) for shape in shapes]
    if sum(counts) > _EXAMPLE_ELEMENTS_MAX:
        return None
    tensors = [
        {"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": [_zero(spec.datatype)] * count}
        for spec, shape, count in zip(inputs, shapes, counts, strict=True)
    ]
    return {"inputs": tensors}


@cache
def page() -> bytes:
    """Return the page, which needs nothing but itself and the document."""
    return resources.files("penstock_server").joinpath("try_it.html").read_bytes()


@cache
def page_headers() -> Mapping[str, str]:
    """Return the headers to send with the page: it may run its own script, ask this server, and nothing else."""
    text = page().decode()
    policy = [
        "default-src 'none'",
        f"script-src {_digest(text, 'script')}",
        f"style-src {_digest(text, 'style')}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


_STRING = {"type": "string"}


def _paths(model_name: str, model_version: str, inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    model = f"/v2/models/{quote(model_name, safe='')}"
    bases = [model, f"{model}/versions/{quote(model_version, safe='')}"] if model_version else [model]
    ready = _object({"ready": {"type": "boolean"}})
    metadata = _object(
        {"name": {"const": model_name}, "platform": _STRING, "inputs": _list(_TENSOR), "outputs": _list(_TENSOR)}
    )
    configuration = _object({"name": {"const": model_name}, "input": {"type": "array"}, "output": {"type": "array"}})
    statistics = _object({"model_stats": _list(_object({"name": {"const": model_name}, "version": _STRING}))})
    paths = {
        "/v2": _get(
            "What this server is", _object({"name": _STRING, "version": _STRING, "extensions": _list(_STRING)})
        ),
        "/v2/health/live": _get("Whether the server runs", _object({"live": {"const": True}})),
        "/v2/health/ready": _get("Whether the server wants requests", ready, 503),
        "/v2/models/stats": _get("Counts and times since the start", statistics),
        "/v2/repository/index": {"post": _index()},
        "/v2/models": _get("Which models it serves", _object({"models": _list(_STRING)})),
    }
    for base in bases:
        paths[base] = _get("What the model takes and gives", metadata, 503)
        paths[f"{base}/ready"] = _get("Whether the model wants requests", ready, 503)
        paths[f"{base}/config"] = _get("The model in Triton's words", configuration, 503)
        paths[f"{base}/stats"] = _get("Counts and times since the start", statistics)
        paths[f"{base}/infer"] = {"post": _infer(inputs)}
    return paths


_TENSOR = {"$ref": "#/components/schemas/Tensor"}


def _get(summary: str, schema: Mapping[str, Any], *statuses: int) -> dict[str, Any]:
    responses = {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}
    return {"get": {"summary": summary, "responses": responses | {str(one): _refusal(one) for one in statuses}}}


def _index() -> dict[str, Any]:
    listed = _list(_object({"name": _STRING, "state": _STRING, "reason": _STRING}))
    wanted = {"type": "object", "properties": {"ready": {"type": "boolean", "description": "Only models that are"}}}
    return {
        "summary": "Which models there are, in which state",
        "requestBody": {"content": {"application/json": {"schema": wanted, "example": {}}}},
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": listed}}},
            **{str(status): _refusal(status) for status in (400, 408, 413, 415)},
        },
    }


def _infer(inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    body: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Request"}}
    made = example(inputs)
    if made is not None:
        body["example"] = made
    return {
        "summary": "Run the model",
        # In words: as a parameter, the header would belong to JSON requests too, where it changes everything.
        "description": "Tensors may be sent and asked for as bytes after the JSON, whose length the header "
        "Inference-Header-Content-Length says; with the value 0, the body is the only input's bytes.",
        "requestBody": {
            "required": True,
            "content": {"application/json": body, "application/octet-stream": {"schema": {}}},
        },
        "responses": {
            "200": {
                "description": "The outputs",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Answer"}},
                    "application/octet-stream": {"schema": {}},
                },
            },
            **{str(status): _refusal(status) for status in STATUSES},
        },
    }


def _refusal(status: int) -> dict[str, Any]:
    headers = {"headers": _RETRY_AFTER} if status in _RETRIED else {}
    return {"description": STATUSES[status], **headers, "content": {"application/json": {"schema": _ERROR}}}


def _request(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    classes = {"type": "integer", "minimum": 0, "description": "Answer so many of the greatest as value:index; 0: all"}
    wanted = {
        "type": ["array", "null"],
        "description": "The outputs to answer, in this order; none named: all",
        "items": _object(
            {
                "name": {"enum": [spec.name for spec in outputs]},
                "parameters": _parameters(binary_data=_BOOLEAN, classification=classes),
            },
            required=["name"],
        ),
        "uniqueItems": True,
    }
    tensors = [_input(spec) for spec in inputs]
    return _object(
        {
            "id": {"type": ["string", "null"], "description": "Comes back in the answer"},
            "parameters": _parameters(
                binary_data_output=_BOOLEAN,
                timeout={"type": "integer", "minimum": 0, "description": "Microseconds that the answer may take"},
            ),
            "inputs": {
                "type": "array",
                "description": "Every input of the model once, in any order",
                "minItems": len(inputs),
                "maxItems": len(inputs),
                "items": tensors[0] if len(tensors) == 1 else {"anyOf": tensors},
            },
            "outputs": wanted,
        },
        required=["inputs"],
    )


_BOOLEAN = {"type": "boolean"}


def _parameters(**known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "properties": known,
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    }


def _input(spec: TensorSpec) -> dict[str, Any]:
    element = _element(spec.datatype)
    size = {"type": "integer", "minimum": 0, "description": "Bytes of this tensor after the JSON, instead of data"}
    return _object(
        {
            "name": {"const": spec.name},
            "datatype": {"const": spec.datatype},
            "shape": _shape(spec),
            "data": {"type": "array", "description": "Row-major, flat or nested as the shape says", **element},
            "parameters": _parameters(binary_data_size=size),
        },
        required=["name", "datatype", "shape"],
    )


def _answer(model_name: str, model_version: str, outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    tensors = [
        _object(
            {
                "name": {"const": spec.name},
                "datatype": _STRING,
                "shape": _list({"type": "integer", "minimum": 0}),
                "data": {"type": "array"},
                "parameters": {"type": "object"},
            },
            required=["name", "datatype", "shape"],
        )
        for spec in outputs
    ]
    version = {"model_version": {"const": model_version}} if model_version else {}
    return _object(
        {"model_name": {"const": model_name}, **version, "id": _STRING, "outputs": _list({"anyOf": tensors})},
        required=["model_name", *version, "outputs"],
    )


def _shape(spec: TensorSpec) -> dict[str, Any]:
    sizes = [{"type": "integer", "minimum": 0} if size < 0 else {"const": size} for size in spec.shape]
    if not sizes:
        # A scalar, or a tensor whose rank the model does not say.
        return _list({"type": "integer", "minimum": 0})
    return {"type": "array", "prefixItems": sizes, "minItems": len(sizes), "maxItems": len(sizes)}


def _element(datatype: str) -> dict[str, Any]:
    """Return the schema of what ``data`` holds: one kind of value, or lists of lists of it."""
    match datatype:
        case "BYTES":
            value: dict[str, Any] = {"type": "string"}
        case "BOOL":
            value = {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]}
        case "FP16" | "FP32" | "FP64":
            value = {"type": "number"}
        case _:
            value = {"type": "integer", **_range(datatype)}
    return {"items": {"anyOf": [value, {"type": "array"}]}}


def _range(datatype: str) -> dict[str, int]:
    bits = int(re.sub(r"\D", "", datatype))
    if datatype.startswith("UINT"):
        return {"minimum": 0, "maximum": 2**bits - 1}
    return {"minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}


def _zero(datatype: str) -> object:
    return {"BYTES": "", "BOOL": False}.get(datatype, 0)


def _object(properties: Mapping[str, Any], *, required: Sequence[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties if required is None else required),
    }


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _digest(text: str, element: str) -> str:
    """Return the source expression of the Content-Security-Policy for the only element of that kind."""
    [inner] = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'"
