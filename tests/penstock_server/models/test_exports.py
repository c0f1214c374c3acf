"""Models that XGBoost, LightGBM and PyTorch exported, served: predictions are those of the framework that made them.

The folder ``exports`` holds the models, what the frameworks themselves answered, and the scripts that wrote both.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.penstock_server.models.conftest import ServeFile

EXPORTS = Path(__file__).parent / "exports"
#: The frameworks add up trees in another order than ONNX Runtime, all of them in float32.
TOLERANCE = 1e-5
FRAMEWORKS = {"xgboost", "lightgbm"}


def recorded() -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted(EXPORTS.glob("*.json"))]


@pytest.mark.parametrize("path", recorded())
def test_predictions_are_the_frameworks_own(serve_file: ServeFile, path: Path) -> None:
    told = json.loads(path.read_text())
    inputs = {name: np.array(rows, np.float32) for name, rows in told["inputs"].items()}
    answered = serve_file(path.with_suffix(".onnx")).infer(inputs)
    assert set(answered.outputs) == set(told["outputs"])
    for name, expected in told["outputs"].items():
        np.testing.assert_allclose(answered[name], expected, rtol=TOLERANCE, atol=TOLERANCE)
    for name, classes in told.get("classes", {}).items():
        assert answered.classes(name) == classes


def test_every_framework_is_there() -> None:
    made_with = {json.loads(path.read_text())["made_with"].split()[0] for path in EXPORTS.glob("*.json")}
    assert made_with >= FRAMEWORKS
    assert sum(path.stat().st_size for path in EXPORTS.iterdir() if path.is_file()) < 200_000
