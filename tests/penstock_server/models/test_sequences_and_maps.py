"""Sequences and maps of ONNX-ML, served in the form that docs/models.md promises; what has no form, refused."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from tests.penstock_server import onnx_models
from tests.penstock_server.models.conftest import ServeModel

from penstock_contract.termination import Reason
from penstock_server.model_outputs import ModelOutputs, Unservable
from penstock_server.protocol import Array
from penstock_server.session import Cancellation, LoadFailed, RunFailed, Session
from penstock_server.zipmap_classes import zipmap_classes

Save = Callable[[ModelProto], Path]
Load = Callable[[ModelProto], Session]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(model: ModelProto) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


@pytest.fixture
def load(save: Save) -> Load:
    return lambda model: Session.load(save(model), threads=1)


def parts() -> ModelProto:
    """Return the pieces of x whose sizes stand in s, beside x itself."""
    pieces = helper.make_tensor_sequence_value_info("pieces", TensorProto.FLOAT, None)
    return onnx_models.model(
        [
            helper.make_node("SplitToSequence", ["x", "s"], ["pieces"], axis=0),
            helper.make_node("Identity", ["x"], ["whole"]),
        ],
        [onnx_models.tensor("x", "FP32", [None, 2]), onnx_models.tensor("s", "INT64", [None])],
        [pieces, onnx_models.tensor("whole", "FP32", [None, 2])],
    )


def apart(values: Array, shapes: Array) -> list[Array]:
    """Return the elements of a sequence, as docs/models.md tells clients to."""
    sizes = [[size for size in shape if size >= 0] for shape in shapes.tolist()]
    ends = list(itertools.accumulate(int(np.prod(size)) for size in sizes))
    return [part.reshape(size) for part, size in zip(np.split(values, ends[:-1]), sizes, strict=True)]


def test_a_sequence_is_answered_as_its_values_and_the_shapes_of_its_elements(serve_model: ServeModel) -> None:
    served = serve_model(parts())
    assert served.metadata()["outputs"] == [
        {"name": "pieces", "datatype": "FP32", "shape": [-1]},
        {"name": "pieces.shapes", "datatype": "INT64", "shape": [-1, -1]},
        {"name": "whole", "datatype": "FP32", "shape": [-1, 2]},
    ]
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    answered = served.infer({"x": x, "s": np.array([1, 3, 2])})
    assert answered["pieces.shapes"].tolist() == [[1, 2], [3, 2], [2, 2]]
    pieces = apart(answered["pieces"], answered["pieces.shapes"])
    assert [piece.tolist() for piece in pieces] == [x[:1].tolist(), x[1:4].tolist(), x[4:].tolist()]
    assert answered["whole"].tolist() == x.tolist()


@pytest.mark.parametrize("asked", [["pieces.shapes"], ["whole", "pieces"], ["pieces.shapes", "whole", "pieces"]])
def test_the_parts_of_a_sequence_are_asked_for_like_any_output(serve_model: ServeModel, asked: list[str]) -> None:
    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    expected = {"pieces": [0, 1, 2, 3], "pieces.shapes": [[1, 2], [1, 2]], "whole": x.tolist()}
    answered = serve_model(parts()).infer({"x": x, "s": np.array([1, 1])}, asked)
    assert {name: answered[name].tolist() for name in answered.outputs} == {name: expected[name] for name in asked}


def sequence_of(*names: str, datatype: int = TensorProto.FLOAT) -> ModelProto:
    """Return the inputs, each of any length, as one sequence."""
    kind = {TensorProto.FLOAT: "FP32", TensorProto.STRING: "BYTES"}[datatype]
    return onnx_models.model(
        [helper.make_node("SequenceConstruct", list(names), ["y"])],
        [onnx_models.tensor(name, kind, [None] * rank) for rank, name in enumerate(names)],
        [helper.make_tensor_sequence_value_info("y", datatype, None)],
    )


def test_elements_of_different_rank_have_minus_one_for_the_dimensions_that_they_lack(load: Load) -> None:
    session = load(sequence_of("scalar", "vector", "matrix"))
    inputs = {name: np.full((2,) * rank, rank, np.float32) for rank, name in enumerate(("scalar", "vector", "matrix"))}
    values, shapes = session.run(["y", "y.shapes"], inputs, Cancellation())
    assert shapes.tolist() == [[-1, -1], [2, -1], [2, 2]]
    assert [part.tolist() for part in apart(values, shapes)] == [0, [1, 1], [[2, 2], [2, 2]]]


def test_a_sequence_of_texts_is_answered_as_texts(load: Load) -> None:
    session = load(sequence_of("a", "b", datatype=TensorProto.STRING))
    inputs = {"a": np.array("ä", np.object_), "b": np.array(["", "x"], np.object_)}
    values, shapes = session.run(["y", "y.shapes"], inputs, Cancellation())
    assert session.outputs[0].datatype == "BYTES"
    assert (values.tolist(), shapes.tolist()) == (["ä", "", "x"], [[-1], [2]])


def test_an_empty_sequence_has_no_values_and_no_shapes(load: Load) -> None:
    empty = onnx_models.model(
        [helper.make_node("SequenceEmpty", [], ["y"], dtype=TensorProto.INT32)],
        [],
        [helper.make_tensor_sequence_value_info("y", TensorProto.INT32, None)],
    )
    values, shapes = load(empty).run(["y", "y.shapes"], {}, Cancellation())
    assert (values.dtype, values.shape, shapes.shape) == (np.dtype(np.int32), (0,), (0, 0))


@pytest.mark.parametrize(
    ("labels", "ascending"),
    [
        ({"classlabels_int64s": [5, -1, 2**62]}, (-1, 5, 2**62)),
        ({"classlabels_strings": ["ü", "b", "日本"]}, ("b", "ü", "日本")),
        ({"classlabels_int64s": [3]}, (3,)),
    ],
    ids=["numbers", "texts", "one"],
)
def test_the_columns_of_a_zipmap_are_its_classes_in_ascending_order(
    save: Save, labels: dict[str, Any], ascending: tuple[Any, ...]
) -> None:
    [given] = labels.values()
    path = save(zipmap(labels, width=len(given)))
    assert zipmap_classes(path) == {"y": ascending}
    session = Session.load(path, threads=1)
    [spec] = session.outputs
    assert (spec.classes, spec.shape) == (ascending, (-1, len(given)))
    x = np.arange(2 * len(given), dtype=np.float32).reshape(2, len(given))
    [table] = session.run(["y"], {"x": x}, Cancellation())
    assert table.tolist() == x[:, [given.index(one) for one in ascending]].tolist()


def test_a_zipmap_of_no_rows_keeps_its_columns(load: Load) -> None:
    session = load(zipmap({"classlabels_int64s": [1, 5]}, width=2))
    [table] = session.run(["y"], {"x": np.zeros((0, 2), np.float32)}, Cancellation())
    assert table.shape[0] == 0


def test_maps_with_different_keys_are_the_models_fault(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = ModelOutputs([Node("y", "seq(map(int64,tensor(float)))")], {})
    with pytest.raises(ValueError, match="'y' has different keys in different rows"):
        outputs.answer(["y"], [[{1: 0.5, 2: 0.5}, {1: 1.0}]])
    with pytest.raises(ValueError, match="'y' has no value for 2 in one of its rows"):
        outputs.answer(["y"], [[{1: 0.5, 2: 0.5}, {1: 1.0, 3: 0.0}]])
    session = load(onnx_models.zipmap())
    monkeypatch.setattr(session, "_run", lambda *_: [[{1: 0.5, 5: 0.5}, {1: 0.5, 7: 0.5}]])
    with pytest.raises(RunFailed, match="'y' has no value for 5"):
        session.run(["y"], {}, Cancellation())


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_what_cannot_be_read_of_the_labels_is_left_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.zipmap().SerializeToString()[:-cut])
    assert zipmap_classes(path) in ({}, {"y": (1, 5)})


REFUSED = {
    "an optional output": (
        helper.make_node("Optional", ["x"], ["y"]),
        [onnx_models.tensor("x", "FP32", [None])],
        [helper.make_value_info("y", helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [None])))],
        r"output 'y' has type optional\(tensor\(float\)\).*plain tensor",
    ),
    "an optional input": (
        helper.make_node("OptionalHasElement", ["x"], ["y"]),
        [helper.make_value_info("x", helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [None])))],
        [onnx_models.tensor("y", "BOOL", [])],
        r"input 'x' has type optional\(tensor\(float\)\).*plain tensor",
    ),
    "a sequence as input": (
        helper.make_node("ConcatFromSequence", ["x"], ["y"], axis=0),
        [helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [None])],
        [onnx_models.tensor("y", "FP32", [None])],
        r"input 'x' has type seq\(tensor\(float\)\).*one stacked tensor",
    ),
    "a map as input": (
        helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a"]),
        [helper.make_value_info("x", helper.make_map_type_proto(8, helper.make_tensor_type_proto(1, [])))],
        [onnx_models.tensor("y", "FP32", [None, 1])],
        r"input 'x' has type map\(string,tensor\(float\)\).*without the step that reads maps",
    ),
    "a number that the protocol has not": (
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16),
        [onnx_models.tensor("x", "FP32", [None])],
        [helper.make_tensor_value_info("y", TensorProto.BFLOAT16, [None])],
        r"output 'y' has type tensor\(bfloat16\).*cast it in the graph",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_protocol_has_no_form_for_is_refused_at_load_with_advice(load: Load, name: str) -> None:
    node, inputs, outputs, message = REFUSED[name]
    with pytest.raises(LoadFailed, match=message) as failure:
        load(onnx_models.model([node], inputs, outputs))
    assert failure.value.reason is Reason.LOAD_FAILED
    assert failure.value.permanent


def test_an_output_with_the_name_of_a_sequences_shapes_is_refused() -> None:
    nodes = [Node("y", "seq(tensor(float))"), Node("y.shapes", "tensor(int64)")]
    with pytest.raises(Unservable, match=r"'y\.shapes' has the name under which the shapes of the sequence 'y'"):
        ModelOutputs(nodes, {})


class Node:
    """What ONNX Runtime says of an output."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.type, self.shape = name, kind, list[int]()


def zipmap(labels: dict[str, Any], width: int) -> ModelProto:
    values = helper.make_map_type_proto(
        TensorProto.INT64 if "classlabels_int64s" in labels else TensorProto.STRING,
        helper.make_tensor_type_proto(TensorProto.FLOAT, []),
    )
    return onnx_models.model(
        [helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", **labels)],
        [onnx_models.tensor("x", "FP32", [None, width])],
        [helper.make_value_info("y", helper.make_sequence_type_proto(values))],
    )
