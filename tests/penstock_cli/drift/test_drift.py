"""Drift on a file: the documented form in and out, every odd column, and every input that it cannot use."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from onnx import TensorProto, helper, save
from typer.testing import CliRunner, Result

from penstock_cli.__main__ import app
from penstock_server.profile.__main__ import main as penstock_profile

Values = dict[str, npt.NDArray[Any]]
Run = Callable[..., Result]


def rows(seed: int, count: int) -> Values:
    """Columns of every kind that files hold; ``score`` depends on ``a`` and ``b``."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=count), rng.normal(size=count)
    return {
        "a": a,
        "b": 0.6 * a + 0.8 * b,
        "constant": np.full(count, 3.0),
        "flag": (rng.random(count) < 0.3).astype(np.float64),
        "rounded": np.round(rng.normal(size=count), 1),
        "heavy": rng.standard_cauchy(count),
        "gaps": np.where(rng.random(count) < 0.05, np.nan, rng.normal(size=count)),
        "whole": rng.integers(0, 2, count),
        "score": a + 0.5 * b + 0.3 * rng.normal(size=count),
    }


def write(path: Path, values: Values) -> Path:
    table = pa.table(values)
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path)
    return path


def make_profile(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr("sys.argv", ["penstock-profile", *map(str, arguments), "-q"])
    penstock_profile()


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "profile.json"
    reference = write(tmp_path / "reference.parquet", rows(0, 8000))
    make_profile(monkeypatch, reference, "-o", path, "--outputs", "score")
    return path


@pytest.fixture
def run(tmp_path: Path, profile: Path) -> Run:
    """Compare rows with the profile; as JSON unless ``arguments`` say otherwise."""

    def call(live: Values, *arguments: str, window: int = 200, suffix: str = ".parquet") -> Result:
        path = write(tmp_path / f"live{suffix}", live)
        options = ["--profile", str(profile), "--live", str(path), "--window", str(window)]
        return CliRunner().invoke(app, ["drift", *options, *(arguments or ("-o", "json"))])

    return call


def windows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["windows"]
    return found


def alarmed(result: Result, start: int = 0) -> set[str]:
    return {name for one in windows(result) if one["start"] >= start for name in one["alarms"]}


def signal(window: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in window["signals"] if one["name"] == name)
    return found


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_rows_like_the_reference_raise_no_alarm(run: Run, suffix: str) -> None:
    found = windows(run(rows(1, 3000), suffix=suffix))
    assert [(one["start"], one["rows"], one["alarms"]) for one in found] == [
        (at, 200, []) for at in range(0, 3000, 200)
    ]
    names = ["inputs/" + name for name in rows(1, 1) if name != "score"] + ["outputs/score"]
    assert [one["name"] for one in found[0]["signals"]] == names
    assert {one["verdict"] for one in found[0]["signals"]} == {"Pass"}


def test_windows_of_a_hundred_rows_raise_nothing_by_themselves(run: Run) -> None:
    assert not alarmed(run(rows(2, 4000), window=100))


def test_a_shift_is_named_and_nothing_else_is(run: Run) -> None:
    live = rows(3, 3000)
    live["rounded"][1000:] += 0.5
    result = run(live)
    assert alarmed(result) == {"inputs/rounded"}
    first = next(one for one in windows(result) if one["alarms"])
    assert 1000 <= first["start"] <= 1200
    told = signal(first, "inputs/rounded")
    assert told["verdict"] == "Fail"
    assert told["psi"] > 0.1
    assert told["pValue"] < 1e-6
    assert first["found"][0]["p"] <= first["found"][0]["limit"]


def test_a_limit_of_psi_limits_verdicts_and_not_alarms(run: Run) -> None:
    live = rows(3, 2000)
    live["rounded"] += 0.5
    result = run(live, "-o", "json", "--psi-max", "5")
    assert "inputs/rounded" in alarmed(result)
    assert {one["verdict"] for window in windows(result) for one in window["signals"]} == {"Pass"}


def test_one_outlier_hides_nothing(run: Run) -> None:
    live = rows(4, 2000)
    live["a"][100] = 1e300
    live["rounded"][50] = -1e12
    live["rounded"][1000:] += 1
    assert "inputs/rounded" in alarmed(run(live), 1000)
    assert not alarmed(run({name: one[:1000] for name, one in live.items()}))


def test_a_shuffled_column_is_named_by_its_contribution_while_its_psi_sleeps(run: Run) -> None:
    live = rows(5, 6000)
    live["a"] = np.random.default_rng(0).permutation(live["a"])
    result = run(live, window=500)
    assert {"contribution/a", "correlation/a~b"} <= alarmed(result)
    assert "inputs/a" not in alarmed(result)
    assert max(signal(one, "inputs/a")["psiAdjusted"] for one in windows(result)) < 0.05


def test_missing_infinite_and_unheard_of_values_are_alarms_of_data_quality(run: Run) -> None:
    live = rows(6, 1000)
    live["gaps"][400:] = np.nan
    live["b"][:30] = np.inf
    live["whole"] = np.where(np.arange(1000) % 20, live["whole"], 7)
    live["constant"][800:] = 4.0
    result = run(live)
    expected = {"gaps/missing", "b/invalid", "whole/unseen", "constant/outOfRange"}
    assert {f"dataQuality/{name}" for name in expected} <= alarmed(result)
    assert "inputs/constant" in alarmed(result)
    empty = signal(windows(result)[-1], "inputs/gaps")
    assert (empty["psi"], empty["verdict"]) == (None, "NoData")


def test_a_column_of_nothing_stops_no_other(run: Run) -> None:
    live = rows(7, 2000)
    live["heavy"] = np.full(2000, np.nan)
    live["rounded"] += 0.5
    assert {"dataQuality/heavy/missing", "inputs/rounded"} <= alarmed(run(live))


def test_a_rows_place_in_its_window_changes_nothing(run: Run) -> None:
    live = rows(8, 1000)
    live["a"][400:] += 0.4
    rng = np.random.default_rng(1)
    order = np.concatenate([start + rng.permutation(200) for start in range(0, 1000, 200)])
    assert run(live).stdout == run({name: one[order] for name, one in live.items()}).stdout


def test_rows_that_fill_no_window_are_a_shorter_one(run: Run) -> None:
    found = windows(run(rows(9, 450)))
    assert [(one["start"], one["rows"]) for one in found] == [(0, 200), (200, 200), (400, 50)]


def test_the_table_is_for_people(run: Run) -> None:
    live = rows(10, 1000)
    live["rounded"][400:] += 1
    result = run(live, "-o", "table")
    assert result.exit_code == 0
    assert "inputs/rounded: p " in result.stdout
    assert "of 5 windows with an alarm" in result.stdout


def test_a_file_without_the_outputs_is_compared_by_its_inputs(run: Run) -> None:
    live = rows(11, 1000)
    del live["score"]
    result = run(live)
    assert not alarmed(result)
    assert "only inputs are compared" in json.loads(result.stdout)["notes"][0]


def test_a_column_that_is_missing_is_named(run: Run) -> None:
    live = rows(12, 400)
    del live["b"]
    result = run(live)
    assert result.exit_code == 1
    assert "lacks b" in result.stderr


def test_text_where_numbers_were_is_named(run: Run) -> None:
    live = rows(12, 400)
    live["b"] = np.array(["x"] * 400, dtype=np.object_)
    result = run(live)
    assert result.exit_code == 1
    assert "column 'b' holds text, such as 'x'" in result.stderr


def test_a_file_that_is_no_profile_says_so(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    live = write(tmp_path / "live.csv", rows(0, 10))
    options = ["drift", "--profile", str(tmp_path / "p.json"), "--live", str(live), "--window", "10"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 1
    assert "penstock-profile" in result.stderr


def test_a_small_reference_says_how_many_rows_are_needed(run: Run) -> None:
    note = json.loads(run(rows(13, 2000), window=1000).stdout)["notes"][-1]
    assert "8000 rows; windows of 1000 need 10000" in note


def model(path: Path) -> Path:
    """One float32 input of two columns; the answer is twice the first plus the second."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["answer"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [2.0, 1.0])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_with_a_model_outputs_are_its_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx, path = model(tmp_path / "m.onnx"), tmp_path / "p.json"
    rng = np.random.default_rng(0)
    make_profile(monkeypatch, onnx, write(tmp_path / "r.parquet", {name: rng.normal(size=4000) for name in "ab"}),
                 "-o", path)  # fmt: skip
    # Another order and one column more: a model knows places, a file has names.
    live = {"other": np.zeros(800), "b": rng.normal(size=800), "a": rng.normal(size=800) + 1.0}
    options = ["--profile", str(path), "--live", str(write(tmp_path / "l.csv", live)), "--window", "100"]
    result = CliRunner().invoke(app, ["drift", *options, "--model", str(onnx), "-o", "json"])
    assert {"inputs/a", "outputs/answer"} <= alarmed(result)
    assert "inputs/b" not in alarmed(result)
    assert signal(windows(result)[0], "inputs/a")["rank"] == 1
    assert signal(windows(result)[0], "inputs/a")["contribution"] > 0.5


def test_a_profile_of_another_model_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    result = run(rows(0, 400), "--model", str(model(tmp_path / "m.onnx")))
    assert result.exit_code == 1
    assert "the profile is not of" in result.stderr
