"""Requests reach the counting thread whole, in order and bounded, and never wait for it."""

import numpy as np
import pytest
from tests.penstock_server.profile.conftest import X, Y, asked

from penstock_server.profile.rows import Answered, Tensors, blocks
from penstock_server.profile.tap import ENOUGH_REQUESTS, Tap
from penstock_server.protocol import Array, TensorSpec

IMAGE = TensorSpec(name="image", datatype="FP32", shape=(-1, 3, 64, 64))
BOTH = Tensors.of([X], [Y])


def tap(rows_max: int | None = None, tensors: Tensors = BOTH) -> Tap:
    return Tap(tensors, rows_max=rows_max)


def observe(one: Tap, rows: int, value: float = 0.0, name: str | None = "id") -> None:
    """A request with an id is kept whole, one without as bytes."""
    x = np.full((rows, 3), value, np.float32)
    one.observe(asked({"x": x}, name=name), [np.full((rows, 1), value, np.float32)])


def take(one: Tap, requests: int = 1000, rows: int = 10_000) -> list[Answered]:
    packed, answered = one.take(requests, rows)
    assert packed == []
    return answered


def first_values(one: Tap, requests: int = 1000) -> list[float]:
    return [float(request.inputs["x"][0, 0]) for request, _ in take(one, requests)]


def test_what_is_observed_is_taken_in_order_and_once() -> None:
    one = tap()
    for value in range(5):
        observe(one, 1, value)
    assert first_values(one, 2) == [0, 1]
    assert first_values(one) == [2, 3, 4]
    assert first_values(one) == []


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    one = tap(rows_max=3)
    for value in range(5):
        observe(one, 1, value)
    assert one.dropped_rows == 2
    assert first_values(one) == [0, 1, 2]
    observe(one, 1, 9)
    assert first_values(one) == [9]


def test_of_a_request_that_does_not_fit_one_row_is_kept_for_tests() -> None:
    one = tap(rows_max=4)
    x = np.arange(30, dtype=np.float32).reshape(10, 3)
    one.observe(asked({"x": x}), [x[:, :1].copy()])
    ((request, results),) = take(one)
    assert one.dropped_rows == 9
    assert request.rows == 1
    assert request.inputs["x"].shape == (1, 3)
    assert results[0][0, 0] == request.inputs["x"][0, 0]


def told(one: Tap) -> list[int]:
    """A list that grows each time that enough waits."""
    times: list[int] = []
    one.enough = lambda: times.append(one.rows_waiting)
    return times


def test_when_enough_requests_wait_that_is_told_once_until_some_are_taken() -> None:
    one = tap()
    times = told(one)
    for _ in range(ENOUGH_REQUESTS - 1):
        observe(one, 1)
    assert times == []
    for _ in range(5):
        observe(one, 1)
    assert times == [ENOUGH_REQUESTS]
    take(one, 5)
    observe(one, 1)
    assert times == [ENOUGH_REQUESTS, ENOUGH_REQUESTS]


def test_half_of_the_rows_that_may_wait_are_enough() -> None:
    one = tap(rows_max=1000)
    times = told(one)
    observe(one, 500)
    assert times == []
    observe(one, 1)
    assert times == [501]


def test_rows_that_were_packed_are_taken_by_themselves() -> None:
    one = tap()
    for name in (None, None, "id", None):
        observe(one, 1, name=name)
    assert len(one.take_packed(2)) == 2
    assert len(one.take_packed(2)) == 1
    assert one.take_packed(2) == []
    assert one.rows_waiting == 1


def test_a_piece_ends_with_the_request_that_fills_it() -> None:
    one = tap()
    for _ in range(5):
        observe(one, 100)
    assert [len(take(one, 10, 150)), len(take(one, 2)), len(take(one))] == [2, 2, 1]


def test_an_image_beside_a_counted_input_is_not_kept() -> None:
    one = tap(tensors=Tensors.of([X, IMAGE], [Y]))
    x, image = np.ones((1, 3), np.float32), np.zeros((1, 3, 64, 64), np.float32)
    one.observe(asked({"x": x, "image": image}), [np.ones((1, 1), np.float32)])
    ((request, _),) = take(one)
    assert set(request.inputs) == {"x"}
    assert not np.shares_memory(request.inputs["x"], x)


def test_rows_of_many_requests_become_one_block() -> None:
    one = tap()
    for value in range(4):
        observe(one, 1, value)
    (block,) = blocks(take(one), BOTH, lambda count: count - 1)
    assert block is not None
    assert block.inputs["x"][:, 0].tolist() == [0, 1, 2, 3]
    assert block.outputs["y"][:, 0].tolist() == [0, 1, 2, 3]
    assert block.test is None


def test_at_most_one_row_of_each_request_is_for_tests() -> None:
    one = tap()
    for rows in (1, 4, 0, 3):
        observe(one, rows)
    (block,) = blocks(take(one), BOTH, lambda count: count - 1)
    assert block is not None
    assert block.rows == 8
    assert block.test is not None
    assert block.test.tolist() == [0, 4, 7]


def test_requests_for_different_outputs_are_counted_apart() -> None:
    one = tap()
    observe(one, 1)
    one.observe(asked({"x": np.ones((1, 3), np.float32)}, (), "id"), [])
    both, none = blocks(take(one), BOTH, lambda _count: 0)
    assert both is not None
    assert none is not None
    assert set(both.outputs) == {"y"}
    assert set(none.outputs) == set()


@pytest.mark.parametrize("shape", [(2, 3), (1, 4)])
def test_a_request_of_another_shape_spoils_no_other(shape: tuple[int, int]) -> None:
    one = tap()
    observe(one, 1)
    request = asked({"x": np.ones((1, 3), np.float32)})
    odd = {"x": np.ones(shape, np.float32)}
    one.observe(type(request)(id="odd", inputs=odd, outputs=request.outputs, rows=1), [np.ones((1, 1), np.float32)])
    observe(one, 1)
    found = list(blocks(take(one), BOTH, lambda _count: 0))
    assert [block is None for block in found] == [False, True, False]


def test_plain_requests_of_one_row_become_the_same_block() -> None:
    one = tap()
    for value in range(4):
        observe(one, 1, value, name=None)
    packed, answered = one.take(100, 100)
    assert answered == []
    assert one.packing is not None
    block = one.packing.block(packed)
    assert block.inputs["x"].tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]
    assert block.outputs["y"].tolist() == [[0], [1], [2], [3]]
    assert (block.rows, block.test) == (4, None)


def test_a_row_of_another_length_is_kept_whole() -> None:
    one = tap()
    observe(one, 1, name=None)
    request = asked({"x": np.ones((1, 3), np.float32)})
    one.observe(request, [np.ones((1, 2), np.float32)])
    observe(one, 1, name=None)
    packed, answered = one.take(100, 100)
    assert (len(packed), [outputs[0].shape for _, outputs in answered]) == (2, [(1, 2)])


@pytest.mark.parametrize(
    ("shape", "packs"),
    [((-1,), True), ((-1, 2), True), ((), True), ((-1, 3), False)],
    ids=["one", "two", "any", "wrong"],
)
def test_outputs_are_packed_where_they_are_as_the_model_says(shape: tuple[int, ...], *, packs: bool) -> None:
    size = shape[-1] if len(shape) > 1 and packs else 1
    other = TensorSpec(name="z", datatype="INT64", shape=shape)
    one = tap(tensors=Tensors.of([X], [Y, other]))
    for value in range(3):
        x = np.full((1, 3), value, np.float32)
        outputs: list[Array] = [x[:, :1], np.full((1, size), value, np.int64)]
        one.observe(asked({"x": x}, ("y", "z")), outputs)
    packed, answered = one.take(100, 100)
    assert (len(packed), len(answered)) == ((3, 0) if packs else (0, 3))
    if packs:
        assert one.packing is not None
        block = one.packing.block(packed)
        assert block.outputs["z"].tolist() == [[value] * size for value in range(3)]
        assert block.outputs["y"].tolist() == [[value] for value in range(3)]


def test_packed_rows_that_find_no_room_are_kept_whole_and_then_dropped() -> None:
    one = tap(rows_max=4)
    for value in range(10):
        observe(one, 1, value, name=None)
    packed, answered = one.take(100, 100)
    assert (len(packed), len(answered), one.dropped_rows) == (4, 4, 2)


def test_rows_of_several_inputs_are_packed_in_the_order_of_the_model() -> None:
    count = TensorSpec(name="n", datatype="INT64", shape=(-1,))
    one = tap(tensors=Tensors.of([X, count], [Y]))
    for value in range(3):
        n, x = np.full((1,), 10 * value, np.int64), np.full((1, 3), value, np.float32)
        one.observe(asked({"n": n, "x": x}), [x[:, :1]])
    packed, _ = one.take(100, 100)
    assert one.packing is not None
    block = one.packing.block(packed)
    assert block.inputs["n"].tolist() == [[0], [10], [20]]
    assert block.inputs["x"].tolist() == [[0] * 3, [1] * 3, [2] * 3]
    assert block.outputs["y"].tolist() == [[0], [1], [2]]


def test_a_row_that_does_not_lie_in_one_piece_is_kept_whole() -> None:
    one = tap()
    x = np.arange(6, dtype=np.float32).reshape(1, 6)[:, ::2]
    one.observe(asked({"x": x}), [np.ones((1, 1), np.float32)])
    packed, answered = one.take(100, 100)
    assert (packed, [request.inputs["x"].tolist() for request, _ in answered]) == ([], [[[0, 2, 4]]])


def test_texts_are_never_packed() -> None:
    words = TensorSpec(name="w", datatype="BYTES", shape=(-1, 1))
    one = tap(tensors=Tensors.of([words], []))
    one.observe(asked({"w": np.array([["a"]], dtype=object)}, ()), [])
    ((request, _),) = take(one)
    assert request.inputs["w"][0, 0] == "a"


WORD = TensorSpec(name="word", datatype="BYTES", shape=(-1, 1))
OPEN = TensorSpec(name="open", datatype="FP32", shape=(-1, -1))


def test_texts_wait_by_their_length_and_not_by_their_rows() -> None:
    one = tap(tensors=Tensors.of([WORD], [Y]))
    text = np.array([["a" * 3_000_000]], np.object_)
    for _ in range(20):
        one.observe(asked({"word": text}, name="id"), [np.zeros((1, 1), np.float32)])
    assert one.dropped_rows == 15
    assert len(take(one)) == 5
    one.observe(asked({"word": text}, name="id"), [np.zeros((1, 1), np.float32)])
    assert len(take(one)) == 1


def test_outputs_of_a_width_that_nobody_knows_wait_by_their_size() -> None:
    one = tap(tensors=Tensors.of([X], [OPEN]))
    wide = np.zeros((1, 1_000_000), np.float32)
    for _ in range(20):
        one.observe(asked({"x": np.zeros((1, 3), np.float32)}, outputs=["open"], name="id"), [wide])
    assert len(take(one)) == 4
    assert one.dropped_rows == 16


def test_so_do_those_that_wait_as_bytes() -> None:
    one = tap(tensors=Tensors.of([X], [OPEN]))
    wide = np.zeros((1, 60_000), np.float32)
    for _ in range(200):
        one.observe(asked({"x": np.zeros((1, 3), np.float32)}, outputs=["open"]), [wide])
    packed, whole = one.take(1000, 10_000)
    assert len(packed) == (16 << 20) // (60_003 * 4)
    assert len(packed) + len(whole) + one.dropped_rows == 200
    assert len(whole) == len(packed)
