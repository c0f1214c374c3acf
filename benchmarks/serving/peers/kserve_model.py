"""KServe's Python server with a model of a few lines around ONNX Runtime, after its page on custom models."""

import argparse

import kserve
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, model_server
from kserve.utils.utils import generate_uuid


class OnnxModel(kserve.Model):  # type: ignore[misc] # KServe is in an environment of its own: here it is Any
    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        self.path = path
        self.load()

    def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.ready = True
        return True

    # Not async: KServe's own scikit-learn and XGBoost servers are not either.
    def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:  # noqa: ARG002
        inputs = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        outputs = []
        for name, array in zip(self.names, self.session.run(None, inputs), strict=True):
            datatype = {"float32": "FP32", "int64": "INT64"}[array.dtype.name]
            output = InferOutput(name=name, shape=list(array.shape), datatype=datatype)
            output.set_data_from_numpy(array, binary_data=False)
            outputs.append(output)
        return InferResponse(response_id=payload.id or generate_uuid(), model_name=self.name, infer_outputs=outputs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--model_path", required=True)
    arguments = parser.parse_args()
    kserve.ModelServer().start([OnnxModel("bench", arguments.model_path)])
