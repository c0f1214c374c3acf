"""The body of an inference request to arrays that fit the model."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from penstock_server.protocol.json_tensors import decode_data, kind
from penstock_server.protocol.plain import PlainTensors
from penstock_server.protocol.types import Array, BadRequest, InferRequest, Parameter, RequestedOutput, TensorSpec

#: numpy's own limit is 64; nothing that ONNX Runtime runs comes near.
RANK_MAX = 32


class RequestDecoder:
    """Decodes requests for one model."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._inputs = {spec.name: spec for spec in inputs}
        self._outputs = {spec.name: spec for spec in outputs}
        self._first = inputs[0].name if inputs else None
        self._plain = PlainTensors(inputs)
        self.all_outputs = tuple(RequestedOutput(name=spec.name) for spec in outputs)

    def decode(self, body: bytes) -> InferRequest:
        """Return the request in ``body``, checked against the model; raise BadRequest if it does not fit."""
        message = _parse_object(body)
        request_id = message.get("id")
        if request_id is not None and not isinstance(request_id, str):
            raise BadRequest(f"'id' must be a string, not {kind(request_id)}")
        parameters = _parameters(message, "the request")
        arrays = self._plain.decode(message.get("inputs"), body)
        if arrays is None:
            arrays = self._decode_inputs(message)
        outputs = self._requested(message.get("outputs")) if "outputs" in message else self.all_outputs
        return InferRequest(
            id=request_id, inputs=arrays, outputs=outputs, rows=self._rows(arrays), parameters=parameters
        )

    def _rows(self, arrays: Mapping[str, Array]) -> int:
        if self._first is None:
            return 1
        shape = arrays[self._first].shape
        return shape[0] if shape else 1

    def _decode_inputs(self, message: dict[str, Any]) -> dict[str, Array]:
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
                raise BadRequest(f"the model has no input {name!r}; it has {_listed(specs)}")
            if name in arrays:
                raise BadRequest(f"input {name!r} is given twice")
            arrays[name] = _decode_tensor(tensor, spec)
        missing = [name for name in specs if name not in arrays]
        if missing:
            raise BadRequest(f"input {missing[0]!r} is missing; the model needs {_listed(specs)}")
        return arrays

    def _requested(self, wanted: Any) -> tuple[RequestedOutput, ...]:
        if wanted is None or wanted == []:
            return self.all_outputs
        if not isinstance(wanted, list):
            raise BadRequest(f"'outputs' must be a list, not {kind(wanted)}")
        outputs: dict[str, RequestedOutput] = {}
        for position, output in enumerate(wanted):
            name = output.get("name") if isinstance(output, dict) else None
            if not isinstance(name, str):
                raise BadRequest(f"outputs[{position}] has no 'name'")
            if name not in self._outputs:
                raise BadRequest(f"the model has no output {name!r}; it has {_listed(self._outputs)}")
            if name in outputs:
                raise BadRequest(f"output {name!r} is asked for twice")
            parameters = _parameters(output, f"output {name!r}")
            if "classification" in parameters:
                raise BadRequest(f"output {name!r}: this server does not support the classification extension")
            outputs[name] = RequestedOutput(name=name)
        return tuple(outputs.values())


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
    if not body:
        raise BadRequest("the body is empty; send a JSON object with 'inputs'")
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadRequest(f"the body must be a JSON object, not {kind(message)}")
    return message


def _decode_tensor(tensor: dict[str, Any], spec: TensorSpec) -> Array:
    where = f"input {spec.name!r}"
    parameters = _parameters(tensor, where)
    if "binary_data_size" in parameters:
        raise BadRequest(f"{where}: this server does not take binary tensor data; send 'data' as a JSON array")
    datatype = tensor.get("datatype")
    if datatype != spec.datatype:
        said = "no datatype" if datatype is None else f"datatype {datatype!r}"
        raise BadRequest(f"{where} has {said}; the model expects {spec}")
    shape = decode_shape(tensor.get("shape"), spec, where)
    if "data" not in tensor:
        raise BadRequest(f"{where} has no 'data'")
    return decode_data(tensor["data"], spec.datatype, shape, where)


def _parameters(message: dict[str, Any], where: str) -> dict[str, Parameter]:
    parameters = message.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"'parameters' of {where} must be an object, not {kind(parameters)}")
    for key, value in parameters.items():
        if not isinstance(value, (str, int, float, bool)):
            raise BadRequest(f"parameter {key!r} of {where} must be a string, number or boolean, not {kind(value)}")
    return parameters


def _listed(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name!r} ({spec})" for name, spec in specs.items()) or "none"
