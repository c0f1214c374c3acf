"""Loading and running real models through ONNX Runtime."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from tests.penstock_server import onnx_models

from penstock_contract.termination import Reason
from penstock_server.protocol import DTYPES, Array, TensorSpec
from penstock_server.session import Cancellation, InputRefused, LoadFailed, RunFailed, RunTerminated, Session

Load = Callable[[ModelProto], Session]


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_every_datatype_goes_in_and_out(load: Load, datatype: str) -> None:
    session = load(onnx_models.identity(datatype, [None, 2]))
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1, 2))
    assert session.inputs == (spec,)
    values = np.array([["a", "b"]] if datatype == "BYTES" else [[1, 0]], DTYPES[datatype])
    (result,) = session.run(["y"], {"x": values}, Cancellation())
    assert result.tolist() == values.tolist()
    assert session.warm_up(Cancellation()).error is None


def test_fixed_and_symbolic_dimensions_are_told_apart(load: Load) -> None:
    session = load(onnx_models.identity("FP32", ["batch", 3, None]))
    assert session.inputs[0].shape == (-1, 3, -1)


def test_a_file_that_is_missing_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="there is no file") as failure:
        Session.load(tmp_path / "model.onnx", threads=1)
    assert failure.value.reason is Reason.SOURCE_NOT_FOUND


def test_an_unknown_operator_is_named_in_the_runtimes_own_words(load: Load) -> None:
    with pytest.raises(LoadFailed, match="No Op registered for Frobnicate") as failure:
        load(onnx_models.unknown_operator())
    assert failure.value.reason is Reason.UNKNOWN_OPERATOR
    assert failure.value.permanent


@pytest.mark.parametrize("content", [b"hello", b"<html>", b"\x08\x08\x3a\x05ab"])
def test_what_is_not_onnx_is_refused_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(LoadFailed) as failure:
        Session.load(path, threads=1)
    assert failure.value.reason is Reason.NOT_ONNX


def test_a_zipmap_is_answered_as_probabilities_in_the_order_of_the_classes(load: Load) -> None:
    session = load(onnx_models.zipmap())
    assert session.outputs == (TensorSpec(name="y", datatype="FP32", shape=(-1, 2), classes=(1, 5)),)
    (result,) = session.run(["y"], {"x": np.array([[0.25, 0.75], [1, 0]], np.float32)}, Cancellation())
    assert result.dtype == np.float32
    assert result.tolist() == [[0.25, 0.75], [1, 0]]


def test_a_failing_node_is_the_models_fault(load: Load) -> None:
    with pytest.raises(RunFailed, match=r"Lookup.*out of data bounds"):
        load(onnx_models.lookup()).run(["y"], {"i": np.array([3])}, Cancellation())


def test_inputs_that_do_not_fit_each_other_are_the_clients_fault_or_the_models(load: Load) -> None:
    session = load(onnx_models.sum_and_difference())
    inputs = {"a": np.zeros((2, 2), np.float32), "b": np.zeros((3, 2), np.float32)}
    with pytest.raises((InputRefused, RunFailed)):
        session.run(["sum"], inputs, Cancellation())


def test_a_wrong_rank_that_only_the_runtime_knows_is_the_clients_fault(load: Load) -> None:
    session = load(onnx_models.identity("FP32", [2]))
    with pytest.raises(InputRefused, match="Got: 3 Expected: 2"):
        session.run(["y"], {"x": np.zeros(3, np.float32)}, Cancellation())


def test_a_run_ends_when_it_is_cancelled(load: Load) -> None:
    session, cancellation = load(onnx_models.counter()), Cancellation()
    timer = threading.Timer(0.05, cancellation.cancel)
    timer.start()
    with pytest.raises(RunTerminated):
        session.run(["y"], {"rounds": np.array([2**60])}, cancellation)
    timer.join()


def test_a_run_that_is_cancelled_before_it_begins_does_not_begin(load: Load) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(RunTerminated):
        load(onnx_models.counter()).run(["y"], {"rounds": np.array([2**60])}, cancellation)


def test_strings_that_are_not_text_are_the_models_fault_and_the_fix_is_told(load: Load) -> None:
    octets = helper.make_tensor("octets", TensorProto.STRING, [1], [b"\xff\xfe"])
    model = onnx_models.model(
        [helper.make_node("Constant", [], ["y"], value=octets)],
        [onnx_models.tensor("x", "FP32", [1])],
        [onnx_models.tensor("y", "BYTES", [1])],
    )
    with pytest.raises(RunFailed, match=r"not UTF-8 text.*tensor of UINT8"):
        load(model).run(["y"], {"x": np.zeros(1, np.float32)}, Cancellation())


def test_a_warm_up_that_fails_on_zeros_is_tried_with_ones(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    session = load(onnx_models.identity("FP32", [None]))
    fills: list[float] = []

    def picky(_: object, inputs: dict[str, Array], __: Cancellation) -> list[Array]:
        fills.append(float(inputs["x"].max()))
        if not inputs["x"].all():
            raise RunFailed("no zeros please")
        return []

    monkeypatch.setattr(session, "run", picky)
    assert session.warm_up(Cancellation()).error is None
    assert (fills[0], set(fills[1:])) == (0.0, {1.0})


def test_a_warm_up_tells_what_failed_and_raises_nothing(load: Load) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    assert "terminate" in (load(onnx_models.counter()).warm_up(cancellation).error or "")


def test_a_warm_up_of_a_giant_input_is_skipped(load: Load) -> None:
    warm_up = load(onnx_models.identity("FP32", [1 << 25])).warm_up(Cancellation())
    assert warm_up.error == "skipped: the smallest input has 33554432 elements"
