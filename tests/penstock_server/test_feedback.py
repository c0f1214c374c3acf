"""Labels meet the predictions that they belong to, each once, for a while, and without keeping anything else."""

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_contract.counts import Counts
from penstock_contract.feedback import OTHER
from penstock_contract.profile import Profile
from penstock_server.feedback import TTL_SECONDS, BadFeedback, Feedback, Label, decode
from penstock_server.join_table import JoinTable
from penstock_server.profile.rows import Answered
from penstock_server.protocol import Array, InferRequest, RequestedOutput, TensorSpec

NUMBER = TensorSpec(name="y", datatype="FP32", shape=(-1, 1))
SCORES = TensorSpec(name="p", datatype="FP32", shape=(-1, 3))
CLASS = TensorSpec(name="label", datatype="INT64", shape=(-1,))
WORD = TensorSpec(name="word", datatype="BYTES", shape=(-1,))


def answered(name: str | None, **outputs: Any) -> Answered:
    arrays: list[Array] = [
        np.array(value, dtype=object if output == "word" else None) for output, value in outputs.items()
    ]
    request = InferRequest(
        id=name, inputs={}, outputs=tuple(RequestedOutput(name=output) for output in outputs), rows=len(arrays[0])
    )
    return request, arrays


def take(feedback: Feedback, *labels: dict[str, Any], now: float = 10.0) -> dict[str, Any]:
    return feedback.take(decode(json.dumps(list(labels)).encode()), now)


def label(name: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"requestId": name, "label": value, **more}


def test_a_number_is_judged_by_its_error() -> None:
    feedback = Feedback([NUMBER])
    feedback.remember([answered("a", y=[[2.0]]), answered("b", y=[[5.0]])], now=1)
    told = take(feedback, label("a", 3), label("b", 4.5), now=4)
    assert told["matched"] == 2
    counts = feedback.counts
    assert (counts.error, counts.absolute_error, counts.squared_error) == (-0.5, 1.5, 1.25)
    assert counts.lag_milliseconds == 6000


@pytest.mark.parametrize(
    ("spec", "value", "true", "confusion"),
    [
        (SCORES, [[0.1, 0.2, 0.7]], 2, {"2": {"2": 1}}),
        (SCORES, [[0.1, 0.2, 0.7]], "1", {"2": {"1": 1}}),
        (SCORES, [[0.1, 0.2, 0.7]], "dog", {"2": {OTHER: 1}}),
        (CLASS, [4], 4.0, {"4": {"4": 1}}),
        (CLASS, [4], True, {"4": {"1": 1}}),
        (WORD, ["cat"], "dog", {"cat": {"dog": 1}}),
        (WORD, [b"cat"], "cat", {"cat": {"cat": 1}}),
    ],
)
def test_a_class_is_judged_by_what_it_was_taken_for(
    spec: TensorSpec, value: Any, true: Any, confusion: dict[str, Any]
) -> None:
    feedback = Feedback([spec])
    feedback.remember([answered("a", **{spec.name: value})], now=1)
    take(feedback, label("a", true))
    assert feedback.counts.confusion == confusion


def test_classes_are_named_as_the_profile_names_them() -> None:
    profile = Profile(columns=(), counts=Counts(rows=0, test_rows=0, columns=()), classes=("ant", "bee", "cow"))
    feedback = Feedback([SCORES], profile)
    feedback.remember([answered("a", p=[[0.1, 0.8, 0.1]])], now=1)
    take(feedback, label("a", "cow"))
    assert feedback.counts.confusion == {"bee": {"cow": 1}}


def test_the_class_is_preferred_to_its_scores() -> None:
    feedback = Feedback([SCORES, CLASS])
    feedback.remember([answered("a", p=[[0.1, 0.8, 0.1]], label=[7])], now=1)
    take(feedback, label("a", 7))
    assert feedback.counts.confusion == {"7": {"7": 1}}


def test_each_row_of_a_request_has_its_label() -> None:
    feedback = Feedback([CLASS])
    feedback.remember([answered("a", label=[1, 2, 3])], now=1)
    told = take(feedback, label("a", [1, 2, 2, 9]))
    assert (told["matched"], told["unmatched"]) == (3, 1)
    assert feedback.counts.confusion == {"1": {"1": 1}, "2": {"2": 1}, "3": {"2": 1}}


def test_every_outcome_is_told_and_counted() -> None:
    feedback = Feedback([NUMBER])
    feedback.remember([answered("a", y=[[2.0]]), answered("b", y=[[2.0]]), answered(None, y=[[2.0]])], now=1)
    told = take(feedback, label("a", 1), label("a", 1), label("b", "x"), label("z", 1))
    assert told == {"matched": 1, "duplicate": 1, "invalid": 1, "unmatched": 1, "late": 0, "unmatchedIds": ["z"]}
    assert take(feedback, label("b", 1), now=TTL_SECONDS + 2)["late"] == 1
    assert (feedback.counts.matched, feedback.counts.late) == (1, 1)


def test_an_output_that_was_not_asked_for_cannot_be_judged() -> None:
    feedback = Feedback([CLASS, NUMBER])
    feedback.remember([answered("a", y=[[2.0]])], now=1)
    assert take(feedback, label("a", 1))["unmatched"] == 1


def test_strangers_cannot_make_up_more_classes_than_are_kept() -> None:
    feedback = Feedback([WORD])
    for number in range(200):
        feedback.remember([answered(str(number), word=["cat"])], now=1)
        take(feedback, label(str(number), f"made up {number}"))
    assert len(feedback.counts.confusion["cat"]) <= 65
    assert feedback.counts.confusion["cat"][OTHER] == 200 - 63


def test_values_that_would_poison_sums_are_cut_or_refused() -> None:
    feedback = Feedback([NUMBER])
    feedback.remember([answered("a", y=[[3e38]]), answered("b", y=[[1.0]])], now=1)
    take(feedback, label("a", -1e308))
    assert np.isfinite(feedback.counts.squared_error)
    nan = [{"requestId": "b", "label": float("nan")}]
    assert feedback.take(decode(json.dumps(nan).encode()), 2)["invalid"] == 1


@pytest.mark.parametrize("spec", [NUMBER, CLASS])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_label_of_hundreds_of_digits_is_no_label(spec: TensorSpec, sign: int) -> None:
    feedback = Feedback([spec])
    feedback.remember([answered("a", **{spec.name: [[1]] if spec is NUMBER else [1]})], now=1)
    assert take(feedback, label("a", sign * 10**400))["invalid"] == 1
    assert take(feedback, label("a", 1))["matched"] == 1


def test_a_class_with_a_very_long_name_is_counted_among_the_others() -> None:
    feedback = Feedback([WORD])
    feedback.remember([answered("a", word=["cat"])], now=1)
    take(feedback, label("a", "c" * 1000))
    assert feedback.counts.confusion == {"cat": {OTHER: 1}}


def test_thousands_of_labels_do_not_each_copy_what_was_counted_before() -> None:
    feedback = Feedback([CLASS])
    rows = 5000
    for place in range(rows):
        feedback.remember([answered(str(place), label=[place % 60])], now=1)
    labels = [Label(request_id=str(place), values=(place // 60 % 60,), ts=None) for place in range(rows)]
    began = time.process_time()
    assert feedback.take(labels, 2)["matched"] == rows
    # Copying the table of 60 by 60 each time took a millisecond for each label.
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", r"\[0\] must be an object"),
        (b'{"label": 1}', "'requestId' must be the id"),
        (b'{"requestId": 5, "label": 1}', "'requestId' must be the id"),
        (b'{"requestId": "a"}', "'label' must be a number"),
        (b'{"requestId": "a", "label": []}', "'label' must be a number"),
        (b'{"requestId": "a", "label": {"x": 1}}', "'label' must be a number"),
        (b'{"requestId": "a", "label": 1, "ts": "noon"}', "'ts' must be the time"),
        (b'{"requestId": "a", "label": 1, "ts": 1%s}' % (b"0" * 400), "'ts' must be the time"),
        (b'{"requestId": "a", "label": [%s0]}' % (b"0," * 50_000), "labels of 50001 rows in one body; send at most"),
        (json.dumps([{"requestId": "a", "label": 1}] * 10_001).encode(), "send at most 10000"),
    ],
)
def test_what_is_no_label_is_refused_with_the_reason(body: bytes, says: str) -> None:
    with pytest.raises(BadFeedback, match=says):
        decode(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["requestId", "label", "ts", "x"]), inner),
)


@settings(deadline=None)
@given(JSON | st.binary().map(lambda octets: octets.decode("latin-1")))
def test_whatever_a_stranger_sends_is_counted_or_refused(message: Any) -> None:
    feedback = Feedback([CLASS, NUMBER])
    feedback.remember([answered("a", label=[1])], now=1)
    try:
        labels = decode(json.dumps(message).encode())
    except BadFeedback:
        return
    told = feedback.take(labels, 2)
    assert sum(told[outcome] for outcome in ("matched", "unmatched", "late", "duplicate", "invalid")) == sum(
        len(label.values) for label in labels
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)), max_size=60), st.integers(1, 20))
def test_a_table_with_room_remembers_the_last_value_of_each_key(puts: list[tuple[int, int]], batch: int) -> None:
    table = JoinTable(4096)
    for start in range(0, len(puts), batch):
        part = puts[start : start + batch]
        table.put(np.array([key for key, _ in part], np.uint64), np.array([value for _, value in part], float), 1)
    expected = dict(puts)
    for key in range(1, 51):
        found = table.find(key)
        assert (None if found is None else found.value) == expected.get(key)


def test_a_full_table_forgets_the_oldest() -> None:
    table = JoinTable(8)
    for key in range(1, 21):
        table.put(np.array([key], np.uint64), np.array([float(key)]), now=key)
    assert [key for key in range(1, 21) if table.find(key)] == list(range(13, 21))
