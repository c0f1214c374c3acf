"""Models with tensors of every form, served: one and several, fixed and dynamic, scalars, texts, no rows."""

import math
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tests.penstock_server import onnx_models
from tests.penstock_server.models.conftest import ServeModel, strings

from penstock_server.protocol import DTYPES, Array


def values(datatype: str, shape: tuple[int, ...]) -> Array:
    """Return as many different values as fit."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return strings(numbers.astype(str).tolist()) if datatype == "BYTES" else numbers.astype(DTYPES[datatype])


SHAPES: list[tuple[onnx_models.Shape, list[tuple[int, ...]]]] = [
    ([], [()]),
    ([3], [(3,)]),
    ([None, 2], [(1, 2), (3, 2), (0, 2)]),
    (["n", "m", 2], [(2, 3, 2), (1, 0, 2)]),
    ([2, 1, 3], [(2, 1, 3)]),
]


@pytest.mark.parametrize(("declared", "asked"), SHAPES, ids=[str(list(declared)) for declared, _ in SHAPES])
def test_fixed_and_dynamic_shapes_and_scalars_come_back_as_they_went(
    serve_model: ServeModel, declared: onnx_models.Shape, asked: list[tuple[int, ...]]
) -> None:
    served = serve_model(onnx_models.identity("FP32", declared))
    [x] = served.metadata()["inputs"]
    assert x["shape"] == [size if isinstance(size, int) else -1 for size in declared]
    for shape in asked:
        sent = values("FP32", shape)
        answered = served.infer({"x": sent})["y"]
        assert answered.shape == shape
        assert answered.tolist() == sent.tolist()


def of_every_type() -> ModelProto:
    """Return an input and an output of each datatype."""
    nodes = [helper.make_node("Identity", [f"in {name}"], [f"out {name}"]) for name in DTYPES]
    inputs = [onnx_models.tensor(f"in {name}", name, [None]) for name in DTYPES]
    return onnx_models.model(nodes, inputs, [onnx_models.tensor(f"out {name}", name, [None]) for name in DTYPES])


def test_thirteen_inputs_and_outputs_of_all_datatypes_go_in_one_request(serve_model: ServeModel) -> None:
    served = serve_model(of_every_type())
    sent = {f"in {name}": np.array([True, False]) if name == "BOOL" else values(name, (2,)) for name in DTYPES}
    answered = served.infer(sent)
    assert list(answered.outputs) == [f"out {name}" for name in DTYPES]
    for name in DTYPES:
        assert answered[f"out {name}"].tolist() == sent[f"in {name}"].tolist()
    only = served.infer(sent, ["out INT8", "out BOOL"])
    assert list(only.outputs) == ["out INT8", "out BOOL"]


def test_several_inputs_of_different_shapes_make_several_outputs(serve_model: ServeModel) -> None:
    nodes = [
        helper.make_node("MatMul", ["rows", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["shifted"]),
        helper.make_node("ReduceSum", ["shifted"], ["total"], keepdims=0),
    ]
    inputs: list[tuple[str, onnx_models.Shape]] = [("rows", [None, 3]), ("weights", [3, 2]), ("bias", [])]
    outputs: list[tuple[str, onnx_models.Shape]] = [("shifted", [None, 2]), ("total", [])]
    served = serve_model(
        onnx_models.model(
            nodes,
            [onnx_models.tensor(name, "FP32", shape) for name, shape in inputs],
            [onnx_models.tensor(name, "FP32", shape) for name, shape in outputs],
        )
    )
    rows, weights, bias = values("FP32", (4, 3)), values("FP32", (3, 2)), np.array(0.5, np.float32)
    answered = served.infer({"rows": rows, "weights": weights, "bias": bias})
    expected = rows @ weights + bias
    np.testing.assert_array_equal(answered["shifted"], expected)
    assert answered["total"].shape == ()
    assert answered["total"] == expected.sum()


def categories() -> ModelProto:
    """Return numbers for known texts and texts for known numbers."""
    words: dict[str, Any] = {"keys_strings": ["rot", "grün"], "values_int64s": [1, 2], "default_int64": -1}
    numbers: dict[str, Any] = {"keys_int64s": [1, 2], "values_strings": ["red", "グリーン"], "default_string": ""}
    return onnx_models.model(
        [
            helper.make_node("LabelEncoder", ["word"], ["number"], domain="ai.onnx.ml", **words),
            helper.make_node("LabelEncoder", ["number"], ["translated"], domain="ai.onnx.ml", **numbers),
        ],
        [onnx_models.tensor("word", "BYTES", [None, 2])],
        [onnx_models.tensor("number", "INT64", [None, 2]), onnx_models.tensor("translated", "BYTES", [None, 2])],
    )


def test_texts_go_in_and_other_texts_come_out(serve_model: ServeModel) -> None:
    answered = serve_model(categories()).infer({"word": strings([["grün", "rot"], ["", "blau\n"]])})
    assert answered["number"].tolist() == [[2, 1], [-1, -1]]
    assert answered["translated"].tolist() == [["グリーン", "red"], ["", ""]]


def test_an_input_with_a_default_need_not_be_sent(serve_model: ServeModel) -> None:
    default = numpy_helper.from_array(np.array([10, 20], np.float32), "b")
    served = serve_model(
        onnx_models.model(
            [helper.make_node("Add", ["a", "b"], ["y"])],
            [onnx_models.tensor("a", "FP32", [2]), onnx_models.tensor("b", "FP32", [2])],
            [onnx_models.tensor("y", "FP32", [2])],
            initializer=[default],
        )
    )
    assert [one["name"] for one in served.metadata()["inputs"]] == ["a"]
    assert served.infer({"a": np.array([1, 2], np.float32)})["y"].tolist() == [11, 22]


def test_a_model_without_inputs_answers_an_empty_list_of_them(serve_model: ServeModel) -> None:
    constant = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.array([1, 2], np.int64)))
    served = serve_model(onnx_models.model([constant], [], [onnx_models.tensor("y", "INT64", [2])]))
    assert served.infer({})["y"].tolist() == [1, 2]


def test_an_output_of_half_precision_comes_back_exactly(serve_model: ServeModel) -> None:
    halves = onnx_models.model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)],
        [onnx_models.tensor("x", "FP32", [None])],
        [onnx_models.tensor("y", "FP16", [None])],
    )
    sent = np.array([0.1, -65504, 6e-8, 1 / 3], np.float32)
    assert serve_model(halves).infer({"x": sent})["y"].tolist() == sent.astype(np.float16).tolist()
