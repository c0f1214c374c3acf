"""MLServer with a runtime of a few lines around ONNX Runtime, after its page on custom runtimes."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri


class OnnxRuntime(MLModel):  # type: ignore[misc] # MLServer is in an environment of its own: here it is Any
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        uri = await get_model_uri(self.settings)
        self.session = onnxruntime.InferenceSession(uri, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inputs = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        arrays = self.session.run(None, inputs)
        outputs = [NumpyCodec.encode_output(name, array) for name, array in zip(self.names, arrays, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
