"""A request that fits a model, to copy and paste."""

import json
import math
import shlex
from collections.abc import Sequence
from typing import Any

from penstock_server.protocol import TensorSpec

#: More numbers than this are better made by a program than printed.
_ELEMENTS_SHOWN_MAX = 64
#: Nobody who copies a command expects it to fill the memory.
_ELEMENTS_MADE_MAX = 4_000_000


def curl(url: str, inputs: Sequence[TensorSpec]) -> str:
    """Return a shell command that posts the smallest request of zeros to ``url``, or why there is none."""
    tensors = [_head(spec) for spec in inputs]
    counts = [math.prod(tensor["shape"]) for tensor in tensors]
    if sum(counts) <= _ELEMENTS_SHOWN_MAX:
        for spec, tensor, count in zip(inputs, tensors, counts, strict=True):
            tensor["data"] = [_zero(spec)] * count
        return f"curl -s {url} -d {shlex.quote(json.dumps({'inputs': tensors}))}"
    if sum(counts) > _ELEMENTS_MADE_MAX:
        return f"no sample: a request has {sum(counts)} values at least, more than JSON may have; send binary data"
    written = ", ".join(
        f"dict({tensor!r}, data=[{_zero(spec)!r}] * {count})"
        for spec, tensor, count in zip(inputs, tensors, counts, strict=True)
    )
    program = f"import json; print(json.dumps(dict(inputs=[{written}])))"
    return f"python3 -c {shlex.quote(program)} | curl -s {url} -d @-"


def _head(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": [1 if size < 0 else size for size in spec.shape]}


def _zero(spec: TensorSpec) -> object:
    match spec.datatype:
        case "BYTES":
            return ""
        case "BOOL":
            return False
        case _:
            return 0
