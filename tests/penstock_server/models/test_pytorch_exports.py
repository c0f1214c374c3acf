"""Models that PyTorch itself exported, over REST in JSON and in binary and over gRPC: answers are what it computed.

The package of ONNX carries them for those who write backends: each with inputs, and with what PyTorch answered to them.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, version_converter
from onnx.backend import test as backend_tests
from tests.penstock_server.conftest import Serve, Served
from tests.penstock_server.grpc.conftest import Serve as ServeGrpc
from tests.penstock_server.grpc.conftest import serve as serve_grpc  # noqa: F401 - a fixture, beside that of REST

from penstock_contract.termination import Reason
from penstock_server.protocol import DTYPES, Array
from penstock_server.session import LoadFailed, Session

DATA = Path(backend_tests.__file__).parent / "data"
#: Those that are not of PyTorch are written by hand: strings, shapes that are computed, and so on.
FOLDERS = [path for kind in ("pytorch-converted", "pytorch-operator", "simple") for path in (DATA / kind).iterdir()]
#: Those that nobody executes any more: not in the standard, or of an old form that cannot be lifted.
LEFT_OUT = {"test_gradient_of_add", "test_gradient_of_add_and_mul", *(f"test_PReLU_{n}d_multiparam" for n in (1, 2, 3))}
#: Operators that ONNX Runtime no longer has in the version that PyTorch exported them in then.
OLD = {"Add", "AveragePool", "BatchNormalization", "Gemm", "Mul", "PRelu", "Pow"}
OLD_OPSET, OPSET = 6, 13
DATATYPES = {dtype: name for name, dtype in DTYPES.items()}
RELATIVE, ABSOLUTE = 1e-3, 1e-5


def all_tensors(model: onnx.ModelProto) -> bool:
    """Return whether what goes in and comes out can be asked for and compared without more ado."""
    return all(value.type.HasField("tensor_type") for value in (*model.graph.input, *model.graph.output))


def cases() -> list[Any]:
    found = []
    for folder in sorted(FOLDERS):
        model = onnx.load(folder / "model.onnx")
        if all_tensors(model) and folder.name not in LEFT_OUT:
            found.append(pytest.param(folder, id=folder.name.removeprefix("test_")))
    return found


def lifted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model, in a newer opset where it has to be."""
    old = model.opset_import[0].version <= OLD_OPSET and OLD & {node.op_type for node in model.graph.node}
    return version_converter.convert_version(model, OPSET) if old else model


def tensors(folder: Path, kind: str) -> list[Array]:
    """Return the recorded inputs or outputs in their order."""
    files = sorted(folder.glob(f"test_data_set_0/{kind}_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))
    return [as_texts(numpy_helper.to_array(onnx.load_tensor(file))) for file in files]


def as_texts(array: Any) -> Array:
    """Return texts as Python's, and all else as it is."""
    if array.dtype.kind not in "OSU":
        return np.asarray(array)
    texts = [one.decode() if isinstance(one, bytes) else one for one in array.reshape(-1)]
    return np.array(texts, np.object_).reshape(array.shape)


def raw(array: Array) -> bytes:
    if array.dtype != np.object_:
        return array.tobytes()
    texts = [text.encode() for text in array.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def of_raw(content: bytes, datatype: str) -> Any:
    if datatype != "BYTES":
        return np.frombuffer(content, DTYPES[datatype])
    texts = []
    while content:
        end = 4 + int.from_bytes(content[:4], "little")
        texts.append(content[4:end].decode())
        content = content[end:]
    return np.array(texts, np.object_)


def head(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[array.dtype], "shape": list(array.shape)}


def agree(answered: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert set(answered) == set(expected)
    for name, array in expected.items():
        assert answered[name].dtype == array.dtype
        assert answered[name].shape == array.shape
        if array.dtype == np.object_:
            assert answered[name].tolist() == array.tolist()
        else:
            np.testing.assert_allclose(answered[name], array, rtol=RELATIVE, atol=ABSOLUTE)


@pytest.mark.parametrize("folder", cases())
async def test_answers_are_what_was_recorded(serve: Serve, serve_grpc: ServeGrpc, folder: Path) -> None:  # noqa: F811
    model = lifted(onnx.load(folder / "model.onnx"))
    weights = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in weights]
    inputs = dict(zip(names, tensors(folder, "input"), strict=True))
    expected = dict(zip((value.name for value in model.graph.output), tensors(folder, "output"), strict=True))

    rest = await serve(model)
    plain = [{**head(name, array), "data": array.tolist()} for name, array in inputs.items()]
    status, told, _ = await post(rest, json.dumps({"inputs": plain}).encode())
    answer = json.loads(told)
    if all(map(in_json_possible, expected.values())):
        assert status == 200, answer
        agree({one["name"]: in_json(one) for one in answer["outputs"]}, expected)
    else:
        assert status == 500
        assert "holds NaN or an infinity" in answer["error"]

    sent = {name: raw(array) for name, array in inputs.items()}
    sized = [
        {**head(name, array), "parameters": {"binary_data_size": len(sent[name])}} for name, array in inputs.items()
    ]
    text = json.dumps({"inputs": sized, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    status, body, size = await post(rest, text + b"".join(sent.values()), headers)
    assert status == 200
    json_bytes = int(size or 0)
    agree(in_binary(json.loads(body[:json_bytes])["outputs"], body[json_bytes:]), expected)

    grpc = await serve_grpc(model)
    heads = [head(name, array) for name, array in inputs.items()]
    called = await grpc.call("ModelInfer", model_name="m", inputs=heads, raw_input_contents=list(sent.values()))
    got = zip(called.outputs, called.raw_output_contents, strict=True)
    agree({one.name: of_raw(content, one.datatype).reshape(one.shape) for one, content in got}, expected)


async def post(served: Served, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, str | None]:
    """Return status and body of an answer, and how much of it is JSON."""
    url = f"{served.url}/v2/models/m/infer"
    # Of large bytes as they are, the client says that sending them takes long.
    async with served.client.post(url, data=io.BytesIO(body), headers=headers) as response:
        return response.status, await response.read(), response.headers.get("Inference-Header-Content-Length")


def in_json_possible(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def in_json(output: Mapping[str, Any]) -> Array:
    return np.array(output["data"], DTYPES[output["datatype"]]).reshape(output["shape"])


def in_binary(outputs: list[dict[str, Any]], content: bytes) -> dict[str, Array]:
    found = {}
    for output in outputs:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = of_raw(content[:size], output["datatype"]).reshape(output["shape"])
        content = content[size:]
    assert content == b""
    return found


def test_an_operator_of_a_version_that_is_gone_is_told_with_what_to_do() -> None:
    with pytest.raises(
        LoadFailed, match=r"implementation for Gemm\(6\).*onnx\.version_converter lifts a file"
    ) as failed:
        Session.load(DATA / "pytorch-converted" / "test_Linear" / "model.onnx", threads=1)
    assert failed.value.reason is Reason.UNKNOWN_OPERATOR


def test_more_than_a_hundred_are_real_exports() -> None:
    producers = [onnx.load(case.values[0] / "model.onnx").producer_name for case in cases()]
    assert producers.count("pytorch") > 100
