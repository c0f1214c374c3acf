"""Arrays to the body of an answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from penstock_server.protocol.types import Array, InferRequest, TensorSpec, UnencodableOutput

#: Where answers have many different shapes, old ones are forgotten rather than kept for ever.
_SHAPES_KEPT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The body of an answer; ``json_bytes`` of it are JSON and the rest raw tensors, None: all of it is JSON."""

    body: bytes
    json_bytes: int | None = None


class ResponseEncoder:
    """Encodes answers of one model, around the parts that are the same in all of them."""

    def __init__(self, *, model_name: str, model_version: str, outputs: Sequence[TensorSpec]) -> None:
        opening = b'{"model_name":' + orjson.dumps(model_name)
        if model_version:
            opening += b',"model_version":' + orjson.dumps(model_version)
        self._opening = opening
        self._tensors = {spec.name: _TensorEncoder(spec) for spec in outputs}

    def encode(self, request: InferRequest, results: Sequence[Array]) -> Encoded:
        """Return the body that answers ``request``; raise UnencodableOutput for NaN, infinities and foreign types.

        A NaN is an error and not ``null``: a client that averages nulls away would never learn that the
        model has lost its mind, and the error counts against the revision.
        """
        tensors = self._tensors
        parts = [
            tensors[output.name].encode_json(array) for output, array in zip(request.outputs, results, strict=True)
        ]
        return Encoded(body=b"".join((self._head(request.id), b",".join(parts), b"]}")))

    def _head(self, request_id: str | None) -> bytes:
        if request_id is None:
            return self._opening + b',"outputs":['
        return self._opening + b',"id":' + orjson.dumps(request_id) + b',"outputs":['


class _TensorEncoder:
    """Encodes one output."""

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._opening = b'{"name":%s,"datatype":%s,"shape":' % (orjson.dumps(spec.name), orjson.dumps(spec.datatype))
        self._heads: dict[tuple[int, ...], bytes] = {}

    def encode_json(self, array: Array) -> bytes:
        shape = array.shape
        head = self._heads.get(shape)
        if head is None:
            head = self._remember(shape)
        return head + self._data(array) + b"}"

    def _remember(self, shape: tuple[int, ...]) -> bytes:
        if len(self._heads) >= _SHAPES_KEPT:
            self._heads.clear()
        head = self._opening + orjson.dumps(shape) + b',"data":'
        self._heads[shape] = head
        return head

    def _data(self, array: Array) -> bytes:
        if array.dtype.kind not in "fiub":
            return orjson.dumps([self._text(item) for item in array.reshape(-1)])
        # orjson wants contiguous memory; results of ONNX Runtime nearly always are.
        flat = np.ascontiguousarray(array).reshape(-1)
        data = orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)
        # It writes null for what JSON has no number for; among numbers, nothing else looks like it.
        if b"n" in data:
            raise UnencodableOutput(f"output {self._spec.name!r} holds NaN or an infinity, which JSON cannot carry")
        return data

    def _text(self, item: object) -> str:
        if isinstance(item, bytes):
            try:
                return item.decode("utf-8")
            except UnicodeDecodeError:
                raise UnencodableOutput(f"output {self._spec.name!r} holds bytes that are not UTF-8 text") from None
        return str(item)


def encode_error(message: str) -> bytes:
    """Return the body of every answer that is not a 2xx."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode("utf-8")})
