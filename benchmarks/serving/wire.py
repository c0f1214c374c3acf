"""The same rows in every server's way of asking, and every server's answer as plain numbers."""

import base64
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from benchmarks.serving.models import Floats

MODEL_NAME = "bench"
_INFER_PATH = f"/v2/models/{MODEL_NAME}/infer"
_GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
_RELATIVE_TOLERANCE = 1e-4
_ABSOLUTE_TOLERANCE = 1e-5
_STRUCT_CODES = {"FP32": "f", "FP64": "d", "INT64": "q", "INT32": "i", "BOOL": "?"}

Numbers = dict[str, list[float]]


class WrongAnswer(Exception):  # noqa: N818
    """A server answered with other numbers than ONNX Runtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How to ask, and how to read the answer. ``ask`` takes the input's name and the rows."""

    name: str
    ask: Callable[[str, Floats], bytes]
    read: Callable[[bytes], Numbers]
    grpc_path: str = ""


def check(dialect: Dialect, answer: bytes, expected: Mapping[str, list[float]]) -> None:
    """Raise WrongAnswer unless the answer holds the expected outputs and numbers."""
    try:
        found = dialect.read(answer)
    except (ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        raise WrongAnswer(f"not an answer in {dialect.name}: {error!r}: {answer[:300]!r}") from error
    if set(found) != set(expected):
        raise WrongAnswer(f"outputs {sorted(found)} instead of {sorted(expected)}")
    for name, numbers in expected.items():
        close = len(numbers) == len(found[name]) and all(
            math.isclose(one, other, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE)
            for one, other in zip(numbers, found[name], strict=True)
        )
        if not close:
            raise WrongAnswer(f"output {name}: {found[name][:4]}… instead of {numbers[:4]}…")


def _http(path: str, body: bytes, *more: str, content_type: str = "application/json") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _dumps(value: Any) -> bytes:
    # Shortest digits that give the same 32-bit number back: what a careful client sends.
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _flat(value: Any) -> list[float]:
    return [number for each in value for number in _flat(each)] if isinstance(value, list) else [value]


def _v2_json_ask(name: str, rows: Floats) -> bytes:
    tensor = {"name": name, "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel()}
    return _http(_INFER_PATH, _dumps({"inputs": [tensor]}))


def _v2_json_read(body: bytes) -> Numbers:
    return {output["name"]: _flat(output["data"]) for output in orjson.loads(body)["outputs"]}


def _v2_binary_ask(name: str, rows: Floats) -> bytes:
    raw = rows.astype("<f4").tobytes()
    tensor = {
        "name": name,
        "shape": list(rows.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(raw)},
    }
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    length = f"Inference-Header-Content-Length: {len(head)}"
    return _http(_INFER_PATH, head + raw, length, content_type="application/octet-stream")


def _v2_binary_read(body: bytes) -> Numbers:
    # Where the JSON ends is said by a header, which the load client does not keep; the decoder finds it as well.
    head, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    found: Numbers = {}
    for output in head["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = _unpacked(output["datatype"], body[end : end + size])
        end += size
    return found


def _grpc_ask(name: str, rows: Floats) -> bytes:
    """One ModelInferRequest: model_name 1, inputs 5 (name 1, datatype 2, shape 3), raw_input_contents 7."""
    shape = b"".join(varint(extent) for extent in rows.shape)
    tensor = field(1, name.encode()) + field(2, b"FP32") + field(3, shape)
    return field(1, MODEL_NAME.encode()) + field(5, tensor) + field(7, rows.astype("<f4").tobytes())


def _grpc_read(message: bytes) -> Numbers:
    """One ModelInferResponse: outputs 5 (name 1, datatype 2), raw_output_contents 6."""
    fields = _fields(message)
    outputs = [_fields(output) for output in fields[5]]
    return {
        output[1][0].decode(): _unpacked(output[2][0].decode(), raw)
        for output, raw in zip(outputs, fields[6], strict=True)
    }


def _rows_ask(path: str, key: str) -> Callable[[str, Floats], bytes]:
    return lambda _, rows: _http(path, _dumps({key: rows}))


def _outputs_read(body: bytes) -> Numbers:
    return {name: _flat(value) for name, value in orjson.loads(body).items()}


V2_JSON = Dialect(name="json", ask=_v2_json_ask, read=_v2_json_read)
V2_BINARY = Dialect(name="binary", ask=_v2_binary_ask, read=_v2_binary_read)
V2_GRPC = Dialect(name="grpc", ask=_grpc_ask, read=_grpc_read, grpc_path=_GRPC_PATH)
LITSERVE = Dialect(name="litserve", ask=_rows_ask("/predict", "rows"), read=_outputs_read)
BENTOML = Dialect(name="bentoml", ask=_rows_ask("/predict", "rows"), read=_outputs_read)


def encoded(payload: bytes) -> str:
    """Return bytes as they go into a job."""
    return base64.b64encode(payload).decode()


def _unpacked(datatype: str, raw: bytes) -> list[float]:
    code = _STRUCT_CODES[datatype]
    return list(struct.unpack(f"<{len(raw) // struct.calcsize(code)}{code}", raw))


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(groups) + bytes((number,))


def field(number: int, value: bytes) -> bytes:
    """Return a field of protobuf that has a length."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def _fields(message: bytes) -> dict[int, list[bytes]]:
    """Return the length-delimited fields of a protobuf message; numbers are skipped."""
    found: dict[int, list[bytes]] = {}
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        value, at = _read_varint(message, at)
        if key & 7 == 2:
            found.setdefault(key >> 3, []).append(message[at : at + value])
            at += value
        elif key & 7:
            raise ValueError(f"protobuf wire type {key & 7} is not expected in an answer")
    return found


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
