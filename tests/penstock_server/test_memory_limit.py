"""A model that wants more memory than there is fails, and the server goes on."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import Serve

from penstock_server.memory_limit import memory_bytes, tensor_bytes_max


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_limit_of_the_container_counts(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(f"{512 << 20}\n")
    assert memory_bytes(tmp_path) == 512 << 20
    assert 32 << 20 <= tensor_bytes_max(tmp_path) < 384 << 20


@pytest.mark.parametrize("text", ["max\n", "9223372036854771712\n", ""])
def test_without_a_limit_the_machine_counts(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.max").write_text(text)
    assert memory_bytes(tmp_path) == memory_bytes(tmp_path / "nothing") > 1 << 28


def test_in_a_small_container_something_is_left_to_work_with(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000")
    assert tensor_bytes_max(tmp_path) == 32 << 20


PROGRAM = """
import sys, numpy as np
from pathlib import Path
from typing import Any
from penstock_server.session import Cancellation, RunFailed, Session, bound_tensors
bound_tensors(1 << 40)
bound_tensors(64 << 20)
session = Session.load(Path(sys.argv[1]), threads=1, bounded=True)
for count in (3, 1 << 40, 1 << 62, 1 << 26, -5, 1 << 20):
    try:
        [result] = session.run(["y"], {"n": np.array([count])}, Cancellation())
        print(count, result.nbytes)
    except RunFailed as error:
        print(count, "fails")
"""


HUNGRY = """
import sys
from pathlib import Path
from penstock_server.session import Cancellation, LoadFailed, Session, bound_tensors
bound_tensors(64 << 20)
session = Session.load(Path(sys.argv[1]), threads=1, bounded=True)
try:
    session.warm_up(Cancellation())
except LoadFailed as error:
    print(error.reason, error.permanent, "spec.resources.limits.memory" in str(error))
"""


def test_a_model_without_the_memory_for_one_row_cannot_be_served(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([512, 1024, 1024], np.int64), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    x, y = onnx_models.tensor("x", "FP32", [None]), onnx_models.tensor("y", "FP32", [None])
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.model(nodes, [x], [y], initializer=[shape]).SerializeToString())
    done = subprocess.run([sys.executable, "-c", HUNGRY, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["OutOfMemory", "True", "True"]


def test_a_run_that_wants_more_than_allowed_fails_at_once_and_later_ones_do_not(tmp_path: Path) -> None:
    # In a process of its own: the bound holds for all that follows in a process.
    zeros = onnx_models.model(
        [helper.make_node("ConstantOfShape", ["n"], ["y"])],
        [onnx_models.tensor("n", "INT64", [1])],
        [onnx_models.tensor("y", "FP32", [None])],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(zeros.SerializeToString())
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "3 12",
        f"{1 << 40} fails",
        f"{1 << 62} fails",
        f"{1 << 26} fails",
        "-5 fails",
        f"{1 << 20} {4 << 20}",
    ]


async def test_an_answer_too_large_to_be_sent_is_the_models_error_and_is_not_encoded(serve: Serve) -> None:
    wide = onnx_models.model(
        [helper.make_node("Expand", ["x", "n"], ["y"])],
        [onnx_models.tensor("x", "FP32", [1]), onnx_models.tensor("n", "INT64", [1])],
        [onnx_models.tensor("y", "FP32", [None])],
    )
    served = await serve(wide)
    x = {"name": "x", "shape": [1], "datatype": "FP32", "data": [0]}

    def asked(count: int) -> dict[str, Any]:
        return {"inputs": [x, {"name": "n", "shape": [1], "datatype": "INT64", "data": [count]}]}

    status, answer = await served.infer(asked((1 << 26) + 1))
    assert status == 500
    assert answer["error"].endswith("which is 268435460 bytes; an answer holds at most 268435456 bytes of each output")
    assert (await served.infer({**asked((1 << 26) + 1), "parameters": {"binary_data_output": True}}))[0] == 500
    assert (await served.infer(asked(2)))[1]["outputs"][0]["data"] == [0, 0]
