"""Open Inference Protocol v2: JSON bodies to arrays, results to JSON bodies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

Array = npt.NDArray[Any]

#: The protocol's names and what numpy calls them. FP16 is accepted in JSON too: without it, a half
#: precision model could not be asked anything as long as there are no binary tensors.
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}

#: numpy's own limit is 64; nothing that ONNX Runtime runs comes near.
_RANK_MAX = 32
_JSON_TYPES: dict[type, str] = {
    bool: "a boolean",
    str: "a string",
    int: "an integer",
    float: "a fraction",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class BadRequest(ValueError):  # noqa: N818 - the words of HTTP
    """The request cannot be understood or does not fit the model; the message says where and why."""


class UnencodableOutput(Exception):  # noqa: N818 - it says what is wrong with a value, not with us
    """The model answered something that JSON cannot carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model; -1 in the shape is a dimension that requests choose."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_wire(self) -> dict[str, Any]:
        """Return the protocol's metadata of this tensor."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def __str__(self) -> str:
        return f"{self.datatype} {list(self.shape)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """What a client asks: arrays by input name, and the outputs it wants in its order."""

    id: str | None
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]
    rows: int


def decode_request(body: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> InferRequest:
    """Return the request in ``body``, checked against the model; raise BadRequest if it does not fit."""
    message = _parse_object(body)
    request_id = message.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise BadRequest(f"'id' must be a string, not {_kind(request_id)}")
    _check_parameters(message, "the request")
    arrays = _decode_inputs(message, {spec.name: spec for spec in inputs})
    first = arrays[inputs[0].name] if inputs else None
    rows = first.shape[0] if first is not None and first.ndim else 1
    return InferRequest(id=request_id, inputs=arrays, outputs=_requested_outputs(message, outputs), rows=rows)


def encode_response(
    *,
    model_name: str,
    model_version: str,
    request_id: str | None,
    outputs: Sequence[tuple[TensorSpec, Array]],
) -> bytes:
    """Return the body of an answer; raise UnencodableOutput for NaN, infinities and foreign types.

    A NaN is an error and not ``null``: a client that averages nulls away would never learn that the
    model has lost its mind, and the error counts against the revision.
    """
    message: dict[str, Any] = {"model_name": model_name}
    if model_version:
        message["model_version"] = model_version
    if request_id is not None:
        message["id"] = request_id
    message["outputs"] = [
        {"name": spec.name, "datatype": spec.datatype, "shape": list(array.shape), "data": _data(spec, array)}
        for spec, array in outputs
    ]
    return orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_error(message: str) -> bytes:
    """Return the body of every answer that is not a 2xx."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode("utf-8")})


def _parse_object(body: bytes) -> dict[str, Any]:
    if not body:
        raise BadRequest("the body is empty; send a JSON object with 'inputs'")
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadRequest(f"the body must be a JSON object, not {_kind(message)}")
    return message


def _decode_inputs(message: dict[str, Any], specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    tensors = message.get("inputs")
    if not isinstance(tensors, list):
        raise BadRequest("'inputs' is missing" if tensors is None else f"'inputs' must be a list, not {_kind(tensors)}")
    arrays: dict[str, Array] = {}
    for position, tensor in enumerate(tensors):
        if not isinstance(tensor, dict):
            raise BadRequest(f"inputs[{position}] must be an object, not {_kind(tensor)}")
        name = tensor.get("name")
        if not isinstance(name, str):
            raise BadRequest(f"inputs[{position}] has no 'name'")
        spec = specs.get(name)
        if spec is None:
            raise BadRequest(f"the model has no input {name!r}; it has {_listed(specs.values())}")
        if name in arrays:
            raise BadRequest(f"input {name!r} is given twice")
        arrays[name] = _decode_tensor(tensor, spec)
    missing = [spec for name, spec in specs.items() if name not in arrays]
    if missing:
        raise BadRequest(f"input {missing[0].name!r} is missing; the model needs {_listed(specs.values())}")
    return arrays


def _decode_tensor(tensor: dict[str, Any], spec: TensorSpec) -> Array:
    where = f"input {spec.name!r}"
    parameters = _check_parameters(tensor, where)
    if "binary_data_size" in parameters:
        raise BadRequest(f"{where}: this server does not take binary tensor data; send 'data' as a JSON array")
    datatype = tensor.get("datatype")
    if datatype != spec.datatype:
        said = "no datatype" if datatype is None else f"datatype {datatype!r}"
        raise BadRequest(f"{where} has {said}; the model expects {spec}")
    shape = _decode_shape(tensor.get("shape"), spec, where)
    if "data" not in tensor:
        raise BadRequest(f"{where} has no 'data'")
    flat = _flatten(tensor["data"], shape, where)
    return _convert(flat, spec.datatype, where).reshape(shape)


def _decode_shape(value: Any, spec: TensorSpec, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > _RANK_MAX:
        raise BadRequest(f"{where}: 'shape' must be a list of at most {_RANK_MAX} whole numbers, like {spec}")
    for size in value:
        if type(size) is not int or size < 0:
            raise BadRequest(f"{where}: 'shape' must hold whole numbers from 0, not {_kind_or_value(size)}")
    # An empty shape is a scalar or a tensor of unknown rank; ONNX Runtime alone can tell.
    fits = not spec.shape or (
        len(value) == len(spec.shape)
        and all(wanted in (-1, size) for wanted, size in zip(spec.shape, value, strict=True))
    )
    if not fits:
        raise BadRequest(f"{where} has shape {value}; the model expects {list(spec.shape)} (-1: any size)")
    return tuple(value)


def _flatten(data: Any, shape: tuple[int, ...], where: str) -> list[Any]:
    """Return the elements in row-major order from a flat array, or from one nested as ``shape`` says."""
    if not isinstance(data, list):
        if shape:
            raise BadRequest(f"{where}: 'data' must be an array, not {_kind(data)}")
        data = [data]
    if shape and len(shape) > 1 and data and isinstance(data[0], list):
        data = _unnest(data, shape, where)
    count = math.prod(shape)
    if len(data) != count:
        raise BadRequest(f"{where}: 'data' has {len(data)} elements; shape {list(shape)} needs {count}")
    return data  # type: ignore[no-any-return]  # a JSON array


def _unnest(data: list[Any], shape: tuple[int, ...], where: str) -> list[Any]:
    if len(data) != shape[0]:
        raise BadRequest(f"{where}: 'data' has {len(data)} rows; shape {list(shape)} says {shape[0]}")
    for depth, size in enumerate(shape[1:], start=1):
        for part in data:
            if not isinstance(part, list) or len(part) != size:
                found = f"{len(part)} elements" if isinstance(part, list) else _kind(part)
                raise BadRequest(
                    f"{where}: 'data' nests {found} at depth {depth}; shape {list(shape)} says {size} elements"
                )
        data = list(chain.from_iterable(data))
    return data


def _convert(flat: list[Any], datatype: str, where: str) -> Array:
    """Return the elements as one array; raise BadRequest where a value would change by that."""
    _check_types(flat, datatype, where)
    try:
        # Overflow to infinity is found below and told in our own words.
        with np.errstate(over="ignore"):
            array: Array = np.array(flat, dtype=DTYPES[datatype])
    except (OverflowError, ValueError) as error:
        raise BadRequest(f"{where}: 'data' does not fit {datatype}: {error}") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadRequest(f"{where}: 'data' holds a number that is too large for {datatype}")
    return array


def _check_types(flat: list[Any], datatype: str, where: str) -> None:
    found: set[type] = set(map(type, flat))
    allowed: set[type]
    if datatype == "BYTES":
        allowed = {str}
    elif datatype == "BOOL":
        allowed = {bool, int}
        if int in found and not set(flat) <= {0, 1}:
            raise BadRequest(f"{where}: 'data' of BOOL must be true, false, 1 or 0")
    else:
        allowed = {int, float}
        if float in found and datatype not in {"FP16", "FP32", "FP64"}:
            _check_whole(flat, datatype, where)
    wrong = found - allowed
    if wrong:
        kind = _JSON_TYPES.get(min(wrong, key=lambda one: one.__name__), "something else")
        wanted = {"BYTES": "strings", "BOOL": "booleans"}.get(datatype, "numbers")
        raise BadRequest(f"{where}: 'data' of {datatype} must be {wanted}, but holds {kind}")


def _check_whole(flat: list[Any], datatype: str, where: str) -> None:
    for value in flat:
        # From 2**53 on, a float no longer says which whole number the client meant.
        if type(value) is float and not (value.is_integer() and abs(value) < 2**53):
            raise BadRequest(f"{where}: 'data' of {datatype} must be whole numbers in its range, not {value}")


def _requested_outputs(message: dict[str, Any], specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    known = tuple(spec.name for spec in specs)
    wanted = message.get("outputs")
    if wanted is None or wanted == []:
        return known
    if not isinstance(wanted, list):
        raise BadRequest(f"'outputs' must be a list, not {_kind(wanted)}")
    names: list[str] = []
    for position, output in enumerate(wanted):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str):
            raise BadRequest(f"outputs[{position}] has no 'name'")
        if name not in known:
            raise BadRequest(f"the model has no output {name!r}; it has {_listed(specs)}")
        if name in names:
            raise BadRequest(f"output {name!r} is asked for twice")
        parameters = _check_parameters(output, f"output {name!r}")
        if "classification" in parameters:
            raise BadRequest(f"output {name!r}: this server does not support the classification extension")
        names.append(name)
    return tuple(names)


def _check_parameters(message: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = message.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"'parameters' of {where} must be an object, not {_kind(parameters)}")
    for key, value in parameters.items():
        if not isinstance(value, (str, int, float, bool)):
            raise BadRequest(f"parameter {key!r} of {where} must be a string, number or boolean, not {_kind(value)}")
    return parameters


def _data(spec: TensorSpec, array: Array) -> Any:
    flat = array.reshape(-1)
    kind = flat.dtype.kind
    if kind == "f":
        if not np.isfinite(flat).all():
            raise UnencodableOutput(f"output {spec.name!r} holds NaN or an infinity, which JSON cannot carry")
        # orjson wants native, contiguous memory.
        return np.ascontiguousarray(flat)
    if kind in "iub":
        return np.ascontiguousarray(flat)
    return [_text(spec, item) for item in flat]


def _text(spec: TensorSpec, item: Any) -> str:
    if isinstance(item, bytes):
        try:
            return item.decode("utf-8")
        except UnicodeDecodeError:
            raise UnencodableOutput(f"output {spec.name!r} holds bytes that are not UTF-8 text") from None
    return str(item)


def _kind(value: Any) -> str:
    return _JSON_TYPES.get(type(value), "something else")


def _kind_or_value(value: Any) -> str:
    return str(value) if type(value) in (int, float) else _kind(value)


def _listed(specs: Any) -> str:
    return ", ".join(f"{spec.name!r} ({spec})" for spec in specs) or "none"
