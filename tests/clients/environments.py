"""The clients of other people that the server is tested with, each in an environment of its own."""

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cluster.environments import python_of

from cluster import node


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """``requirements`` are pinned; ``below`` is the first minor version of Python 3 that the client cannot use."""

    name: str
    requirements: tuple[str, ...]
    below: int | None = None


CLIENTS = {
    one.name: one
    for one in (
        Client(name="tritonclient", requirements=("tritonclient[http,grpc]==2.73.0", "numpy==2.4.6")),
        Client(name="kserve", requirements=("kserve==0.21.0",), below=14),
        Client(name="mlserver", requirements=("mlserver==1.7.1",), below=13),
        Client(name="schemathesis", requirements=("schemathesis==4.32.5",)),
    )
}
#: Not a client: the registry that models are fetched from.
MLFLOW = ("mlflow>=3.5,<4", "onnx>=1.21,<2", "onnxruntime>=1.24.2,<2")


def programs_of(name: str) -> Path:
    """Return the folder with the programs of a client's environment; made first if it is not there."""
    client = CLIENTS[name]
    return python_of(client.name, client.requirements, below=client.below).parent


def mlflow() -> Path:
    """Return a Python with a real MLflow in it."""
    return python_of("mlflow", MLFLOW)


def azurite() -> Path:
    """Return the program of Microsoft's Azurite that serves blobs."""
    return node.programs_of("azurite", Path(__file__).parent / "azurite") / "azurite-blob"


def main() -> None:
    """Make every environment that is not there yet; ``azurite`` makes that one only, and installs Node for it."""
    if sys.argv[1:] == ["azurite"]:
        azurite()
        return
    with ThreadPoolExecutor(1) as beside:
        # It mostly waits for the network. Where there is no Node, it comes when the cluster needs apt-get no more.
        waiting = beside.submit(azurite) if shutil.which("npm") else None
        for name in CLIENTS:
            programs_of(name)
        mlflow()
        if waiting is not None:
            waiting.result()


if __name__ == "__main__":
    main()
