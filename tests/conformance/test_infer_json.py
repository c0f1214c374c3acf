"""Inference in JSON: every datatype, shapes, and numbers that arrive as they were sent."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from tests.conformance.exchange import Target
from tests.conformance.values import DATATYPES

Served = Callable[[str], Target]
DATATYPE = pytest.mark.parametrize("datatype", DATATYPES)
#: The protocol's authors call half precision in JSON problematic; a server may ask for binary data instead.
MAY_REFUSE_JSON = {"FP16"}


def request(datatype: str, shape: list[int], data: Any, name: str = "x") -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


def identity(served: Served, datatype: str) -> Target:
    return served(f"identity_{datatype.lower()}")


def output(target: Target, message: dict[str, Any], datatype: str) -> dict[str, Any]:
    """The only output, where the server takes the datatype in JSON at all."""
    reply = target.infer(message)
    if datatype in MAY_REFUSE_JSON and reply.status == 400:
        assert "binary" in reply.error(400)
        pytest.skip(f"this server takes {datatype} as binary data only")
    [only] = reply.answer()["outputs"]
    assert isinstance(only, dict)
    return only


@DATATYPE
def test_flat_data_comes_back_as_it_was_sent(served: Served, datatype: str) -> None:
    values = list(DATATYPES[datatype].values)
    found = output(identity(served, datatype), request(datatype, [2, 2], values), datatype)
    assert (found["name"], found["datatype"], found["shape"]) == ("y", datatype, [2, 2])
    assert found["data"] == values
    assert [type(one) for one in found["data"]] == [type(one) for one in values]


@DATATYPE
def test_nested_data_is_the_same_as_flat_data(served: Served, datatype: str) -> None:
    a, b, c, d = DATATYPES[datatype].values
    found = output(identity(served, datatype), request(datatype, [2, 2], [[a, b], [c, d]]), datatype)
    assert found["data"] == [a, b, c, d]


@DATATYPE
def test_a_batch_of_no_rows_has_an_answer_of_no_rows(served: Served, datatype: str) -> None:
    found = output(identity(served, datatype), request(datatype, [0, 2], []), datatype)
    assert (found["shape"], found["data"]) == ([0, 2], [])


@DATATYPE
def test_the_least_and_the_greatest_value_survive(served: Served, datatype: str) -> None:
    extremes = list(DATATYPES[datatype].extremes)
    found = output(identity(served, datatype), request(datatype, [1, 2], extremes), datatype)
    wanted = DATATYPES[datatype]
    # Compared in the datatype: which of its many spellings a fraction gets is the server's choice.
    assert wanted.encode(found["data"]) == wanted.encode(extremes)


@DATATYPE
def test_many_rows_come_back_in_order(served: Served, datatype: str) -> None:
    values = list(DATATYPES[datatype].values) * 100
    found = output(identity(served, datatype), request(datatype, [200, 2], values), datatype)
    assert (found["shape"], found["data"]) == ([200, 2], values)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [pytest.param(name, value, id=f"{name} {value!r}") for name, one in DATATYPES.items() for value in one.refused],
)
def test_a_value_that_would_change_is_refused(served: Served, datatype: str, value: Any) -> None:
    good = DATATYPES[datatype].values[0]
    identity(served, datatype).infer(request(datatype, [1, 2], [good, value])).error(400)


@DATATYPE
@pytest.mark.parametrize("value", [{"a": 1}, None], ids=["an object", "null"])
def test_an_element_that_is_no_value_is_refused(served: Served, datatype: str, value: Any) -> None:
    good = DATATYPES[datatype].values[0]
    identity(served, datatype).infer(request(datatype, [1, 2], [good, value])).error(400)


@DATATYPE
def test_another_datatype_than_the_models_is_refused(served: Served, datatype: str) -> None:
    other = "FP32" if datatype != "FP32" else "INT64"
    message = identity(served, datatype).infer(request(other, [1, 2], [1, 1])).error(400)
    assert datatype in message


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_what_json_cannot_say_is_refused_and_never_changed(served: Served, datatype: str, text: str) -> None:
    body = f'{{"inputs":[{{"name":"x","shape":[1,2],"datatype":"{datatype}","data":[{text}, 1]}}]}}'
    reply = identity(served, datatype).infer(body.encode())
    if reply.status == 200:
        kept = reply.json()["outputs"][0]["data"][0]
        assert kept is not None
        assert math.isnan(kept) if text == "NaN" else math.isinf(kept)
    else:
        reply.error(400)


@pytest.mark.parametrize(("text", "value"), [("1.0", 1), ("1e2", 100), ("-0", 0), ("127.0", 127)])
def test_a_whole_number_may_be_written_as_a_fraction(served: Served, text: str, value: int) -> None:
    body = f'{{"inputs":[{{"name":"x","shape":[1,2],"datatype":"INT8","data":[{text}, 0]}}]}}'
    reply = identity(served, "INT8").infer(body.encode())
    if reply.status == 200:
        assert reply.json()["outputs"][0]["data"] == [value, 0]
    else:
        reply.error(400)


def test_integers_are_taken_for_fractions(served: Served) -> None:
    found = output(identity(served, "FP32"), request("FP32", [1, 2], [1, 2**24]), "FP32")
    assert found["data"] == [1.0, 16777216.0]


@pytest.mark.parametrize("value", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_large_integers_lose_no_digit(served: Served, value: int) -> None:
    found = output(identity(served, "INT64"), request("INT64", [1, 2], [value, 0]), "INT64")
    assert found["data"] == [value, 0]


def test_a_fraction_of_single_precision_comes_back_as_a_number_that_reads_the_same(served: Served) -> None:
    found = output(identity(served, "FP32"), request("FP32", [1, 2], [0.1, 1 / 3]), "FP32")
    assert DATATYPES["FP32"].encode(found["data"]) == DATATYPES["FP32"].encode([0.1, 1 / 3])


def test_negative_zero_stays_negative(served: Served) -> None:
    found = output(identity(served, "FP32"), request("FP32", [1, 2], [-0.0, 0.0]), "FP32")
    assert [math.copysign(1, one) for one in found["data"]] == [-1, 1]


@pytest.mark.parametrize("data", [[1.5], 1.5], ids=["in a list", "bare"])
def test_a_scalar_is_taken(served: Served, data: Any) -> None:
    target = served("scalar")
    reply = target.infer(request("FP32", [], data))
    if not isinstance(data, list) and reply.status == 400:
        return  # the specification only speaks of arrays
    [found] = reply.answer()["outputs"]
    assert found["shape"] == []
    assert found["data"] in ([1.5], 1.5)


def test_a_fixed_shape_is_taken(served: Served) -> None:
    [found] = served("fixed").infer(request("FP32", [2, 3], [1, 2, 3, 4, 5, 6])).answer()["outputs"]
    assert (found["shape"], found["data"]) == ([2, 3], [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6, 7, 8], [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]], ids=["flat", "deep"])
def test_three_dimensions_are_row_major(served: Served, data: Any) -> None:
    [found] = served("cube").infer(request("INT32", [2, 2, 2], data)).answer()["outputs"]
    assert (found["shape"], found["data"]) == ([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([1, 3], [1, 2, 3]),
        ([2], [1, 2]),
        ([1, 1, 2], [1, 2]),
        ([], [1]),
        ([1, 2], [1]),
        ([1, 2], [1, 2, 3]),
        ([1, 2], []),
        ([2, 2], [[1, 2], [3]]),
        ([2, 2], [[1, 2]]),
        ([2, 2], [[1, 2], 3, 4]),
        ([1, 2], [[[1, 2]]]),
        ([1, 2], [[1], [2]]),
        ([-1, 2], [1, 2]),
        ([1, -2], [1, 2]),
        ([1.5, 2], [1, 2]),
        (["1", 2], [1, 2]),
        ([True, 2], [1, 2]),
        ([None, 2], [1, 2]),
        ([[1], 2], [1, 2]),
        ([10**9, 2], [1, 2]),
        ([2**63, 2], [1, 2]),
        ([2**70, 2], [1, 2]),
        ([2**32, 2**32], []),
        ([1] * 100 + [2], [1, 2]),
        ("[1,2]", [1, 2]),
        (2, [1, 2]),
        (None, [1, 2]),
        ({"0": 1, "1": 2}, [1, 2]),
    ],
    ids=str,
)
def test_a_shape_that_does_not_fit_the_model_or_the_data_is_refused(fp32: Target, shape: Any, data: Any) -> None:
    assert "x" in fp32.infer(request("FP32", shape, data)).error(400)


@pytest.mark.parametrize(
    "value", ["", "\u0000", "\U0001f600", '"\\/\b\f\n\r\t', "x" * 100_000, "\uffff"], ids=lambda one: ascii(one[:12])
)
def test_text_comes_back_as_it_was_sent(served: Served, value: str) -> None:
    [found] = served("text").infer(request("BYTES", [1], [value])).answer()["outputs"]
    assert found["data"] == [value]


def test_a_lone_surrogate_is_no_text(served: Served) -> None:
    body = rb'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["\ud800"]}]}'
    reply = served("text").infer(body)
    reply.error(400)
