"""What the protocol talks about: tensors, requests, and what can be wrong with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
#: The values that ``parameters`` may hold.
Parameter = str | int | float | bool

#: The protocol's names and what numpy calls them. FP16 is accepted in JSON too: without it, a half
#: precision model could not be asked anything by a client that knows no binary tensors.
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

#: Ids are kept with what waits for being counted and logged.
ID_LENGTH_MAX = 4096

_NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})


class BadRequest(ValueError):  # noqa: N818 - the words of HTTP
    """The request cannot be understood or does not fit the model; the message says where and why."""


class UnencodableOutput(Exception):  # noqa: N818 - it says what is wrong with a value, not with us
    """The model answered something that the wanted encoding cannot carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model; -1 in the shape is a dimension that requests choose.

    ``classes``: what the columns of a table of probabilities stand for, where the model says so.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    classes: tuple[int, ...] | tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return the protocol's metadata of this tensor."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def to_json(self) -> dict[str, Any]:
        """Return the metadata with its parameters, which only the JSON form of it can carry."""
        return {**self.to_wire(), "parameters": self.parameters} if self.classes else self.to_wire()

    @property
    def parameters(self) -> dict[str, str]:
        """What stands beside the tensor in metadata and in each answer; the protocol has no lists here, so JSON."""
        return {"classes": json.dumps(self.classes, ensure_ascii=False)} if self.classes else {}

    def __str__(self) -> str:
        return f"{self.datatype} {list(self.shape)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOutput:
    """An output that the client wants: raw bytes or JSON; ``classification``: only the k largest, 0: all of it."""

    name: str
    binary: bool = False
    classification: int = 0


class InferRequest(NamedTuple):
    """What a client asks: arrays by input name, and the outputs it wants in its order.

    ``timeout_seconds`` is what the client is ready to wait, None: as long as the server does. A tuple, because one is
    made for each request: a frozen dataclass sets its fields one by one, which takes four times as long.
    """

    id: str | None
    inputs: Mapping[str, Array]
    outputs: tuple[RequestedOutput, ...]
    rows: int
    timeout_seconds: float | None = None
    parameters: Mapping[str, Parameter] = _NO_PARAMETERS

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the wanted outputs, in the client's order."""
        return tuple(output.name for output in self.outputs)
