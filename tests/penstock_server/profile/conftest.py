"""Requests and columns for counting."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from penstock_contract.profile import Column, Role, Transform
from penstock_server.profile import describe
from penstock_server.protocol import Array, InferRequest, RequestedOutput, TensorSpec

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 3))
Y = TensorSpec(name="y", datatype="FP32", shape=(-1, 1))

MakeRequest = Callable[..., InferRequest]


def asked(inputs: Mapping[str, Array], outputs: Sequence[str] = ("y",), name: str | None = None) -> InferRequest:
    """Return a request with these arrays."""
    rows = len(next(iter(inputs.values())))
    return InferRequest(
        id=name, inputs=inputs, outputs=tuple(RequestedOutput(name=output) for output in outputs), rows=rows
    )


def columns_of(matrix: Array, tensor: str = "x", role: Role = Role.INPUT, datatype: str = "FP32") -> list[Column]:
    """Return numeric columns described by the rows of a matrix."""
    return [
        describe.numeric(
            matrix[:, place], transform=Transform.NONE, scored=role is Role.INPUT, name=f"{role}s/{tensor}[{place}]",
            role=role, tensor=tensor, index=place, datatype=datatype, contributes=role is Role.OUTPUT,
        )
        for place in range(matrix.shape[1])
    ]  # fmt: skip


@pytest.fixture
def random() -> np.random.Generator:
    """Return a source of the same numbers each time."""
    return np.random.default_rng(7)


def quiet(event: str, **fields: Any) -> None:
    """Log nothing."""
