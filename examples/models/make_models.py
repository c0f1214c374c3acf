"""Train the example models and write them beside this script.

    pip install 'penstock[examples,server]' && python examples/models/make_models.py

All of them tell malignant (0) from benign (1) tumours by the 30 measurements of the Breast Cancer
Wisconsin (Diagnostic) data set (569 patients, real, shipped with scikit-learn, CC BY 4.0):

    tumor-v1         logistic regression, the model in production
    tumor-v2         gradient boosting, a good successor
    tumor-v3-errors  v2, but its run fails for about every seventh row
    tumor-v4-slow    v2, but a request costs tens of milliseconds of CPU
    tumor-v5-broken  v2, but with an operator that no runtime has: it cannot be loaded

Two runs on one machine write the same bytes.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# ONNX Runtime reads it while it is imported: no usage events are sent from here.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = 30
#: Old enough for any ONNX Runtime of the last years.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
SEED = 7
ROWS_WRITTEN = 64
BYTES_MAX = 200_000

WORST_RADIUS = 20
#: Above it, v3 fails: about every seventh row, mostly of malignant tumours.
FAILING_ABOVE = 22.5
#: v4 multiplies two matrices of this size so many times; about 20 ms on one core.
SLOW_SIZE, SLOW_ROUNDS = 128, 450


def main() -> None:
    """Write all models, their digests and some rows to ask them about; print how good they are."""
    parser = argparse.ArgumentParser(description="Train the example models.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    data = load_breast_cancer()
    x_train, x_test, y_train, y_test = train_test_split(
        data.data.astype(np.float32), data.target, test_size=0.35, random_state=SEED, stratify=data.target
    )
    good = to_onnx(GradientBoostingClassifier(n_estimators=80, max_depth=3, random_state=SEED).fit(x_train, y_train))
    models = {
        "tumor-v1": to_onnx(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x_train, y_train)),
        "tumor-v2": good,
        "tumor-v3-errors": failing(good),
        "tumor-v4-slow": slow(good),
        "tumor-v5-broken": broken(good),
    }
    write_models(models, folder)
    write_rows(folder, x_test[:ROWS_WRITTEN], list(data.feature_names))
    report(models, folder, x_test, y_test)


def to_onnx(classifier: Any) -> ModelProto:
    """Return the classifier with input x [-1,30] and outputs label [-1], probabilities [-1,2]."""
    model = convert_sklearn(
        classifier,
        name="tumor",
        initial_types=[("x", FloatTensorType([None, FEATURES]))],
        options={"zipmap": False},
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
    )
    model.ir_version = IR_VERSION
    for node in model.graph.node:
        # The converter goes through a set, whose order changes from run to run.
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        del node.attribute[:]
        node.attribute.extend(attributes)
    return model


def failing(model: ModelProto) -> ModelProto:
    """Return the model with a lookup in a table of one entry, whose index is 1 where a row is out of the ordinary."""
    feature = constant("v3_feature", np.array([WORST_RADIUS], dtype=np.int64))
    limit = constant("v3_limit", np.array(FAILING_ABOVE, dtype=np.float32))
    table = constant("v3_table", np.zeros(1, dtype=np.float32))
    return before_answer(
        model,
        [
            feature,
            limit,
            table,
            helper.make_node("Gather", ["x", "v3_feature"], ["v3_radius"], axis=1),
            helper.make_node("Greater", ["v3_radius", "v3_limit"], ["v3_above"]),
            helper.make_node("Cast", ["v3_above"], ["v3_above_int"], to=TensorProto.INT64),
            helper.make_node("ReduceMax", ["v3_above_int"], ["v3_index"], keepdims=0),
            helper.make_node("Gather", ["v3_table", "v3_index"], ["addend"], axis=0, name="RiskBandLookup"),
        ],
    )


def slow(model: ModelProto) -> ModelProto:
    """Return the model with a loop of matrix products whose result, zero, is added to its probabilities."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["v4_state", "v4_mixing"], ["v4_next"]),
            helper.make_node("Identity", ["v4_go_on"], ["v4_go_on_out"]),
        ],
        "v4_round",
        [
            helper.make_tensor_value_info("v4_count", TensorProto.INT64, []),
            helper.make_tensor_value_info("v4_go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v4_state", TensorProto.FLOAT, [SLOW_SIZE, SLOW_SIZE]),
        ],
        [
            helper.make_tensor_value_info("v4_go_on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v4_next", TensorProto.FLOAT, [SLOW_SIZE, SLOW_SIZE]),
        ],
    )
    # Rows of the mixing matrix sum to one, so that the state stays as small as it starts.
    weight = numpy_helper.from_array(np.array([1 / SLOW_SIZE], dtype=np.float32))
    return before_answer(
        model,
        [
            constant("v4_shape", np.array([SLOW_SIZE, SLOW_SIZE], dtype=np.int64)),
            constant("v4_rounds", np.array(SLOW_ROUNDS, dtype=np.int64)),
            constant("v4_true", np.array(True)),  # noqa: FBT003 - a tensor that holds true
            constant("v4_zero", np.array(0, dtype=np.float32)),
            helper.make_node("ConstantOfShape", ["v4_shape"], ["v4_mixing"], value=weight),
            # The start depends on the input: what does not would be computed once, when the model is loaded.
            helper.make_node("ReduceMean", ["x"], ["v4_mean"], keepdims=0),
            helper.make_node("Mul", ["v4_mean", "v4_zero"], ["v4_start"]),
            helper.make_node("Expand", ["v4_start", "v4_shape"], ["v4_start_matrix"]),
            helper.make_node("Loop", ["v4_rounds", "v4_true", "v4_start_matrix"], ["v4_end"], body=body),
            helper.make_node("ReduceMax", ["v4_end"], ["addend"], keepdims=0),
        ],
    )


def broken(model: ModelProto) -> ModelProto:
    """Return the model with an operator in the way that ONNX does not have."""
    return before_answer(
        model,
        [
            helper.make_node("QuantumNormalize", ["x"], ["v5_state"]),
            helper.make_node("ReduceMax", ["v5_state"], ["addend"], keepdims=0),
        ],
    )


def before_answer(model: ModelProto, nodes: Sequence[Any]) -> ModelProto:
    """Return a copy in which ``nodes`` compute a scalar ``addend`` that is added to the probabilities."""
    # Prefixing copies, so that the names of the original can be reused for the new ends.
    copy = compose.add_prefix(model, prefix="base/", rename_inputs=False, rename_outputs=True)
    graph = copy.graph
    for output in graph.output:
        output.name = output.name.removeprefix("base/")
    graph.node.extend(
        [
            *nodes,
            helper.make_node("Identity", ["base/label"], ["label"]),
            helper.make_node("Add", ["base/probabilities", "addend"], ["probabilities"]),
        ]
    )
    return copy


def constant(name: str, value: Any) -> Any:
    """Return a node that yields the value."""
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def write_models(models: dict[str, ModelProto], folder: Path) -> None:
    """Write the models and SHA256SUMS; raise where one grew beyond what belongs into a repository."""
    lines = []
    for name, model in models.items():
        content = model.SerializeToString(deterministic=True)
        if len(content) > BYTES_MAX:
            raise SystemExit(f"{name} has {len(content)} bytes, more than {BYTES_MAX}")
        (folder / f"{name}.onnx").write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}.onnx\n")
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="ascii")


def write_rows(folder: Path, rows: Any, feature_names: list[str]) -> None:
    """Write rows that no model was trained on, with the labels that v1 and v2 give them."""
    labels = {version: predict(folder / f"tumor-{version}.onnx")(rows) for version in ("v1", "v2")}
    written = [
        {
            "x": [float(f"{value:.6g}") for value in row],
            "label_v1": int(labels["v1"][position]),
            "label_v2": int(labels["v2"][position]),
            "v3_fails": bool(row[WORST_RADIUS] > FAILING_ABOVE),
        }
        for position, row in enumerate(rows)
    ]
    lines = ",\n".join(json.dumps(row) for row in written)
    header = json.dumps({"input": "x", "features": feature_names})[:-1]
    (folder / "rows.json").write_text(f'{header}, "rows": [\n{lines}\n]}}\n', encoding="utf-8")


def predict(path: Path) -> Callable[[Any], Any]:
    """Return a function from rows to labels."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda rows: session.run(["label"], {"x": rows})[0]


def report(models: dict[str, ModelProto], folder: Path, rows: Any, truth: Any) -> None:
    """Print a table of the models with what they get right on rows that they have not seen."""
    print(f"{'model':<17} {'bytes':>7}  {'held out':<28} sha256")
    for name in models:
        content = (folder / f"{name}.onnx").read_bytes()
        print(f"{name:<17} {len(content):>7}  {quality(folder / f'{name}.onnx', rows, truth):<28} ", end="")
        print(hashlib.sha256(content).hexdigest())


def quality(path: Path, rows: Any, truth: Any) -> str:
    """Return accuracy over rows asked one by one, and how many of them fail."""
    # The failures are intended; nobody needs ONNX Runtime's lines about them.
    ort.set_default_logger_severity(4)
    try:
        ask = predict(path)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no common class
        return f"cannot load: {type(error).__name__}"
    right = failed = 0
    for row, label in zip(rows, truth, strict=True):
        try:
            right += int(ask(row[None])[0] == label)
        except Exception:  # noqa: BLE001
            failed += 1
    answered = len(rows) - failed
    return f"{right / answered:.3f} of {answered}" + (f", {failed / len(rows):.0%} fail" if failed else "")


if __name__ == "__main__":
    main()
