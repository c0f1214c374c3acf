"""Arrays to the body of an answer."""

from collections.abc import Sequence

import orjson

from penstock_server.protocol.binary import encode_raw
from penstock_server.protocol.classification import classes
from penstock_server.protocol.types import DTYPES, Array, InferRequest, RequestedOutput, TensorSpec, UnencodableOutput

#: Where answers have many different shapes, old ones are forgotten rather than kept for ever.
_SHAPES_KEPT = 256
TENSOR_BYTES_MAX = 1 << 28
#: orjson writes null for what JSON has no number for; among numbers, nothing else has an n in it.
_N = ord("n")
_dumps, _NUMPY = orjson.dumps, orjson.OPT_SERIALIZE_NUMPY


#: The body of an answer, and how many bytes of it are JSON before raw tensors, None: all of it is JSON.
Encoded = tuple[bytes, int | None]


class ResponseEncoder:
    """Encodes answers of one model, around the parts that are the same in all of them."""

    def __init__(self, *, model_name: str, model_version: str, outputs: Sequence[TensorSpec]) -> None:
        opening = b'{"model_name":' + orjson.dumps(model_name)
        if model_version:
            opening += b',"model_version":' + orjson.dumps(model_version)
        self._anonymous = opening + b',"outputs":['
        self._named = opening + b',"id":'
        self._tensors = {spec.name: _TensorEncoder(spec) for spec in outputs}
        #: The last outputs that were wanted as JSON, and who encodes them: requests that name none share one tuple.
        self._usual: tuple[RequestedOutput, ...] | None = None
        self._encoders: list[_TensorEncoder] = []

    def encode(self, request: InferRequest, results: Sequence[Array]) -> Encoded:
        """Return the body that answers ``request``; raise UnencodableOutput for what its encoding cannot carry.

        A NaN in JSON is an error and not ``null``: a client that averages nulls away would never learn
        that the model has lost its mind, and the error counts against the revision. Raw tensors carry
        it as it is.
        """
        if request.outputs is self._usual:
            parts = [encoder.encode_json(array) for encoder, array in zip(self._encoders, results, strict=True)]
            raw = None
        else:
            parts, raw = self._encode_asked(request.outputs, results)
        identity = request.id
        head = self._anonymous if identity is None else self._named + orjson.dumps(identity) + b',"outputs":['
        text = head + b",".join(parts) + b"]}"
        return (b"".join((text, *raw)), len(text)) if raw else (text, None)

    def _encode_asked(
        self, outputs: tuple[RequestedOutput, ...], results: Sequence[Array]
    ) -> tuple[list[bytes], list[bytes]]:
        """Return the outputs as a client asked for them, and the raw bytes that follow the JSON."""
        encoders = [self._tensors[output.name] for output in outputs]
        parts: list[bytes] = []
        raw: list[bytes] = []
        for encoder, output, array in zip(encoders, outputs, results, strict=True):
            if output.binary or output.classification:
                parts.append(encoder.encode_asked(array, output, raw))
            else:
                parts.append(encoder.encode_json(array))
        if not any(output.binary or output.classification for output in outputs):
            self._usual, self._encoders = outputs, encoders
        return parts, raw


class _TensorEncoder:
    """Encodes one output."""

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._numeric = DTYPES[spec.datatype].kind in "fiub"
        self._opening = _opening(spec.name, spec.datatype)
        # What else stands beside the tensor, as in the model's metadata.
        self._parameters = orjson.dumps(spec.parameters)[1:-1]
        self._data_opening = b',"parameters":{%s},"data":' % self._parameters if spec.classes else b',"data":'
        self._heads: dict[tuple[int, ...], bytes] = {}
        self._raw_parts: dict[tuple[int, ...], bytes] = {}

    def encode_json(self, array: Array) -> bytes:
        head = self._heads.get(array.shape)
        if head is None:
            check_size(self._spec.name, array)
            head = self._remember(array.shape)
        return head + (self._numbers(array) if self._numeric else self._texts(array)) + b"}"

    def encode_asked(self, array: Array, output: RequestedOutput, raw: list[bytes]) -> bytes:
        """Encode it as a client asked for it; raw bytes are added to ``raw``."""
        if output.binary and not output.classification and self._numeric:
            return self._encode_raw(array, raw)
        check_size(self._spec.name, array)
        opening, datatype = self._opening, self._spec.datatype
        parameters, data_opening = self._parameters, self._data_opening
        if output.classification:
            array, datatype = classes(array, output.classification, self._spec.classes), "BYTES"
            parameters, data_opening = b"", b',"data":'
            opening = _opening(self._spec.name, datatype)
        opening += orjson.dumps(array.shape)
        if not output.binary:
            return opening + data_opening + self._texts(array) + b"}"
        raw.append(encode_raw(array, datatype))
        size = b'"binary_data_size":%d' % len(raw[-1])
        return opening + b',"parameters":{' + (parameters + b"," + size if parameters else size) + b"}}"

    def _encode_raw(self, array: Array, raw: list[bytes]) -> bytes:
        """Encode numbers as raw bytes; what JSON says of them follows from their shape."""
        part = self._raw_parts.get(array.shape)
        if part is None:
            check_size(self._spec.name, array)
            size = b'"binary_data_size":%d' % (array.size * DTYPES[self._spec.datatype].itemsize)
            parameters = self._parameters + b"," + size if self._parameters else size
            part = self._opening + orjson.dumps(array.shape) + b',"parameters":{' + parameters + b"}}"
            if len(self._raw_parts) >= _SHAPES_KEPT:
                self._raw_parts.clear()
            self._raw_parts[array.shape] = part
        raw.append(encode_raw(array, self._spec.datatype))
        return part

    def _remember(self, shape: tuple[int, ...]) -> bytes:
        if len(self._heads) >= _SHAPES_KEPT:
            self._heads.clear()
        head = self._opening + orjson.dumps(shape) + self._data_opening
        self._heads[shape] = head
        return head

    def _texts(self, array: Array) -> bytes:
        return orjson.dumps([self._text(item) for item in array.reshape(-1)])

    def _numbers(self, array: Array) -> bytes:
        try:
            data = _dumps(array if array.ndim == 1 else array.ravel(), None, _NUMPY)
        except orjson.JSONEncodeError:  # it wants contiguous memory in this machine's byte order
            data = _dumps(array.reshape(-1).tolist())
        if _N in data:
            raise self._no_number()
        return data

    def _no_number(self) -> UnencodableOutput:
        return UnencodableOutput(
            f"output {self._spec.name!r} holds NaN or an infinity, which JSON cannot carry; "
            "ask for it as binary data to see it"
        )

    def _text(self, item: object) -> str:
        if isinstance(item, bytes):
            try:
                return item.decode("utf-8")
            except UnicodeDecodeError:
                raise UnencodableOutput(
                    f"output {self._spec.name!r} holds bytes that are not UTF-8 text, which JSON cannot carry; "
                    "ask for it as binary data"
                ) from None
        return str(item)


def check_size(name: str, array: Array) -> None:
    """Raise UnencodableOutput for an output whose encoding would take too much memory, and hold up all others."""
    if array.nbytes > TENSOR_BYTES_MAX:
        raise UnencodableOutput(
            f"output {name!r} has shape {list(array.shape)}, which is {array.nbytes} bytes; an answer holds at most "
            f"{TENSOR_BYTES_MAX} bytes of each output"
        )


def encode_error(message: str) -> bytes:
    """Return the body of every answer that is not a 2xx."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode("utf-8")})


def _opening(name: str, datatype: str) -> bytes:
    return b'{"name":%s,"datatype":%s,"shape":' % (orjson.dumps(name), orjson.dumps(datatype))
