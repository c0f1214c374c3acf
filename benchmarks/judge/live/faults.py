"""What is injected: small models whose share of errors, slowness and appetite are known, some of which get worse."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

#: Of all requests to a healthy model, so many end with an error of its own making.
BASE_ERRORS = 0.05
#: Matrix products of this size take a millisecond of a core, so many of them.
_SIZE, _ROUNDS_OF_A_MS = 128, 22
_FLOATS_OF_A_MB = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How a model behaves. What is "a second" grows from ``begins_at`` on, a time that requests carry."""

    errors: float = BASE_ERRORS
    slower_ms: float = 0.0
    slower_ms_a_second: float = 0.0
    memory_mb_a_second: float = 0.0
    begins_at: float = 0.0

    def beginning(self, at: float) -> "Fault":
        """Return the fault that begins to grow at a time."""
        return replace(self, begins_at=at)


def model_of(fault: Fault) -> bytes:
    """Return an ONNX model with input x [-1,2], a number between 0 and 1 and a time, that behaves like this.

    It fails where the number is among the highest ``errors`` of all, by a lookup in a table that is too short. The cost
    depends on the input: what does not would be computed once, when the model is loaded.
    """
    nodes = [
        *_column("chance", 0),
        *_column("time", 1),
        _constant("begins", np.float32(fault.begins_at)),
        _constant("nothing", np.float32(0)),
        helper.make_node("Sub", ["time", "begins"], ["since"]),
        helper.make_node("Max", ["since", "nothing"], ["age"]),
        *_lookup(fault),
        *_burning(fault),
        *_filling(fault),
        helper.make_node("Sum", ["looked_up", "burnt", "filled"], ["addend"]),
        helper.make_node("Add", ["x", "addend"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "injected", [_tensor("x", [None, 2])], [_tensor("y", [None, 2])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _column(name: str, index: int) -> list[Any]:
    return [
        _constant(f"{name}_at", np.array([index], dtype=np.int64)),
        helper.make_node("Gather", ["x", f"{name}_at"], [f"{name}_column"], axis=1),
        helper.make_node("ReduceMax", [f"{name}_column"], [name], keepdims=0),
    ]


def _lookup(fault: Fault) -> list[Any]:
    return [
        _constant("good_below", np.float32(1 - fault.errors)),
        _constant("table", np.zeros(1, dtype=np.float32)),
        helper.make_node("Greater", ["chance", "good_below"], ["is_bad"]),
        helper.make_node("Cast", ["is_bad"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["looked_up"], axis=0, name="PriceListLookup"),
    ]


def _burning(fault: Fault) -> list[Any]:
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "mixing"], ["next"]),
            helper.make_node("Identity", ["go_on"], ["go_on_out"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            _tensor("state", [_SIZE, _SIZE]),
        ],
        [helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, []), _tensor("next", [_SIZE, _SIZE])],
    )
    # Rows of the mixing matrix sum to one, so that the state stays as small as it starts.
    weight = numpy_helper.from_array(np.array([1 / _SIZE], dtype=np.float32))
    return [
        _constant("square", np.array([_SIZE, _SIZE], dtype=np.int64)),
        _constant("always", np.float32(fault.slower_ms * _ROUNDS_OF_A_MS)),
        _constant("more", np.float32(fault.slower_ms_a_second * _ROUNDS_OF_A_MS)),
        _constant("true", np.array(True)),  # noqa: FBT003 - a tensor that holds true
        helper.make_node("Mul", ["age", "more"], ["grown"]),
        helper.make_node("Add", ["grown", "always"], ["rounds_float"]),
        helper.make_node("Cast", ["rounds_float"], ["rounds"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["square"], ["mixing"], value=weight),
        helper.make_node("Mul", ["chance", "nothing"], ["zero"]),
        helper.make_node("Expand", ["zero", "square"], ["start"]),
        helper.make_node("Loop", ["rounds", "true", "start"], ["end"], body=body),
        helper.make_node("ReduceMax", ["end"], ["burnt"], keepdims=0),
    ]


def _filling(fault: Fault) -> list[Any]:
    return [
        _constant("floats", np.float32(fault.memory_mb_a_second * _FLOATS_OF_A_MB)),
        _constant("flat", np.array([1], dtype=np.int64)),
        helper.make_node("Mul", ["age", "floats"], ["kept_float"]),
        helper.make_node("Cast", ["kept_float"], ["kept"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["kept", "flat"], ["kept_shape"]),
        helper.make_node("ConstantOfShape", ["kept_shape"], ["memory"]),
        helper.make_node("ReduceSum", ["memory"], ["filled"], keepdims=0),
    ]


def _constant(name: str, value: Any) -> Any:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))


def _tensor(name: str, shape: list[int | None]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
