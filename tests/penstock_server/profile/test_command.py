"""penstock-profile: what it writes, and what it says about data that do not fit."""

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from onnx import ModelProto, TensorProto, helper
from tests.penstock_server import onnx_models

from penstock_contract.profile import Kind, Profile, Transform, parse
from penstock_server.profile import __main__ as command

RANDOM = np.random.default_rng(2)
NUMBERS = {name: RANDOM.normal(size=400) for name in ("a", "b")}

Run = Callable[..., Profile]


def one_array() -> bytes:
    written = io.BytesIO()
    np.save(written, np.zeros(3))
    return written.getvalue()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command over data (and a model) and returns the profile."""

    def call(data: dict[str, Any], *options: str, model: ModelProto | None = None, suffix: str = ".parquet") -> Profile:
        arguments: list[str] = []
        if model is not None:
            (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
            arguments.append(str(tmp_path / "m.onnx"))
        path = tmp_path / f"rows{suffix}"
        write(data, path)
        monkeypatch.setattr(
            sys, "argv", ["penstock-profile", *arguments, str(path), "-o", str(tmp_path / "p.json"), *options]
        )
        command.main()
        return parse((tmp_path / "p.json").read_text())

    return call


def write(data: dict[str, Any], path: Path) -> None:
    if path.suffix == ".npz":
        np.savez(path, **data)
    elif path.suffix == ".csv":
        pyarrow.csv.write_csv(pa.table(data), path)
    else:
        pyarrow.parquet.write_table(pa.table(data), path)


def classifier(inputs: int, classes: int) -> ModelProto:
    """p is the softmax of the first elements of x; label is the largest."""
    return onnx_models.model(
        [
            helper.make_node("Slice", ["x", "from", "to", "axis"], ["head"]),
            helper.make_node("Softmax", ["head"], ["p"], axis=1),
            helper.make_node("ArgMax", ["p"], ["label"], axis=1, keepdims=0),
        ],
        [onnx_models.tensor("x", "FP32", [None, inputs])],
        [onnx_models.tensor("label", "INT64", [None]), onnx_models.tensor("p", "FP32", [None, classes])],
        initializer=[
            helper.make_tensor("from", TensorProto.INT64, [1], [0]),
            helper.make_tensor("to", TensorProto.INT64, [1], [classes]),
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        ],
    )


def names(profile: Profile) -> list[str]:
    return [column.name for column in profile.columns]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_all_columns_in_file_order_are_the_single_input(run: Run, suffix: str) -> None:
    profile = run(NUMBERS, model=onnx_models.identity("FP32", [None, 2]), suffix=suffix)
    assert names(profile) == ["inputs/a", "inputs/b", "outputs/y[0]", "outputs/y[1]"]
    assert profile.rows == 400
    assert profile.column("inputs/a").datatype == "FP32"
    assert profile.counts.columns[0].bins == profile.counts.columns[2].bins
    assert len(profile.model_sha256 or "") == len(profile.source_sha256) == 64


def test_an_npz_names_arrays_like_the_inputs(run: Run) -> None:
    model = onnx_models.sum_and_difference()
    rows = RANDOM.normal(size=(50, 2)).astype(np.float32)
    profile = run({"b": rows, "a": rows}, model=model, suffix=".npz")
    assert names(profile) == [
        "inputs/a[0]", "inputs/a[1]", "inputs/b[0]", "inputs/b[1]",
        "outputs/sum[0]", "outputs/sum[1]", "outputs/difference[0]", "outputs/difference[1]",
    ]  # fmt: skip
    difference = profile.column("outputs/difference[0]")
    assert (difference.minimum, difference.maximum) == (0, 0)


def test_columns_are_matched_to_several_inputs_by_name(run: Run) -> None:
    rows = {f"{name}[{place}]": RANDOM.normal(size=30) for name in "ba" for place in range(2)}
    assert names(run(rows, model=onnx_models.sum_and_difference()))[:2] == ["inputs/a[0]", "inputs/a[1]"]


def test_without_a_model_named_columns_are_outputs(run: Run) -> None:
    data = {**NUMBERS, "whole": RANDOM.integers(0, 2, 400), "narrow": NUMBERS["a"].astype(np.float32)}
    profile = run(data, "--outputs", "b")
    assert names(profile) == ["inputs/a", "inputs/whole", "inputs/narrow", "outputs/b"]
    assert [column.datatype for column in profile.columns] == ["FP64", "INT64", "FP32", "FP64"]
    assert profile.column("outputs/b").contributes
    assert profile.model_sha256 is None


def test_the_same_rows_give_the_same_file(run: Run, tmp_path: Path) -> None:
    model = classifier(2, 2)
    labels = (NUMBERS["a"] < NUMBERS["b"]).astype(np.int64)
    first = run({**NUMBERS, "y": labels}, "--labels", "y", model=model).to_json()
    second = run({**NUMBERS, "y": labels}, "--labels", "y", model=model).to_json()
    assert first == second == (tmp_path / "p.json").read_text()


def test_what_is_missing_or_infinite_is_counted_as_that(run: Run) -> None:
    a = NUMBERS["a"].copy()
    a[:3], a[3] = np.nan, np.inf
    nullable = pa.array([None, *range(399)], pa.int64())
    profile = run({"a": a, "n": nullable, "b": NUMBERS["b"]}, "--outputs", "b")
    counts = dict(zip(names(profile), profile.counts.columns, strict=True))
    assert (counts["inputs/a"].missing, counts["inputs/a"].positive_infinity) == (3, 1)
    assert counts["inputs/n"].missing == 1


def test_two_probabilities_are_calibrated_by_labels(run: Run) -> None:
    truth = (NUMBERS["a"] < NUMBERS["b"]).astype(np.int64)
    profile = run({**NUMBERS, "y": truth}, "--labels", "y", model=classifier(2, 2))
    column = profile.column("outputs/p[1]")
    assert column.transform is Transform.LOGIT
    assert 0.5 in column.edges
    assert [column.contributes for column in profile.columns][-2:] == [False, True]
    (of_one,) = [one for one in profile.calibration if one.column == "outputs/p[1]"]
    counts = profile.counts.columns[names(profile).index("outputs/p[1]")].bins
    middle = column.edges.index(0.5) + 1
    assert of_one.hits == (*(0,) * middle, *counts[middle:])
    assert profile.classes == ("0", "1")
    assert profile.column("outputs/label").kind is Kind.CATEGORICAL


def test_of_several_probabilities_the_largest_is_calibrated_too(run: Run) -> None:
    data = {name: RANDOM.normal(size=300) for name in ("a", "b", "c")}
    truth = np.argmax([data["a"], data["b"], data["c"]], axis=0)
    words = np.array(["ant", "bee", "cow"])[truth]
    profile = run({**data, "y": words}, "--labels", "y", model=classifier(3, 3))
    (largest,) = [one for one in profile.calibration if one.column == "outputs/p.max"]
    assert sum(largest.hits) == 300
    assert profile.classes == ("ant", "bee", "cow")
    assert profile.column("outputs/p.argmax").kind is Kind.CATEGORICAL


def test_maps_of_probabilities_are_counted_as_their_columns(run: Run) -> None:
    share = RANDOM.random(60)
    profile = run({"a": share, "b": 1 - share}, model=onnx_models.zipmap())
    assert names(profile)[2:] == ["outputs/y[0]", "outputs/y[1]"]
    assert profile.column("outputs/y[1]").transform is Transform.LOGIT


def test_labels_are_the_classes_that_the_model_names(run: Run) -> None:
    share = RANDOM.random(60)
    data = {"a": share, "b": 1 - share, "y": np.where(share > 0.5, 1.0, 5.0)}
    profile = run(data, "--labels", "y", model=onnx_models.zipmap())
    assert profile.classes == ("1", "5")
    assert sum(sum(one.hits) for one in profile.calibration if one.column == "outputs/y[0]") == (share > 0.5).sum()
    with pytest.raises(SystemExit, match=r"holds 2 classes \(7, 8\) .* its classes are 1, 5"):
        run(data | {"y": [7, 8] * 30}, "--labels", "y", model=onnx_models.zipmap())


def test_texts_are_categories(run: Run) -> None:
    words = [str(word) for word in RANDOM.choice(["red", "green"], 400)]
    profile = run({"x": np.array(words)}, model=onnx_models.identity("BYTES", [None]), suffix=".npz")
    assert set(profile.column("inputs/x").categories) == {"red", "green"}


def test_a_person_may_decide_how_a_column_is_counted(run: Run) -> None:
    data = {"a": NUMBERS["a"].round(), "n": RANDOM.integers(0, 3, 400), "y": NUMBERS["b"]}
    profile = run(data, "--outputs", "y", "--categorical", "a", "--numeric", "n")
    assert (profile.column("inputs/a").kind, profile.column("inputs/n").kind) == (Kind.CATEGORICAL, Kind.NUMERIC)


def test_an_image_is_not_counted_and_its_answer_is(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    image = onnx_models.tensor("image", "FP32", [None, 3, 32, 32])
    model = onnx_models.model(
        [helper.make_node("GlobalAveragePool", ["image"], ["y"])],
        [image],
        [onnx_models.tensor("y", "FP32", [None, 3, 1, 1])],
    )
    profile = run({"image": RANDOM.normal(size=(20, 3, 32, 32))}, model=model, suffix=".npz")
    assert names(profile) == ["outputs/y[0]", "outputs/y[1]", "outputs/y[2]"]
    assert "input 'image' is not counted" in capsys.readouterr().out


def test_a_model_that_takes_fixed_batches_is_run_in_them(run: Run) -> None:
    profile = run({"x": RANDOM.normal(size=(12, 2))}, model=onnx_models.identity("FP32", [4, 2]), suffix=".npz")
    assert profile.rows == 12


def test_the_table_says_what_the_profile_holds(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run({**NUMBERS, "c": np.array(["u", "v"] * 200)}, "--outputs", "b")
    said = capsys.readouterr().out
    for part in ("400 rows of rows.parquet", "inputs/a", "outputs/b", "u, v", "only 400 rows", "sha256:"):
        assert part in said


def test_on_a_narrow_terminal_no_number_is_cut(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    run({"a column with a name that is rather long": RANDOM.normal(size=400) * 1.2345e-5})
    said = capsys.readouterr().out
    assert "…" not in said
    assert max(map(len, said.splitlines()[:8])) <= 72


def test_quiet_says_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run(NUMBERS, "-q", "--outputs", "b")
    assert capsys.readouterr() == ("", "")


IDENTITY = onnx_models.identity("FP32", [None, 2])


@pytest.mark.parametrize("model", [IDENTITY, None], ids=["with a model", "without"])
def test_a_column_that_is_always_missing_does_not_stop_the_others(run: Run, model: ModelProto | None) -> None:
    made = run({"a": [1.0, 2.0], "b": [np.nan, np.nan]}, model=model)
    empty, full = made.column("inputs/b"), made.column("inputs/a")
    assert (empty.edges, empty.minimum, empty.mean) == ((0.0,), None, None)
    assert (full.minimum, full.maximum) == (1.0, 2.0)
    place = [column.name for column in made.columns].index("inputs/b")
    assert made.counts.columns[place].quality.missing == 2
    assert sum(made.counts.columns[place].bins) == 0


@pytest.mark.parametrize(
    ("data", "options", "model", "says"),
    [
        ({"a": [1.0]}, [], IDENTITY, "the data have 1 columns and input 'x' takes 2: 'a'"),
        ({**NUMBERS, "y": NUMBERS["a"]}, [], IDENTITY, "--ignore, name true labels with --labels"),
        ({"a": [1.0], "b": ["u"]}, [], IDENTITY, "column 'b' holds text, such as 'u'; the model takes FP32"),
        ({"a": np.array([]), "b": np.array([])}, [], IDENTITY, "has no rows"),
        ({"a": [1.0]}, [], onnx_models.sum_and_difference(), r"has inputs 'a', 'b'; the data lack 'b\[0\]', 'b\[1\]'"),
        ({"i": [0.0, np.nan]}, [], onnx_models.lookup(), "column 'i' has 1 missing values, and INT64 cannot hold any"),
        ({"i": [0.0, 1.5]}, [], onnx_models.lookup(), "column 'i' holds values that INT64"),
        ({"i": [0, 7]}, [], onnx_models.lookup(), "the model failed on rows 0 to 1"),
        (NUMBERS, ["--labels", "z"], IDENTITY, r"--labels: the data have no column 'z'; they have \['a', 'b'\]"),
        (NUMBERS, ["--ignore", "z"], IDENTITY, "--ignore: the data have no column 'z'"),
        (NUMBERS, ["--ignore", "a,b"], IDENTITY, "no column is left"),
        (NUMBERS, ["--outputs", "z"], None, "--outputs names 'z'; the data have 'a', 'b'"),
        ({**NUMBERS, "y": [2] * 400}, ["--labels", "y"], IDENTITY, "needs an output that holds probabilities"),
        ({**NUMBERS, "y": [2] * 400}, ["--labels", "y"], classifier(2, 2), r"holds 1 classes \(2\) and the model has"),
        ({"a": [None, "x"]}, [], None, None),
        ({"a": pa.array([0, 1], pa.timestamp("s"))}, [], None, r"column 'a' has type timestamp"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_are_refused_with_the_reason(
    run: Run, data: dict[str, Any], options: Sequence[str], model: ModelProto | None, says: str | None
) -> None:
    if says is None:
        assert run(data, *options, model=model).rows == 2
        return
    with pytest.raises(SystemExit, match=f"penstock-profile: .*{says}"):
        run(data, *options, model=model)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.txt", b"", "must end in .parquet, .csv or .npz"),
        ("rows.parquet", b"PAR1", "cannot be read"),
        ("rows.csv", b"a,a\n1,2\n", "several columns are named 'a'"),
        ("rows.npz", b"no", "cannot be read"),
        ("rows.npz", b"PK\x03\x04 and so on", "cannot be read"),
        ("rows.npz", one_array(), "it holds one array without a name; write it with numpy.savez"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["penstock-profile", str(tmp_path / name), "-o", str(tmp_path / "p.json")])
    with pytest.raises(SystemExit, match=says):
        command.main()
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["m.onnx", "-o", "p.json"], "no data"),
        (["rows.csv"], "required: -o"),
        (["m.onnx", "rows.csv", "--outputs", "a", "-o", "p.json"], "--outputs names columns where there is no model"),
        (["rows.csv", "--labels", "a", "-o", "p.json"], "--labels needs a model"),
        (["a", "b", "c", "-o", "p.json"], "one model and one data file"),
    ],
)
def test_a_wrong_command_line_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["penstock-profile", *arguments])
    with pytest.raises(SystemExit) as exited:
        command.main()
    assert exited.value.code == 2
    assert says in capsys.readouterr().err


def test_the_file_is_plain_json(run: Run, tmp_path: Path) -> None:
    profile = run({**NUMBERS, "z": [1e300] * 400}, "--outputs", "b")
    message = json.loads((tmp_path / "p.json").read_text())
    assert message["schema"] == "penstock.profile/v1"
    assert message["profileHash"] == profile.hash
