"""Exports small XGBoost and LightGBM models, with what the libraries themselves answer.

    python -m venv /tmp/boosting
    /tmp/boosting/bin/pip install xgboost-cpu lightgbm onnxmltools onnxconverter-common scikit-learn
    /tmp/boosting/bin/python -m tests.penstock_server.models.exports.export_boosting

Writes NAME.onnx beside NAME.json; ``test_exports.py`` serves whatever pairs lie in this folder.
"""

from pathlib import Path
from typing import Any

import lightgbm  # type: ignore[import-not-found]  # not installed where types are checked
import numpy as np
import onnxmltools  # type: ignore[import-not-found]  # likewise
import xgboost  # type: ignore[import-not-found]  # likewise
from onnxmltools.convert.common.data_types import FloatTensorType  # type: ignore[import-not-found]  # likewise
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from tests.penstock_server.models.exports.record import record

FOLDER = Path(__file__).parent
OPSET = 15
XGBOOST = f"xgboost {xgboost.__version__}"
LIGHTGBM = f"lightgbm {lightgbm.__version__}"
ROWS = 12


def tumors() -> Any:
    """Return 30 features and two classes."""
    rows, classes = load_breast_cancer(return_X_y=True)
    return rows.astype(np.float32), classes


def flowers() -> Any:
    """Return 4 features and three classes."""
    rows, classes = load_iris(return_X_y=True)
    return rows.astype(np.float32), classes


def patients() -> Any:
    """Return 10 features and a number."""
    rows, target = load_diabetes(return_X_y=True)
    return rows.astype(np.float32), target


def sample(rows: Any) -> Any:
    """Return some rows from all over the data."""
    return rows[:: len(rows) // ROWS][:ROWS]


def write(name: str, model: Any, *, made_with: str, rows: Any, outputs: dict[str, Any], **more: Any) -> None:
    """Write a pair."""
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    record(FOLDER / f"{name}.json", made_with=made_with, inputs={"input": rows}, outputs=outputs, **more)


def export_xgboost() -> None:
    """Export two classifiers and a regressor."""
    for name, (rows, classes) in (("xgboost-binary", tumors()), ("xgboost-classes", flowers())):
        model = xgboost.XGBClassifier(n_estimators=12, max_depth=3, random_state=0).fit(rows, classes)
        some = sample(rows)
        write(
            name,
            onnxmltools.convert_xgboost(model, initial_types=types(rows), target_opset=OPSET),
            made_with=XGBOOST,
            rows=some,
            outputs={"label": model.predict(some), "probabilities": model.predict_proba(some)},
        )
    rows, target = patients()
    regressor = xgboost.XGBRegressor(n_estimators=12, max_depth=3, random_state=0).fit(rows, target)
    some = sample(rows)
    write(
        "xgboost-number",
        onnxmltools.convert_xgboost(regressor, initial_types=types(rows), target_opset=OPSET),
        made_with=XGBOOST,
        rows=some,
        outputs={"variable": regressor.predict(some)[:, None]},
    )


def export_lightgbm() -> None:
    """Export a classifier with and without maps of classes, and a regressor."""
    for name, (rows, classes), zipmap in (
        ("lightgbm-binary", tumors(), False),
        ("lightgbm-classes", flowers(), True),
    ):
        model = lightgbm.LGBMClassifier(n_estimators=12, num_leaves=7, verbose=-1, random_state=0).fit(rows, classes)
        some = sample(rows)
        write(
            name,
            onnxmltools.convert_lightgbm(model, initial_types=types(rows), target_opset=OPSET, zipmap=zipmap),
            made_with=LIGHTGBM,
            rows=some,
            outputs={"label": model.predict(some), "probabilities": model.predict_proba(some)},
            classes={"probabilities": model.classes_.tolist()} if zipmap else {},
        )
    rows, target = patients()
    regressor = lightgbm.LGBMRegressor(n_estimators=12, num_leaves=7, verbose=-1, random_state=0).fit(rows, target)
    some = sample(rows)
    write(
        "lightgbm-number",
        onnxmltools.convert_lightgbm(regressor, initial_types=types(rows), target_opset=OPSET),
        made_with=LIGHTGBM,
        rows=some,
        outputs={"variable": regressor.predict(some)[:, None]},
    )


def types(rows: Any) -> list[tuple[str, Any]]:
    """Return the one input of all these models."""
    return [("input", FloatTensorType([None, rows.shape[1]]))]


if __name__ == "__main__":
    export_xgboost()
    export_lightgbm()
