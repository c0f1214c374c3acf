"""The body of an inference request to arrays that fit the model."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from penstock_server.protocol.binary import decode_raw
from penstock_server.protocol.json_limits import SMALL_BYTES_MAX, check_structure
from penstock_server.protocol.json_tensors import decode_data, kind, shown
from penstock_server.protocol.parameters import classes_wanted, flag, parameters_of, raw_bytes, seconds_wanted
from penstock_server.protocol.plain import PlainTensors
from penstock_server.protocol.types import (
    DTYPES,
    ID_LENGTH_MAX,
    Array,
    BadRequest,
    InferRequest,
    Parameter,
    RequestedOutput,
    TensorSpec,
)

#: numpy's own limit is 64; nothing that ONNX Runtime runs comes near.
RANK_MAX = 32
#: The header that says how many bytes of a body are JSON; raw tensors follow.
JSON_BYTES_HEADER = "Inference-Header-Content-Length"

#: JSON before raw tensors that was understood once: clients that send the same shapes send the same JSON.
_KNOWN_MAX = 256
_KNOWN_BYTES_MAX = 1024


class _Known(NamedTuple):
    """What JSON says whose tensors are all raw: of each the name, what errors call it, datatype, shape and size."""

    tensors: list[tuple[str, str, str, tuple[int, ...], int]]
    raw_bytes: int
    outputs: tuple[RequestedOutput, ...]
    seconds: float | None
    parameters: Mapping[str, Parameter]


#: Id, wanted outputs, seconds, parameters.
_Else = tuple[str | None, tuple[RequestedOutput, ...], float | None, Mapping[str, Parameter]]


class RequestDecoder:
    """Decodes requests for one model."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._inputs = {spec.name: spec for spec in inputs}
        self._outputs = {spec.name: spec for spec in outputs}
        self._first = inputs[0].name if inputs else None
        self._plain = PlainTensors(inputs)
        self._all = {
            binary: tuple(RequestedOutput(name=spec.name, binary=binary) for spec in outputs)
            for binary in (False, True)
        }
        self._known: dict[bytes, _Known] = {}
        self._nothing_else: _Else = (None, self._all[False], None, {})

    def decode(self, body: bytes, json_bytes: int | None = None) -> InferRequest:
        """Return the request in ``body``, checked against the model; raise BadRequest if it does not fit.

        ``json_bytes`` of it are JSON and the rest raw tensors; None: all of it is JSON; 0: all of it is
        the only input.
        """
        if json_bytes is None:
            return self._decode_message(_parse_object(body), body, None)
        if not 0 <= json_bytes <= len(body):
            raise BadRequest(
                f"{JSON_BYTES_HEADER} is {json_bytes}, but must be from 0 to the length of the body, {len(body)}"
            )
        if json_bytes == 0:
            return self._decode_raw_body(body)
        text = body[:json_bytes]
        raw = memoryview(body)[json_bytes:]
        if json_bytes > _KNOWN_BYTES_MAX:
            if json_bytes > len(raw):
                raw = memoryview(bytes(raw))  # its arrays may be kept for a while, and would keep all of the body
            return self._decode_message(_parse_object(text), text, raw)
        known = self._known.get(text)
        if known is None or known.raw_bytes != len(raw):
            return self._learn(text, self._decode_message(_parse_object(text), text, raw), len(raw))
        arrays: dict[str, Array] = {}
        begin = 0
        for name, where, datatype, shape, size in known.tensors:
            end = begin + size
            arrays[name] = decode_raw(raw[begin:end], datatype, shape, where)
            begin = end
        return InferRequest(None, arrays, known.outputs, self._rows(arrays), known.seconds, known.parameters)

    def _learn(self, text: bytes, request: InferRequest, raw_bytes: int) -> InferRequest:
        """Remember what JSON says of the raw tensors behind it, if it says nothing that changes with each request."""
        datatypes = [self._inputs[name].datatype for name in request.inputs]
        sizes = [array.nbytes for array in request.inputs.values()]
        # Otherwise some tensors are not raw, or their sizes are not those of their shapes.
        if request.id is None and "BYTES" not in datatypes and sum(sizes) == raw_bytes:
            shapes = [array.shape for array in request.inputs.values()]
            wheres = [f"input {name!r}" for name in request.inputs]
            tensors = list(zip(request.inputs, wheres, datatypes, shapes, sizes, strict=True))
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[text] = _Known(tensors, raw_bytes, request.outputs, request.timeout_seconds, request.parameters)
        return request

    def _decode_message(self, message: dict[str, Any], text: bytes, raw: memoryview | None) -> InferRequest:
        only_inputs = len(message) == 1 and "inputs" in message
        request_id, outputs, seconds, parameters = self._nothing_else if only_inputs else self._else(message)
        arrays = None if raw else self._plain.decode(message.get("inputs"), text)
        if arrays is None:
            arrays = self._decode_inputs(message, raw)
        return InferRequest(request_id, arrays, outputs, self._rows(arrays), seconds, parameters)

    def _else(self, message: dict[str, Any]) -> _Else:
        """Return what a message says besides its inputs."""
        request_id = message.get("id")
        if request_id is not None and type(request_id) is not str:
            raise BadRequest(f"'id' must be a string, not {kind(request_id)}")
        if request_id is not None and len(request_id) > ID_LENGTH_MAX:
            raise BadRequest(f"'id' has {len(request_id)} characters; send at most {ID_LENGTH_MAX}")
        outputs, seconds = self._all[False], None
        parameters = parameters_of(message, "the request")
        if parameters:
            seconds = seconds_wanted(parameters)
            outputs = self._all[flag(parameters, "binary_data_output", "the request")]
        if "outputs" in message:
            outputs = self._requested(message["outputs"], outputs)
        return request_id, outputs, seconds, parameters

    def _decode_raw_body(self, body: bytes) -> InferRequest:
        if len(self._inputs) != 1:
            raise BadRequest(
                f"a body without JSON ({JSON_BYTES_HEADER}: 0) can only be sent to a model with one input; this one "
                f"has {_listed(self._inputs)}"
            )
        (spec,) = self._inputs.values()
        array = _whole_body(body, spec)
        arrays = {spec.name: array}
        return InferRequest(id=None, inputs=arrays, outputs=self._all[True], rows=self._rows(arrays))

    def _rows(self, arrays: Mapping[str, Array]) -> int:
        if self._first is None:
            return 1
        array = arrays[self._first]
        return array.shape[0] if array.ndim and array.size else rows_of(array)

    def _decode_inputs(self, message: dict[str, Any], raw: memoryview | None) -> dict[str, Array]:
        tensors = message.get("inputs")
        if not isinstance(tensors, list):
            raise BadRequest(
                "'inputs' is missing" if tensors is None else f"'inputs' must be a list, not {kind(tensors)}"
            )
        specs = self._inputs
        arrays: dict[str, Array] = {}
        for position, tensor in enumerate(tensors):
            if not isinstance(tensor, dict):
                raise BadRequest(f"inputs[{position}] must be an object, not {kind(tensor)}")
            name = tensor.get("name")
            if not isinstance(name, str):
                raise BadRequest(f"inputs[{position}] has no 'name'")
            spec = specs.get(name)
            if spec is None:
                raise BadRequest(f"the model has no input {shown(name)}; it has {_listed(specs)}")
            if name in arrays:
                raise BadRequest(f"input {name!r} is given twice")
            arrays[name], raw = _decode_tensor(tensor, spec, raw)
        missing = [name for name in specs if name not in arrays]
        if missing:
            raise BadRequest(f"input {missing[0]!r} is missing; the model needs {_listed(specs)}")
        if raw:
            raise BadRequest(f"{len(raw)} bytes of the body belong to no input; name them by 'binary_data_size'")
        return arrays

    def _requested(self, wanted: Any, every: tuple[RequestedOutput, ...]) -> tuple[RequestedOutput, ...]:
        if wanted is None or wanted == []:
            return every
        if not isinstance(wanted, list):
            raise BadRequest(f"'outputs' must be a list, not {kind(wanted)}")
        binary = every is self._all[True]
        outputs: dict[str, RequestedOutput] = {}
        for position, output in enumerate(wanted):
            name = output.get("name") if isinstance(output, dict) else None
            if not isinstance(name, str):
                raise BadRequest(f"outputs[{position}] has no 'name'")
            if name not in self._outputs:
                raise BadRequest(f"the model has no output {shown(name)}; it has {_listed(self._outputs)}")
            if name in outputs:
                raise BadRequest(f"output {name!r} is asked for twice")
            where = f"output {name!r}"
            parameters = parameters_of(output, where)
            outputs[name] = RequestedOutput(
                name=name,
                binary=flag(parameters, "binary_data", where, default=binary),
                classification=classes_wanted(parameters, self._outputs[name], where),
            )
        return tuple(outputs.values())


def rows_of(array: Array) -> int:
    """Return how many rows an input has: none without elements, however many its shape claims; a scalar is one."""
    if not array.ndim:
        return 1
    return array.shape[0] if array.size else 0


def decode_shape(value: Any, spec: TensorSpec, where: str) -> tuple[int, ...]:
    """Return a shape that fits the model; raise BadRequest for any other."""
    if not isinstance(value, list) or len(value) > RANK_MAX:
        raise BadRequest(f"{where}: 'shape' must be a list of at most {RANK_MAX} whole numbers, like {spec}")
    for size in value:
        if type(size) is not int or size < 0:
            said = str(size) if type(size) in (int, float) else kind(size)
            raise BadRequest(f"{where}: 'shape' must hold whole numbers from 0, not {said}")
    # An empty shape is a scalar or a tensor of unknown rank; ONNX Runtime alone can tell.
    fits = not spec.shape or (
        len(value) == len(spec.shape)
        and all(wanted in (-1, size) for wanted, size in zip(spec.shape, value, strict=True))
    )
    if not fits:
        raise BadRequest(f"{where} has shape {value}; the model expects {list(spec.shape)} (-1: any size)")
    return tuple(value)


def _parse_object(body: bytes) -> dict[str, Any]:
    if len(body) > SMALL_BYTES_MAX:
        check_structure(body)
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if not body:
            raise BadRequest("the body is empty; send a JSON object with 'inputs'") from None
        raise BadRequest(f"the body is not JSON: {error}") from None
    if type(message) is not dict:
        raise BadRequest(f"the body must be a JSON object, not {kind(message)}")
    return message


def _decode_tensor(tensor: dict[str, Any], spec: TensorSpec, raw: memoryview | None) -> tuple[Array, memoryview | None]:
    """Return the tensor, and what is left of the raw bytes."""
    where = f"input {spec.name!r}"
    size = raw_bytes(parameters_of(tensor, where), where)
    datatype = tensor.get("datatype")
    if datatype != spec.datatype:
        said = "no datatype" if datatype is None else f"datatype {shown(datatype)}"
        raise BadRequest(f"{where} has {said}; the model expects {spec}")
    shape = decode_shape(tensor.get("shape"), spec, where)
    if size is None:
        if "data" not in tensor:
            raise BadRequest(f"{where} has no 'data'")
        return decode_data(tensor["data"], spec.datatype, shape, where), raw
    if "data" in tensor:
        raise BadRequest(f"{where} has both 'data' and 'binary_data_size'; send one of them")
    if raw is None:
        raise BadRequest(f"{where} has 'binary_data_size', but the request has no header {JSON_BYTES_HEADER}")
    if size > len(raw):
        raise BadRequest(f"{where}: 'binary_data_size' is {size}, but only {len(raw)} bytes are left of the body")
    return decode_raw(raw[:size], spec.datatype, shape, where), raw[size:]


def _whole_body(body: bytes, spec: TensorSpec) -> Array:
    """Return the only input, whose one unknown dimension follows from the length of the body."""
    where = f"input {spec.name!r}"
    unknown = sum(size < 0 for size in spec.shape)
    if unknown > 1:
        raise BadRequest(f"{where} is {spec}: with more than one open dimension, it cannot be sent without JSON")
    if spec.datatype == "BYTES":
        if any(size not in (-1, 1) for size in spec.shape):
            raise BadRequest(f"{where} is {spec}: only a single string can be sent without JSON")
        prefixed = len(body).to_bytes(4, "little") + body
        return decode_raw(prefixed, "BYTES", (1,) * len(spec.shape), where)
    row = math.prod(size for size in spec.shape if size >= 0) * DTYPES[spec.datatype].itemsize
    rows = len(body) // row if unknown and row else 1
    return decode_raw(body, spec.datatype, tuple(rows if size < 0 else size for size in spec.shape), where)


def _listed(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name!r} ({spec})" for name, spec in specs.items()) or "none"
