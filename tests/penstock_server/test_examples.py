"""The example models are what their script promises."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from penstock_contract.termination import Reason
from penstock_server.protocol import TensorSpec
from penstock_server.session import Cancellation, LoadFailed, RunFailed, Session

MODELS = Path(__file__).parents[2] / "examples" / "models"
SERVED = ["tumor-v1", "tumor-v2", "tumor-v3-errors", "tumor-v4-slow"]
ROWS: list[dict[str, Any]] = json.loads((MODELS / "rows.json").read_text())["rows"]


def session(name: str, folder: Path = MODELS) -> Session:
    return Session.load(folder / f"{name}.onnx", threads=1)


def label(model: Session, row: dict[str, Any]) -> int:
    (labels,) = model.run(["label"], {"x": np.array([row["x"]], np.float32)}, Cancellation())
    return int(labels[0])


def test_the_digests_beside_the_models_are_theirs() -> None:
    lines = (MODELS / "SHA256SUMS").read_text().splitlines()
    named = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert named == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in MODELS.glob("*.onnx")}


@pytest.mark.parametrize("name", SERVED)
def test_all_that_load_have_the_same_inputs_and_outputs(name: str) -> None:
    model = session(name)
    assert model.inputs == (TensorSpec(name="x", datatype="FP32", shape=(-1, 30)),)
    assert [(one.name, one.datatype) for one in model.outputs] == [("label", "INT64"), ("probabilities", "FP32")]
    (probabilities,) = model.run(["probabilities"], model.synthetic(0), Cancellation())
    assert probabilities.shape == (1, 2)


@pytest.mark.parametrize(("name", "key"), [("tumor-v1", "label_v1"), ("tumor-v2", "label_v2")])
def test_the_rows_know_what_the_good_models_answer(name: str, key: str) -> None:
    model = session(name)
    assert [label(model, row) for row in ROWS] == [row[key] for row in ROWS]


def test_the_third_fails_for_some_rows_and_answers_the_others_like_the_second() -> None:
    model = session("tumor-v3-errors")
    failed = 0
    for row in ROWS:
        if row["v3_fails"]:
            failed += 1
            with pytest.raises(RunFailed, match="RiskBandLookup"):
                label(model, row)
        else:
            assert label(model, row) == row["label_v2"]
    assert 0.1 <= failed / len(ROWS) <= 0.2


def test_the_fourth_answers_like_the_second_at_many_times_its_cost() -> None:
    costs = {}
    for name in ("tumor-v2", "tumor-v4-slow"):
        model = session(name)
        spent = []
        for row in ROWS[:7]:
            started = time.thread_time()
            assert label(model, row) == row["label_v2"]
            spent.append(time.thread_time() - started)
        costs[name] = median(spent)
    assert costs["tumor-v4-slow"] > 0.004
    assert costs["tumor-v4-slow"] > 20 * costs["tumor-v2"]


def test_the_fifth_cannot_be_loaded() -> None:
    with pytest.raises(LoadFailed, match="No Op registered for QuantumNormalize") as failure:
        session("tumor-v5-broken")
    assert failure.value.reason is Reason.UNKNOWN_OPERATOR


def test_the_script_makes_models_that_answer_the_same(tmp_path: Path) -> None:
    script = [sys.executable, str(MODELS / "make_models.py"), "--output", str(tmp_path)]
    said = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in MODELS.iterdir()} - {
        "make_models.py",
        "__pycache__",
    }
    for line in (tmp_path / "SHA256SUMS").read_text().splitlines():
        assert line.split("  ")[0] in said
    assert all(path.stat().st_size < 200_000 for path in tmp_path.iterdir())
    for name, key in (("tumor-v1", "label_v1"), ("tumor-v2", "label_v2")):
        model = session(name, tmp_path)
        assert [label(model, row) for row in ROWS] == [row[key] for row in ROWS]
