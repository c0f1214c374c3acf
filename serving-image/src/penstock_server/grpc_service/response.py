"""Arrays to a ``ModelInferResponse``."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from penstock_server.grpc_service.http2.call import Message
from penstock_server.grpc_service.messages import ModelInferResponse
from penstock_server.grpc_service.tensors import FIELDS, encode_contents
from penstock_server.protocol import Array, InferRequest, RequestedOutput, TensorSpec
from penstock_server.protocol.binary import encode_raw, view_raw
from penstock_server.protocol.classification import classes
from penstock_server.protocol.response import check_size

#: From here on, a tensor is sent from where it lies.
_LARGE = 1 << 14
#: Field 6, raw_output_contents, whose length and bytes follow.
_TAG = b"\x32"
#: Where answers have many different shapes, old ones are forgotten rather than kept for ever.
_SHAPES_KEPT = 256
_SHAPE_OF = attrgetter("shape")


class _Known(NamedTuple):
    """An answer without its numbers: all but the raw contents, and what comes before each of those."""

    rest: bytes
    datatypes: list[str]
    openings: list[bytes]


class MessageEncoder:
    """Encodes answers of one model."""

    def __init__(self, *, model_name: str, model_version: str, outputs: Sequence[TensorSpec]) -> None:
        self._model_name = model_name
        self._model_version = model_version
        self._specs = {spec.name: spec for spec in outputs}
        #: The last outputs that were wanted (requests that name none share one tuple), and answers by their shapes.
        self._usual: tuple[RequestedOutput, ...] | None = None
        self._known: dict[tuple[tuple[int, ...], ...], _Known] = {}

    def encode(self, request: InferRequest, results: Sequence[Array], *, raw: bool) -> Message:
        """Return the answer; ``raw`` as the request was, and wherever an output has no typed form."""
        known = None
        if raw and request.id is None and request.outputs is self._usual:
            known = self._known.get(tuple(map(_SHAPE_OF, results)))
        if known is None:
            return self._encode(request, results, raw=raw)
        parts = [known.rest]
        for datatype, opening, array in zip(known.datatypes, known.openings, results, strict=True):
            parts += (opening, encode_raw(array, datatype))
        return b"".join(parts)

    def _encode(self, request: InferRequest, results: Sequence[Array], *, raw: bool) -> Message:
        message = ModelInferResponse(
            model_name=self._model_name, model_version=self._model_version, id=request.id or ""
        )
        tensors = [self._tensor(output, array) for output, array in zip(request.outputs, results, strict=True)]
        raw = raw or any(datatype not in FIELDS for _, datatype, _ in tensors)
        large: list[bytes | memoryview] = []
        for spec, datatype, array in tensors:
            tensor = message.outputs.add(name=spec.name, datatype=datatype, shape=array.shape)
            for name, value in spec.parameters.items() if spec.classes and datatype == spec.datatype else ():
                tensor.parameters[name].string_param = value
            if raw and (large or array.nbytes > _LARGE):
                view = view_raw(array, datatype)
                large += (_TAG + _varint(len(view)), view)
            elif raw:
                message.raw_output_contents.append(encode_raw(array, datatype))
            else:
                encode_contents(array, datatype, tensor.contents)
        encoded: bytes = message.SerializeToString()
        if raw and request.id is None and not large:
            self._learn(request, results, message)
        # The order of different fields in a message is free, that of one field's elements is not.
        return (encoded, *large) if large else encoded

    def _learn(self, request: InferRequest, results: Sequence[Array], message: Any) -> None:
        """Remember all of an answer but the numbers, which is the same for all results of the same shapes."""
        datatypes = [self._specs[output.name].datatype for output in request.outputs]
        if "BYTES" in datatypes or any(output.classification for output in request.outputs):
            return
        if request.outputs is not self._usual or len(self._known) >= _SHAPES_KEPT:
            self._usual, self._known = request.outputs, {}
        openings = [_TAG + _varint(len(contents)) for contents in message.raw_output_contents]
        message.ClearField("raw_output_contents")
        self._known[tuple(map(_SHAPE_OF, results))] = _Known(message.SerializeToString(), datatypes, openings)

    def _tensor(self, output: RequestedOutput, array: Array) -> tuple[TensorSpec, str, Array]:
        """Return an output as it was asked for: its numbers, or its largest ones as text."""
        spec = self._specs[output.name]
        check_size(spec.name, array)
        if output.classification:
            return spec, "BYTES", classes(array, output.classification, spec.classes)
        return spec, spec.datatype, array


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value >= 128:  # noqa: PLR2004 - seven bits an octet
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)
