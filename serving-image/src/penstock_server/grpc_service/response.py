"""Arrays to a ``ModelInferResponse``."""

from collections.abc import Sequence

from penstock_server.grpc_service.messages import ModelInferResponse
from penstock_server.grpc_service.tensors import FIELDS, encode_contents
from penstock_server.protocol import Array, InferRequest, TensorSpec
from penstock_server.protocol.binary import encode_raw


class MessageEncoder:
    """Encodes answers of one model."""

    def __init__(self, *, model_name: str, model_version: str, outputs: Sequence[TensorSpec]) -> None:
        self._model_name = model_name
        self._model_version = model_version
        self._specs = {spec.name: spec for spec in outputs}

    def encode(self, request: InferRequest, results: Sequence[Array], *, raw: bool) -> bytes:
        """Return the answer; ``raw`` as the request was, and wherever an output has no typed form."""
        message = ModelInferResponse(
            model_name=self._model_name, model_version=self._model_version, id=request.id or ""
        )
        specs = [self._specs[output.name] for output in request.outputs]
        raw = raw or any(spec.datatype not in FIELDS for spec in specs)
        for spec, array in zip(specs, results, strict=True):
            tensor = message.outputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
            if raw:
                message.raw_output_contents.append(encode_raw(array, spec.datatype))
            else:
                encode_contents(array, spec.datatype, tensor.contents)
        encoded: bytes = message.SerializeToString()
        return encoded
