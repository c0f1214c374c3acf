"""Small ONNX models that behave in known ways."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}

Shape = Sequence[int | str | None]


def tensor(name: str, datatype: str, shape: Shape) -> Any:
    return helper.make_tensor_value_info(name, ONNX_TYPES[datatype], shape)


def model(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], **arguments: Any) -> ModelProto:
    graph = helper.make_graph(nodes, "test", inputs, outputs, **arguments)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def identity(datatype: str, shape: Shape) -> ModelProto:
    """y is x."""
    return model(
        [helper.make_node("Identity", ["x"], ["y"])], [tensor("x", datatype, shape)], [tensor("y", datatype, shape)]
    )


def logarithm() -> ModelProto:
    """y is the logarithm of x: NaN below zero, minus infinity at zero."""
    return model([helper.make_node("Log", ["x"], ["y"])], [tensor("x", "FP32", [None])], [tensor("y", "FP32", [None])])


def lookup() -> ModelProto:
    """y is entry i of a table of three; a larger i fails inside the model."""
    table = helper.make_node("Constant", [], ["t"], value=numpy_helper.from_array(np.array([10.0, 20, 30], np.float32)))
    return model(
        [table, helper.make_node("Gather", ["t", "i"], ["y"], name="Lookup")],
        [tensor("i", "INT64", [None])],
        [tensor("y", "FP32", [None])],
    )


def sum_and_difference() -> ModelProto:
    """Two inputs of one symbolic length, two outputs."""
    return model(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        [tensor("a", "FP32", ["n", 2]), tensor("b", "FP32", ["n", 2])],
        [tensor("sum", "FP32", ["n", 2]), tensor("difference", "FP32", ["n", 2])],
    )


def counter() -> ModelProto:
    """Goes round a loop as often as the input says: a run as long as wanted."""
    body = helper.make_graph(
        [helper.make_node("Add", ["state", "state"], ["next"]), helper.make_node("Identity", ["on"], ["on_out"])],
        "round",
        [tensor("i", "INT64", []), tensor("on", "BOOL", []), tensor("state", "INT64", [])],
        [tensor("on_out", "BOOL", []), tensor("next", "INT64", [])],
    )
    return model(
        [
            helper.make_node("Constant", [], ["on"], value=numpy_helper.from_array(np.array(True))),  # noqa: FBT003
            helper.make_node("Squeeze", ["rounds"], ["trips"]),
            helper.make_node("Loop", ["trips", "on", "trips"], ["end"], body=body),
            helper.make_node("Identity", ["end"], ["y"]),
        ],
        [tensor("rounds", "INT64", [1])],
        [tensor("y", "INT64", [])],
    )


def zipmap() -> ModelProto:
    """What skl2onnx makes of probabilities unless told not to."""
    output = helper.make_value_info(
        "y", helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, _float_value()))
    )
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[1, 5])
    return model([node], [tensor("x", "FP32", [None, 2])], [output])


def sequence() -> ModelProto:
    """An output that no tensor can hold."""
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    return model([helper.make_node("SequenceConstruct", ["x"], ["y"])], [tensor("x", "FP32", [None])], [output])


def unknown_operator(domain: str = "") -> ModelProto:
    made = model(
        [helper.make_node("Frobnicate", ["x"], ["y"], domain=domain, name="frob")],
        [tensor("x", "FP32", [None])],
        [tensor("y", "FP32", [None])],
    )
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return made


def with_external_data(location: str) -> ModelProto:
    """A weight that lives in another file."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    entry = weight.external_data.add()
    entry.key, entry.value = "location", location
    return model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [tensor("x", "FP32", [1])],
        [tensor("y", "FP32", [1])],
        initializer=[weight],
    )


def in_branch(inner: Sequence[Any], initializer: Sequence[Any] = ()) -> ModelProto:
    """The nodes hidden in the branch of an If."""
    output = tensor("z", "FP32", [None])
    branch = helper.make_graph(list(inner), "branch", [], [output], initializer=list(initializer))
    plain = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "plain", [], [output])
    return model(
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=plain)],
        [tensor("x", "FP32", [None]), tensor("c", "BOOL", [])],
        [tensor("y", "FP32", [None])],
    )


def _float_value() -> Any:
    return helper.make_tensor_type_proto(TensorProto.FLOAT, [])
