"""From a ``ModelInferRequest`` to arrays that fit the model."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock_server.grpc_service.http2.call import Bytes
from penstock_server.grpc_service.tensors import decode_contents
from penstock_server.protocol import Array, BadRequest, InferRequest, RequestedOutput, TensorSpec
from penstock_server.protocol.binary import decode_raw
from penstock_server.protocol.json_tensors import shown
from penstock_server.protocol.parameters import classes_wanted, seconds_wanted
from penstock_server.protocol.request import decode_shape, rows_of
from penstock_server.protocol.types import ID_LENGTH_MAX, Parameter

_SHAPES_KEPT = 256
#: Triton's clients name memory that they share with their server; here there is none.
_SHARED_MEMORY = "shared_memory_region"


class MessageDecoder:
    """Decodes requests for one model."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._inputs = {spec.name: spec for spec in inputs}
        self._outputs = {spec.name: spec for spec in outputs}
        self._first = inputs[0].name if inputs else None
        #: Shapes that fit, by the input's name: most requests have one that is known.
        self._shapes: set[tuple[str, tuple[int, ...]]] = set()
        self._all_outputs = tuple(RequestedOutput(name=spec.name, binary=True) for spec in outputs)

    def decode(self, message: Any, raw: Sequence[Bytes] | None = None, *, seconds_max: float | None) -> InferRequest:
        """Return what the message asks, checked against the model; raise BadRequest if it does not fit.

        ``raw`` are its raw tensors, where they were taken out of it. ``seconds_max`` is the deadline of the call; a
        parameter of the request may be shorter.
        """
        parameters = _parameters(message.parameters, "the request") if message.parameters else {}
        if len(message.id) > ID_LENGTH_MAX:
            raise BadRequest(f"'id' has {len(message.id)} characters; send at most {ID_LENGTH_MAX}")
        arrays = self._decode_inputs(message.inputs, message.raw_input_contents if raw is None else raw)
        return InferRequest(
            id=message.id or None,
            inputs=arrays,
            outputs=self._requested(message.outputs) if message.outputs else self._all_outputs,
            rows=1 if self._first is None else rows_of(arrays[self._first]),
            timeout_seconds=_shorter(seconds_wanted(parameters) if parameters else None, seconds_max),
            parameters=parameters,
        )

    def _decode_inputs(self, tensors: Sequence[Any], raw: Sequence[Bytes]) -> dict[str, Array]:
        if raw and len(raw) != len(tensors):
            raise BadRequest(
                f"raw_input_contents has {len(raw)} entries for {len(tensors)} inputs; send one for each input, in "
                "their order, or none at all"
            )
        specs = self._inputs
        arrays: dict[str, Array] = {}
        for position, tensor in enumerate(tensors):
            name = tensor.name
            spec = specs.get(name)
            if spec is None:
                if not name:
                    raise BadRequest(f"inputs[{position}] has no 'name'")
                raise BadRequest(f"the model has no input {shown(name)}; it has {_listed(specs)}")
            if name in arrays:
                raise BadRequest(f"input {name!r} is given twice")
            arrays[name] = self._decode_tensor(tensor, spec, raw[position] if raw else None)
        missing = [name for name in specs if name not in arrays]
        if missing:
            raise BadRequest(f"input {missing[0]!r} is missing; the model needs {_listed(specs)}")
        return arrays

    def _decode_tensor(self, tensor: Any, spec: TensorSpec, raw: Bytes | None) -> Array:
        where = f"input {spec.name!r}"
        if tensor.parameters:
            _parameters(tensor.parameters, where)
        if tensor.datatype != spec.datatype:
            said = f"datatype {shown(tensor.datatype)}" if tensor.datatype else "no datatype"
            raise BadRequest(f"{where} has {said}; the model expects {spec}")
        shape = tuple(tensor.shape)
        if (spec.name, shape) not in self._shapes:
            decode_shape(list(shape), spec, where)
            if len(self._shapes) >= _SHAPES_KEPT:
                self._shapes.clear()
            self._shapes.add((spec.name, shape))
        if raw is None:
            return decode_contents(tensor.contents, spec.datatype, shape, where)
        if tensor.HasField("contents") and tensor.contents.ListFields():
            raise BadRequest(f"{where} has both contents and an entry in raw_input_contents; send one of them")
        return decode_raw(raw, spec.datatype, shape, where)

    def _requested(self, wanted: Sequence[Any]) -> tuple[RequestedOutput, ...]:
        outputs: dict[str, RequestedOutput] = {}
        for position, output in enumerate(wanted):
            name = output.name
            if not name:
                raise BadRequest(f"outputs[{position}] has no 'name'")
            if name not in self._outputs:
                raise BadRequest(f"the model has no output {shown(name)}; it has {_listed(self._outputs)}")
            if name in outputs:
                raise BadRequest(f"output {name!r} is asked for twice")
            where = f"output {name!r}"
            count = classes_wanted(_parameters(output.parameters, where), self._outputs[name], where)
            outputs[name] = RequestedOutput(name=name, binary=True, classification=count)
        return tuple(outputs.values())


def _parameters(wire: Mapping[str, Any], where: str) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for name, value in wire.items():
        choice = value.WhichOneof("parameter_choice")
        if choice is None:
            raise BadRequest(f"parameter {shown(name)} of {where} has no value")
        parameters[name] = getattr(value, choice)
    if _SHARED_MEMORY in parameters:
        raise BadRequest(f"{where}: this server shares no memory with its clients; send the elements in the message")
    return parameters


def _shorter(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _listed(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name!r} ({spec})" for name, spec in specs.items()) or "none"
