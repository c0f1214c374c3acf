"""LitServe with an API of a few lines around ONNX Runtime, after its quickstart."""

import os
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class OnnxApi(litserve.LitAPI):  # type: ignore[misc] # LitServe is in an environment of its own: here it is Any
    def setup(self, device: str) -> None:  # noqa: ARG002
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.names = [output.name for output in self.session.get_outputs()]

    def decode_request(self, request: dict[str, Any]) -> Any:
        return np.array(request["rows"], dtype=np.float32)

    def predict(self, rows: Any) -> list[Any]:
        return list(self.session.run(None, {"x": rows}))

    def encode_response(self, arrays: list[Any]) -> dict[str, Any]:
        return {name: array.tolist() for name, array in zip(self.names, arrays, strict=True)}


if __name__ == "__main__":
    server = litserve.LitServer(OnnxApi(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False
    )
