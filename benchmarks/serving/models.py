"""The models and rows that every server is given: made once, from fixed seeds, kept by the hash of this file.

Run as a program it makes them: python -m benchmarks.serving.models FOLDER
"""

import hashlib
import json
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEED = 20261121
_GRADIENT_BOOSTING_FEATURES = 30
_MLP_INPUTS = 256
#: 4 x 256 x 256 floats of 4 bytes: 1 MiB.
_TENSOR_SHAPE = (4, 256, 256)
_OPSET = 17
#: So many rows describe what the models saw, for the reference profile.
_PROFILE_ROWS = 4000

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One model: its file, the name of its only input, rows to ask it, and rows for its reference profile."""

    name: str
    path: Path
    input_name: str
    rows: Floats
    profile_rows: Path | None

    def expected(self, rows: int) -> dict[str, list[float]]:
        """Return ONNX Runtime's own answer for the first rows, each output flat."""
        import onnxruntime  # noqa: PLC0415 - slow to load, and the unit tests need none of it

        session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        answers = session.run(None, {self.input_name: self.rows[:rows]})
        return {name: np.asarray(one).ravel().tolist() for name, one in zip(names, answers, strict=True)}


def subjects(cache: Path) -> dict[str, Subject]:
    """Return all models, made first if they are not there."""
    folder = cache / f"models-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}"
    listing = folder / "models.json"
    if not listing.exists():
        print("making the models", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        # A process of its own: scikit-learn's threads and memory must not be around while the clock runs.
        subprocess.run([sys.executable, "-m", "benchmarks.serving.models", str(folder)], check=True)
    return {
        one["name"]: Subject(
            name=one["name"],
            path=folder / one["path"],
            input_name=one["input_name"],
            rows=np.load(folder / one["rows"]),
            profile_rows=folder / one["profile_rows"] if one["profile_rows"] else None,
        )
        for one in json.loads(listing.read_text())
    }


def make(folder: Path) -> None:
    """Write every model, its rows, and last the list of them."""
    random = np.random.default_rng(_SEED)
    listing = []
    for name, features in (("gbm", _GRADIENT_BOOSTING_FEATURES), ("mlp", _MLP_INPUTS)):
        rows = random.normal(size=(_PROFILE_ROWS, features)).astype(np.float32)
        model = _gradient_boosting(rows, random) if name == "gbm" else _perceptron(rows, random)
        listing.append(_write(folder, name, "x", model.SerializeToString(), rows[:64]))
        listing[-1]["profile_rows"] = f"{name}-profile.npz"
        np.savez(folder / f"{name}-profile.npz", x=rows)
    tensor = random.normal(size=(1, *_TENSOR_SHAPE)).astype(np.float32)
    listing.append(_write(folder, "tensor", "x", _pooling().SerializeToString(), tensor))
    (folder / "models.json").write_text(json.dumps(listing, indent=1))


def _write(folder: Path, name: str, input_name: str, model: bytes, rows: Floats) -> dict[str, str]:
    (folder / f"{name}.onnx").write_bytes(model)
    np.save(folder / f"{name}-rows.npy", rows)
    return {
        "name": name,
        "path": f"{name}.onnx",
        "input_name": input_name,
        "rows": f"{name}-rows.npy",
        "profile_rows": "",
    }


def _labels(rows: Floats, random: np.random.Generator) -> NDArray[np.int64]:
    score = rows[:, 0] + rows[:, 1] * rows[:, 2] - 0.5 * rows[:, 3] ** 2
    return np.asarray(score + random.normal(scale=0.3, size=len(rows)) > 0, dtype=np.int64)


def _gradient_boosting(rows: Floats, random: np.random.Generator) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415 - only who makes the models needs it

    fitted = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=0).fit(rows, _labels(rows, random))
    return _exported(fitted, rows.shape[1])


def _perceptron(rows: Floats, random: np.random.Generator) -> Any:
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

    with warnings.catch_warnings():
        # It is asked to be small and fast, not good.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = MLPClassifier((64, 32), max_iter=10, random_state=0).fit(rows, _labels(rows, random))
    return _exported(fitted, rows.shape[1])


def _exported(fitted: Any, features: int) -> Any:
    from skl2onnx import to_onnx  # noqa: PLC0415
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415

    initial = [("x", FloatTensorType([None, features]))]
    return to_onnx(fitted, initial_types=initial, target_opset=_OPSET, options={"zipmap": False})


def _pooling() -> Any:
    """Return a model whose work is next to nothing: what is measured is the way of 1 MiB to it."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", *_TENSOR_SHAPE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", _TENSOR_SHAPE[0]])
    graph = helper.make_graph(nodes, "pooling", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
