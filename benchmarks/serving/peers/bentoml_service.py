"""BentoML with a service of a few lines around ONNX Runtime, after its quickstart."""

import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, traffic={"timeout": 60})  # type: ignore[untyped-decorator,unused-ignore] # not installed here
class Bench:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.names = [output.name for output in self.session.get_outputs()]

    @bentoml.api  # type: ignore[untyped-decorator,unused-ignore] # not installed here
    def predict(self, rows: np.ndarray) -> dict[str, Any]:
        arrays = self.session.run(None, {"x": rows.astype(np.float32)})
        return {name: array.tolist() for name, array in zip(self.names, arrays, strict=True)}
