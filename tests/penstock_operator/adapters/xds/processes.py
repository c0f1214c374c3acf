"""Serving pods as processes on loopback, and small models for them."""

import os
import subprocess
import sys
from pathlib import Path

from onnx import ModelProto, helper
from tests.fakes.cluster import FakeCluster
from tests.penstock_operator.adapters.xds.rig import free_port
from tests.penstock_server import onnx_models

from penstock_operator.core.names import MANAGED_BY, OPERATOR, REVISION
from penstock_operator.core.routes import Backend


def plus(amount: float) -> ModelProto:
    """A model that adds something to its input."""
    added = helper.make_tensor("amount", 1, [1], [amount])
    return onnx_models.model(
        [helper.make_node("Add", ["x", "amount"], ["y"])],
        [onnx_models.tensor("x", "FP32", [None, 1])],
        [onnx_models.tensor("y", "FP32", [None, 1])],
        initializer=[added],
    )


class Servers:
    """Serving pods as processes: an address each, the ports of all."""

    def __init__(self, folder: Path, *, grpc: bool = False) -> None:
        self._folder = folder
        self.grpc_port = free_port() if grpc else None
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port, self.management_port = free_port(), free_port()
        self.cluster = FakeCluster()

    def start(self, revision: str, address: str, model: ModelProto, *, weight: int) -> Backend:
        path = self._folder / f"{revision}.onnx"
        path.write_bytes(model.SerializeToString())
        grpc_port = "off" if self.grpc_port is None else str(self.grpc_port)
        ports = ("--port", str(self.port), "--management-port", str(self.management_port), "--grpc-port", grpc_port)
        self._processes.append(
            subprocess.Popen(
                (sys.executable, "-m", "penstock_server", str(path), "--name", "fraud", "--host", address, *ports),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PENSTOCK_TERMINATION_LOG": str(self._folder / "last-words")},
            )
        )
        self.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": revision,
                    "namespace": "shop",
                    "labels": {MANAGED_BY: OPERATOR, REVISION: revision},
                },
                "spec": {},
                "status": {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
            }
        )
        return Backend(revision=revision, host=address, port=self.port, grpc_port=self.grpc_port, weight=weight)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
