"""Exports small networks from an installed PyTorch, with what they answer there.

    pip install torch onnx onnxscript && python -m tests.penstock_server.models.exports.export_pytorch

Writes NAME.onnx beside NAME.json; ``test_exports.py`` serves whatever pairs lie in its folder.
"""

from pathlib import Path

import torch  # type: ignore[import-not-found]  # not installed where types are checked
from tests.penstock_server.models.exports.record import record
from torch import nn


def linear() -> nn.Module:
    """Return linear layers with a dropout that an export leaves out."""
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3), nn.Softmax(dim=1))


def convolution() -> nn.Module:
    """Return a convolution over small images."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5))


def main() -> None:
    """Export all of them."""
    folder = Path(__file__).parent
    torch.manual_seed(0)
    for name, network, shape in (
        ("pytorch-linear", linear(), (4, 8)),
        ("pytorch-convolution", convolution(), (4, 3, 8, 8)),
    ):
        x = torch.randn(shape)
        network.eval()
        torch.onnx.export(
            network,
            (x,),
            folder / f"{name}.onnx",
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        )
        with torch.no_grad():
            answer = network(x).numpy()
        record(
            folder / f"{name}.json",
            made_with=f"torch {torch.__version__}",
            inputs={"input": x.numpy()},
            outputs={"output": answer},
        )


if __name__ == "__main__":
    main()
