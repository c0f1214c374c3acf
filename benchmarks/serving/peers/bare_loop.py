"""The naive limit: aiohttp's Application, orjson, ONNX Runtime, and nothing else. No checks, no counters, no limits."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import uvloop
from aiohttp import web


def main() -> None:
    model, port = Path(sys.argv[1]), int(sys.argv[2])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    datatypes = {"float32": "FP32", "int64": "INT64"}

    async def infer(request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        inputs = {
            tensor["name"]: np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
            for tensor in body["inputs"]
        }
        outputs = [
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": datatypes[array.dtype.name],
                "data": array.ravel().tolist(),
            }
            for name, array in zip(names, session.run(None, inputs), strict=True)
        ]
        answer = {"model_name": "bench", "outputs": outputs}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v2/models/bench/infer", infer)
    app.router.add_get("/v2/health/ready", ready)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
