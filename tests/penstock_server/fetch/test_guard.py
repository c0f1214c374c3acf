"""What must not be loaded does not get past the guard, wherever in the file it hides."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper
from tests.penstock_server import onnx_models

from penstock_contract.termination import Reason
from penstock_server.fetch import guard
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.wire import fields

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "models").glob("*.onnx"))


def inspect(model: ModelProto) -> guard.Inspected:
    return guard.inspect_bytes(model.SerializeToString())


def refusal(model: ModelProto) -> Reason:
    with pytest.raises(FetchFailed) as failure:
        inspect(model)
    assert failure.value.permanent
    return failure.value.reason


def external(location: str) -> TensorProto:
    return onnx_models.with_external_data(location).graph.initializer[0]


def node_count(graph: GraphProto) -> int:
    inner = [
        attribute.g for node in graph.node for attribute in node.attribute if attribute.type == AttributeProto.GRAPH
    ]
    return len(graph.node) + sum(node_count(one) for one in inner)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_models_pass_with_all_their_nodes(path: Path) -> None:
    model = ModelProto.FromString(path.read_bytes())
    assert guard.inspect(path) == guard.Inspected(bytes=path.stat().st_size, nodes=node_count(model.graph))


def test_there_are_examples_to_look_at() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize(
    "model",
    [
        onnx_models.zipmap(),
        onnx_models.counter(),
        onnx_models.in_branch([helper.make_node("Abs", ["x"], ["z"])]),
        onnx_models.identity("BYTES", [None]),
    ],
)
def test_ordinary_models_pass(model: ModelProto) -> None:
    assert inspect(model).nodes >= 1


def test_an_operator_of_an_unknown_domain_is_refused_by_name() -> None:
    with pytest.raises(FetchFailed, match=r"'frob' needs operator 'Frobnicate' of domain 'com\.example'") as failure:
        inspect(onnx_models.unknown_operator("com.example"))
    assert failure.value.reason is Reason.UNKNOWN_OPERATOR


def test_an_unknown_domain_inside_a_branch_is_found() -> None:
    hidden = onnx_models.in_branch([helper.make_node("F", ["x"], ["z"], domain="com.example")])
    assert refusal(hidden) is Reason.UNKNOWN_OPERATOR


def test_a_function_of_the_models_own_may_have_a_domain_of_its_own() -> None:
    model = onnx_models.unknown_operator("my.functions")
    body = [helper.make_node("Abs", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("my.functions", "Frobnicate", ["a"], ["b"], body, opsets))
    assert inspect(model).nodes == 2


def test_a_function_that_needs_an_unknown_domain_is_refused() -> None:
    model = onnx_models.unknown_operator("my.functions")
    body = [helper.make_node("F", ["a"], ["b"], domain="com.example")]
    opsets = [helper.make_opsetid("com.example", 1)]
    model.functions.append(helper.make_function("my.functions", "Frobnicate", ["a"], ["b"], body, opsets))
    assert refusal(model) is Reason.UNKNOWN_OPERATOR


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/passwd", "a/../../b", "C:\\x", "\\\\host\\x", "..\\x", "a\x00b", "/", "data/.."],
)
def test_external_data_outside_the_folder_is_refused_as_unsafe(location: str) -> None:
    assert refusal(onnx_models.with_external_data(location)) is Reason.UNSAFE_EXTERNAL_DATA


@pytest.mark.parametrize("location", ["model.onnx.data", "weights/w.bin", "..data", "", "*/_ORT_MEM_ADDR_/*"])
def test_external_data_in_a_file_that_did_not_come_along_is_missing(location: str) -> None:
    model = onnx_models.with_external_data(location).SerializeToString()
    with pytest.raises(FetchFailed, match=r"add \{path: .*, sha256: …\} to spec\.model\.files") as failure:
        guard.inspect_bytes(model, {"other.bin": 4})
    assert failure.value.reason is Reason.EXTERNAL_DATA_MISSING


def test_external_data_without_a_location_is_refused_too() -> None:
    model = onnx_models.with_external_data("x")
    del model.graph.initializer[0].external_data[:]
    assert refusal(model) is Reason.EXTERNAL_DATA_MISSING


@pytest.mark.parametrize("location", ["w.bin", "./w.bin"])
def test_external_data_in_a_file_that_came_along_passes(location: str) -> None:
    model = onnx_models.with_external_data(location)
    assert guard.inspect_bytes(model.SerializeToString(), {"w.bin": 4}).nodes == 1


def _with_entries(**entries: str) -> bytes:
    model = onnx_models.with_external_data("w.bin")
    for key, value in entries.items():
        model.graph.initializer[0].external_data.add(key=key, value=value)
    return bytes(model.SerializeToString())


def test_external_data_that_ends_with_its_file_passes() -> None:
    assert guard.inspect_bytes(_with_entries(offset="4", length="4"), {"w.bin": 8}).nodes == 1


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"offset": "5", "length": "4"}, "in bytes 5 to 9 of 'w.bin', of 8 bytes"),
        ({"offset": "-1"}, "at '-1', which is no number of bytes"),
        ({"length": "9" * 30}, "which is no number of bytes"),
        ({"length": "1e3"}, "which is no number of bytes"),
        ({"location": "w.bin"}, "says twice where its data are"),
        ({"location": "/etc/passwd"}, "outside the model's folder"),
    ],
)
def test_external_data_outside_its_file_is_refused_as_unsafe(entries: dict[str, str], says: str) -> None:
    with pytest.raises(FetchFailed, match=says) as failure:
        guard.inspect_bytes(_with_entries(**entries), {"w.bin": 8})
    assert failure.value.reason is Reason.UNSAFE_EXTERNAL_DATA


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04rest", "zip"),
        (gzip.compress(b"x" * 1000, mtime=0), "gzip"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        (lzma.compress(b"x"), "xz"),
        (bz2.compress(b"x"), "bzip2"),
        (b"a" * 257 + b"ustar", "tar"),
    ],
)
def test_an_archive_is_refused_and_not_unpacked(content: bytes, kind: str) -> None:
    with pytest.raises(FetchFailed, match=f"a {kind} archive; archives are never unpacked here") as failure:
        guard.inspect_bytes(content)
    assert failure.value.reason is Reason.NOT_ONNX


def test_external_data_hidden_in_attributes_branches_and_sparse_tensors_is_found() -> None:
    attribute = onnx_models.model(
        [helper.make_node("Constant", [], ["y"], value=external("../x"))], [], [onnx_models.tensor("y", "FP32", [1])]
    )
    branch = onnx_models.in_branch([helper.make_node("Add", ["x", "w"], ["z"])], [external("../x")])
    sparse = onnx_models.identity("FP32", [1])
    sparse.graph.sparse_initializer.append(SparseTensorProto(values=external("../x"), dims=[1]))
    indices = onnx_models.identity("FP32", [1])
    indices.graph.sparse_initializer.append(SparseTensorProto(indices=external("../x"), dims=[1]))
    function = onnx_models.identity("FP32", [1])
    inner = [helper.make_node("Constant", [], ["b"], value=external("../x"))]
    function.functions.append(helper.make_function("my", "F", [], ["b"], inner, [helper.make_opsetid("", 17)]))
    training = onnx_models.identity("FP32", [1])
    training.training_info.add().algorithm.initializer.append(external("../x"))
    for model in (attribute, branch, sparse, indices, function, training):
        assert refusal(model) is Reason.UNSAFE_EXTERNAL_DATA


def test_a_second_graph_field_that_readers_merge_is_looked_at_too() -> None:
    evil = onnx_models.with_external_data("../x")
    both = onnx_models.identity("FP32", [1]).SerializeToString() + evil.SerializeToString()
    with pytest.raises(FetchFailed, match="outside the model's folder"):
        guard.inspect_bytes(both)


@pytest.mark.parametrize(
    "content", [b"hello world", b"<!DOCTYPE html><html>", b"\x80\x04\x95pickle", b"PK\x03\x04", b"\x00" * 100]
)
def test_what_is_not_onnx_is_refused_as_such(content: bytes) -> None:
    with pytest.raises(FetchFailed) as failure:
        guard.inspect_bytes(content)
    assert failure.value.reason is Reason.NOT_ONNX


def test_a_model_that_ends_in_its_graph_is_refused_wherever_it_ends() -> None:
    whole = EXAMPLES[0].read_bytes()
    (graph,) = [field for field in fields(whole, 0, len(whole)) if field.number == 7]
    for end in range(1, graph.end):
        with pytest.raises(FetchFailed, match="not ONNX, or not all of it"):
            guard.inspect_bytes(whole[:end])


@given(st.data())
def test_a_damaged_model_is_inspected_or_refused(data: st.DataObject) -> None:
    content = bytearray(EXAMPLES[0].read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        nodes = guard.inspect_bytes(bytes(content)).nodes
    except FetchFailed:
        return
    assert nodes > 0


@given(st.data())
def test_a_damaged_model_reads_nothing_but_the_files_that_came_along(data: st.DataObject) -> None:
    content = bytearray(_with_entries(offset="4", length="4"))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        guard.inspect_bytes(bytes(content), {"w.bin": 8})
    except FetchFailed:
        return
    # What passed the guard means to a protobuf reader what it meant to the guard.
    try:
        tensors = ModelProto.FromString(bytes(content)).graph.initializer
    except DecodeError:
        return
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location == TensorProto.EXTERNAL:
            assert entries["location"] == "w.bin"
            assert int(entries.get("offset", 0)) + int(entries.get("length", 0)) <= 8


def test_graphs_nested_without_end_are_refused() -> None:
    def wrapped(number: int, content: bytes) -> bytes:
        size = len(content)
        return bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + content

    graph = b""
    for _ in range(80):
        graph = wrapped(1, wrapped(5, wrapped(6, graph)))  # node, attribute, graph
    with pytest.raises(FetchFailed, match="nested more than 64 deep"):
        guard.inspect_bytes(wrapped(7, graph) + wrapped(8, b""))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").touch()
    with pytest.raises(FetchFailed, match="the file is empty"):
        guard.inspect(tmp_path / "m")


def _symlink(path: Path) -> None:
    path.symlink_to(EXAMPLES[0])


def _hard_link(path: Path) -> None:
    path.with_name("other").write_bytes(b"x")
    os.link(path.with_name("other"), path)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_symlink, _hard_link, _pipe, Path.mkdir])
def test_only_a_regular_file_of_its_own_is_looked_at(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "m")
    with pytest.raises(FetchFailed) as failure:
        guard.inspect(tmp_path / "m")
    assert failure.value.reason is Reason.NOT_ONNX


def test_millions_of_numbers_take_no_time_and_no_memory() -> None:
    count = 300_000
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        nodes_values=np.linspace(0, 1, count).tolist(),
        nodes_nodeids=list(range(count)),
    )
    weights = numpy_helper.from_array(np.zeros(count, np.float32), "w")
    value = onnx_models.tensor("x", "FP32", [1])
    assert inspect(onnx_models.model([node], [value], [value], initializer=[weights])).nodes == 1
