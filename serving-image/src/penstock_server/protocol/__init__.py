"""Open Inference Protocol v2 without its transport: bodies to arrays, arrays to bodies."""

from penstock_server.protocol.request import JSON_BYTES_HEADER, RequestDecoder
from penstock_server.protocol.response import Encoded, ResponseEncoder, encode_error
from penstock_server.protocol.types import (
    DTYPES,
    Array,
    BadRequest,
    InferRequest,
    RequestedOutput,
    TensorSpec,
    UnencodableOutput,
)

__all__ = [
    "DTYPES",
    "JSON_BYTES_HEADER",
    "Array",
    "BadRequest",
    "Encoded",
    "InferRequest",
    "RequestDecoder",
    "RequestedOutput",
    "ResponseEncoder",
    "TensorSpec",
    "UnencodableOutput",
    "encode_error",
]
