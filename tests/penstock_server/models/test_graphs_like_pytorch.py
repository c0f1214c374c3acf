"""Graphs of the form that torch.onnx writes, served: answers are what PyTorch's documentation says each layer computes.

PyTorch is too large to be installed for tests, so these graphs are built by hand: its operators, attributes, layouts
and names, with weights from a fixed seed, against formulas in numpy. ``exports/export_pytorch.py`` exports the same
networks from a PyTorch that is installed.
"""

from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper
from tests.penstock_server import onnx_models
from tests.penstock_server.models.conftest import ServeModel

from penstock_server.protocol import Array

TOLERANCE = 1e-5
RANDOM = np.random.default_rng(0)


def weights(**shapes: tuple[int, ...]) -> dict[str, Array]:
    """Return parameters under the names that PyTorch gives them (``.`` written as ``__``)."""
    return {name.replace("__", "."): RANDOM.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def network(nodes: list[Any], parameters: dict[str, Array], inputs: list[Any], outputs: list[Any]) -> ModelProto:
    initializer = [numpy_helper.from_array(array, name) for name, array in parameters.items()]
    return onnx_models.model(nodes, inputs, outputs, initializer=initializer)


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def test_linear_layers_with_a_batch_of_any_size(serve_model: ServeModel) -> None:
    w = weights(**{"0__weight": (16, 8), "0__bias": (16,), "3__weight": (3, 16), "3__bias": (3,)})
    gemm = {"alpha": 1.0, "beta": 1.0, "transB": 1}
    made = network(
        [
            helper.make_node("Gemm", ["input", "0.weight", "0.bias"], ["/0/Gemm_output_0"], "/0/Gemm", **gemm),
            helper.make_node("Relu", ["/0/Gemm_output_0"], ["/1/Relu_output_0"], "/1/Relu"),
            helper.make_node("Gemm", ["/1/Relu_output_0", "3.weight", "3.bias"], ["/3/Gemm_output_0"], **gemm),
            helper.make_node("Softmax", ["/3/Gemm_output_0"], ["output"], "/4/Softmax", axis=1),
        ],
        w,
        [onnx_models.tensor("input", "FP32", ["batch", 8])],
        [onnx_models.tensor("output", "FP32", ["batch", 3])],
    )
    served = serve_model(made)
    for rows in (1, 33):
        x = RANDOM.normal(size=(rows, 8)).astype(np.float32)
        hidden = np.maximum(x @ w["0.weight"].T + w["0.bias"], 0)
        expected = softmax(hidden @ w["3.weight"].T + w["3.bias"])
        np.testing.assert_allclose(served.infer({"input": x})["output"], expected, atol=TOLERANCE)


def convolved(x: Array, weight: Array, bias: Array) -> Array:
    """Return a 3x3 convolution with padding 1, as torch.nn.Conv2d computes it."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.asarray(np.einsum("bchwij,ocij->bohw", windows, weight) + bias[:, None, None])


def test_convolutions_over_images(serve_model: ServeModel) -> None:
    w = weights(conv__weight=(4, 3, 3, 3), conv__bias=(4,), fc__weight=(5, 4 * 4 * 4), fc__bias=(5,))
    window = {"dilations": [1, 1], "group": 1, "kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    made = network(
        [
            helper.make_node("Conv", ["input.1", "conv.weight", "conv.bias"], ["/conv/Conv_output_0"], **window),
            helper.make_node("Relu", ["/conv/Conv_output_0"], ["/relu/Relu_output_0"]),
            helper.make_node(
                "MaxPool",
                ["/relu/Relu_output_0"],
                ["/pool/MaxPool_output_0"],
                ceil_mode=0,
                kernel_shape=[2, 2],
                pads=[0, 0, 0, 0],
                strides=[2, 2],
            ),
            helper.make_node("Flatten", ["/pool/MaxPool_output_0"], ["/Flatten_output_0"], axis=1),
            helper.make_node("Gemm", ["/Flatten_output_0", "fc.weight", "fc.bias"], ["21"], transB=1),
        ],
        w,
        [onnx_models.tensor("input.1", "FP32", ["batch_size", 3, 8, 8])],
        [onnx_models.tensor("21", "FP32", ["batch_size", 5])],
    )
    x = RANDOM.normal(size=(2, 3, 8, 8)).astype(np.float32)
    features = np.maximum(convolved(x, w["conv.weight"], w["conv.bias"]), 0)
    pooled = features.reshape(2, 4, 4, 2, 4, 2).max(axis=(3, 5)).reshape(2, -1)
    expected = pooled @ w["fc.weight"].T + w["fc.bias"]
    np.testing.assert_allclose(serve_model(made).infer({"input.1": x})["21"], expected, rtol=1e-4, atol=TOLERANCE)


def test_a_recurrent_network_takes_its_state_and_gives_it_back(serve_model: ServeModel) -> None:
    size, width = 4, 3
    w = weights(W=(1, 4 * size, width), R=(1, 4 * size, size), B=(1, 8 * size))
    made = network(
        [
            # PyTorch's layer has sequences first; ONNX answers one more axis, for directions.
            helper.make_node("LSTM", ["input", "W", "R", "B", "", "h0", "c0"], ["Y", "hn", "cn"], hidden_size=size),
            helper.make_node("Squeeze", ["Y", "axis"], ["output"]),
        ],
        {**w, "axis": np.array([1], np.int64)},
        [
            onnx_models.tensor("input", "FP32", ["steps", "batch", width]),
            onnx_models.tensor("h0", "FP32", [1, "batch", size]),
            onnx_models.tensor("c0", "FP32", [1, "batch", size]),
        ],
        [
            onnx_models.tensor("output", "FP32", ["steps", "batch", size]),
            onnx_models.tensor("hn", "FP32", [1, "batch", size]),
            onnx_models.tensor("cn", "FP32", [1, "batch", size]),
        ],
    )
    x = RANDOM.normal(size=(6, 2, width)).astype(np.float32)
    h = RANDOM.normal(size=(1, 2, size)).astype(np.float32)
    c = RANDOM.normal(size=(1, 2, size)).astype(np.float32)
    answered = serve_model(made).infer({"input": x, "h0": h, "c0": c})
    hidden, cell, steps = h[0], c[0], []
    for step in x:
        gates = step @ w["W"][0].T + hidden @ w["R"][0].T + w["B"][0, : 4 * size] + w["B"][0, 4 * size :]
        # ONNX's order: input, output, forget, cell.
        i, o, f, g = np.split(gates, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        steps.append(hidden)
    np.testing.assert_allclose(answered["output"], np.stack(steps), atol=TOLERANCE)
    np.testing.assert_allclose(answered["hn"][0], hidden, atol=TOLERANCE)
    np.testing.assert_allclose(answered["cn"][0], cell, atol=TOLERANCE)


def test_attention_over_tokens_of_any_number_with_a_mask(serve_model: ServeModel) -> None:
    w = weights(embedding__weight=(10, 4), q=(4, 4), k=(4, 4), v=(4, 4))
    constants = {"/Constant": np.array(0.5, np.float32), "/low": np.array(-1e9, np.float32)}
    made = network(
        [
            helper.make_node("Gather", ["embedding.weight", "input_ids"], ["e"], "/embedding/Gather"),
            *(helper.make_node("MatMul", ["e", one], [f"/{one}"], f"/{one}/MatMul") for one in "qkv"),
            helper.make_node("Transpose", ["/k"], ["kT"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["/q", "kT"], ["qk"]),
            helper.make_node("Mul", ["qk", "/Constant"], ["scaled"]),
            helper.make_node("Unsqueeze", ["attention_mask", "axis"], ["mask"]),
            helper.make_node("Where", ["mask", "scaled", "/low"], ["masked"]),
            helper.make_node("Softmax", ["masked"], ["weights"], axis=-1),
            helper.make_node("MatMul", ["weights", "/v"], ["last_hidden_state"]),
        ],
        {**w, **constants, "axis": np.array([1], np.int64)},
        [
            onnx_models.tensor("input_ids", "INT64", ["batch", "tokens"]),
            onnx_models.tensor("attention_mask", "BOOL", ["batch", "tokens"]),
        ],
        [onnx_models.tensor("last_hidden_state", "FP32", ["batch", "tokens", 4])],
    )
    served = serve_model(made)
    for tokens in (2, 5):
        ids = RANDOM.integers(0, 10, (3, tokens))
        mask = np.arange(tokens) < np.array([[1], [2], [tokens]])
        e = w["embedding.weight"][ids]
        scores = np.where(mask[:, None], (e @ w["q"]) @ (e @ w["k"]).transpose(0, 2, 1) * 0.5, -1e9)
        expected = softmax(scores) @ (e @ w["v"])
        answered = served.infer({"input_ids": ids, "attention_mask": mask})
        np.testing.assert_allclose(answered["last_hidden_state"], expected, atol=TOLERANCE)
