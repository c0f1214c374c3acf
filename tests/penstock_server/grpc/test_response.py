"""Answers of the same shapes differ in their numbers only."""

import numpy as np
import pytest

from penstock_server.grpc_service.messages import ModelInferResponse
from penstock_server.grpc_service.response import MessageEncoder
from penstock_server.protocol import DTYPES, Array, InferRequest, RequestedOutput, TensorSpec

SPECS = (
    TensorSpec(name="label", datatype="INT64", shape=(-1,)),
    TensorSpec(name="p", datatype="FP32", shape=(-1, 2), classes=("no", "yes")),
)
EVERY = tuple(RequestedOutput(name=spec.name, binary=True) for spec in SPECS)


def encoder() -> MessageEncoder:
    return MessageEncoder(model_name="m", model_version="3", outputs=SPECS)


def request(outputs: tuple[RequestedOutput, ...] = EVERY, name: str | None = None) -> InferRequest:
    return InferRequest(id=name, inputs={}, outputs=outputs, rows=1)


def results(rows: int, value: float) -> list[Array]:
    return [np.full((rows,), value, np.int64), np.full((rows, 2), value, np.float32)]


def test_a_later_answer_is_what_a_first_one_would_be() -> None:
    used = encoder()
    for rows, value in ((1, 1), (1, 2), (300, 3), (1, 4), (300, 5), (0, 6), (0, 7)):
        found = ModelInferResponse.FromString(used.encode(request(), results(rows, value), raw=True))
        wanted = ModelInferResponse.FromString(encoder().encode(request(), results(rows, value), raw=True))
        assert found == wanted
        assert np.frombuffer(found.raw_output_contents[1], np.float32).tolist() == [value] * 2 * rows
    assert len(used._known) == 3


@pytest.mark.parametrize(
    ("outputs", "name", "raw"),
    [
        (EVERY, "7", True),
        (EVERY, None, False),
        (EVERY[:1], None, True),
        ((RequestedOutput(name="p", binary=True, classification=1),), None, True),
    ],
    ids=["an id", "typed", "other outputs", "classes"],
)
def test_what_else_can_be_asked_is_not_mixed_up_with_it(
    outputs: tuple[RequestedOutput, ...], name: str | None, *, raw: bool
) -> None:
    used = encoder()
    for value in (1, 2):
        used.encode(request(), results(2, value), raw=True)
        some = [
            array
            for spec, array in zip(SPECS, results(2, value), strict=True)
            if spec.name in {o.name for o in outputs}
        ]
        found = ModelInferResponse.FromString(used.encode(request(outputs, name), some, raw=raw))
        assert found == ModelInferResponse.FromString(encoder().encode(request(outputs, name), some, raw=raw))
        assert found.id == (name or "")


def test_shapes_are_forgotten_before_they_take_much_memory() -> None:
    used = encoder()
    for rows in range(1000):
        used.encode(request(), results(rows, 0), raw=True)
    assert len(used._known) <= 256


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {"BYTES"}))
def test_numbers_of_every_kind_come_a_second_time_as_the_first(datatype: str) -> None:
    spec = TensorSpec(name="y", datatype=datatype, shape=(-1,))
    used = MessageEncoder(model_name="m", model_version="", outputs=[spec])
    asked = request((RequestedOutput(name="y", binary=True),))
    for values in ([0, 1], [1, 0]):
        array = np.array(values, DTYPES[datatype])
        found = ModelInferResponse.FromString(used.encode(asked, [array], raw=True))
        assert found.raw_output_contents[0] == array.tobytes()
        assert (found.outputs[0].datatype, list(found.outputs[0].shape)) == (datatype, [2])
