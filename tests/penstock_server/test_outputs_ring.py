"""Which answers to copied requests are kept, in which form, and that they are bounded."""

import uuid
from typing import Any

import numpy as np
import pytest
from tests.penstock_server.profile.conftest import asked

from penstock_contract.outputs import VALUES_MAX, Output, parse
from penstock_server.outputs_ring import OutputsRing
from penstock_server.protocol import Array

#: What anybody can find out who wants to.
PAIR_OF_HASH_ZERO = "vUicdN"


def note(ring: OutputsRing, pair: str, *outputs: Array, rows: int = 1, seconds: float = 0.001) -> None:
    names = [f"y{index}" for index in range(len(outputs))]
    request = asked({"x": np.zeros((rows, 1), np.float32)}, outputs=names)
    ring.note(pair, request, list(outputs), seconds)


def told(ring: OutputsRing, after: int = 0) -> list[str]:
    return [sample.pair for sample in ring.take(after).samples().samples]


def pairs(count: int) -> list[str]:
    return [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 & (1 << 128) - 1)) for number in range(count)]


@pytest.mark.parametrize(
    ("array", "labels", "scores"),
    [
        pytest.param(np.array([[0.25, 0.75]], np.float32), (), (0.25, 0.75), id="scores"),
        pytest.param(np.array([3.5]), (), (3.5,), id="a number"),
        pytest.param(np.array([[np.nan, np.inf, 1.0]]), (), (None, None, 1.0), id="not finite"),
        pytest.param(np.array([7], np.int64), ("7",), (), id="a class"),
        pytest.param(np.array([True]), ("1",), (), id="a truth value"),
        pytest.param(np.arange(1000.0).reshape(1, 1000), ("999",), (999.0,), id="too many scores"),
    ],
)
def test_outputs_are_told_as_labels_or_scores(array: Array, labels: tuple[str, ...], scores: tuple[Any, ...]) -> None:
    ring = OutputsRing()
    note(ring, "p", array)
    (sample,) = parse(ring.take(0).body()).samples
    assert sample.outputs == (Output(name="y0", labels=labels, scores=scores),)
    assert sample.seconds == 0.001


def test_texts_are_told_by_their_digests() -> None:
    ring = OutputsRing()
    for pair, text in (("p", "Alice"), ("q", b"Alice"), ("r", "Bob")):
        note(ring, pair, np.array([[text]], object))
    digests = [sample.outputs[0].labels for sample in ring.take(0).samples().samples]
    assert digests[0] == digests[1] != digests[2]
    assert b"Alice" not in ring.take(0).body()


def test_no_more_values_are_kept_than_the_other_side_reads() -> None:
    ring = OutputsRing()
    note(ring, "p", np.zeros((1, 60)), np.zeros((1, 10)), np.zeros((1, 4)), np.zeros((1, 1)), np.zeros((1, 500)))
    (sample,) = parse(ring.take(0).body()).samples
    assert [output.name for output in sample.outputs] == ["y0", "y2"]
    assert sum(len(output.scores) for output in sample.outputs) == VALUES_MAX


def test_of_many_rows_both_sides_tell_the_same_one_and_not_always_the_first() -> None:
    stable, shadow = OutputsRing(), OutputsRing()
    for pair in pairs(20):
        for ring in (stable, shadow):
            note(ring, pair, np.arange(8.0).reshape(8, 1), rows=8)
    rows = [[sample.outputs[0].scores for sample in ring.take(0).samples().samples] for ring in (stable, shadow)]
    assert rows[0] == rows[1]
    assert len(set(rows[0])) > 3


def test_what_was_read_is_not_told_again() -> None:
    ring = OutputsRing()
    note(ring, "p", np.zeros(1))
    first = ring.take(0)
    note(ring, "q", np.zeros(1))
    assert told(ring, first.seq) == ["q"]
    assert told(ring, first.seq) == ["q"]
    assert told(ring, first.seq + 1) == []


def test_answers_are_bounded_and_both_sides_keep_the_same_ones() -> None:
    busy, quiet = OutputsRing(kept_max=100), OutputsRing(kept_max=100)
    names = pairs(5000)
    for index, pair in enumerate(names):
        note(busy, pair, np.zeros(1))
        if index % 5 == 0:  # one of five pods of a revision
            note(quiet, pair, np.zeros(1))
    kept, fewer = set(told(busy)), told(quiet)
    assert 40 <= len(kept) <= 100
    assert 40 <= len(fewer) <= 100
    # What the busy one keeps of the quiet one's requests, the quiet one keeps too.
    assert kept & set(names[::5]) <= set(fewer)
    assert len(kept & set(fewer)) >= 5


def test_when_there_is_room_again_more_is_kept() -> None:
    ring = OutputsRing(kept_max=100)
    for pair in pairs(5000):
        note(ring, pair, np.zeros(1))
    assert ring.take(0).share < 0.05
    seq = ring.take(0).seq
    for _ in range(20):
        ring.take(seq)
    assert ring.take(seq).share == 1.0


@pytest.mark.parametrize("rows", [0, 3])
def test_an_output_that_does_not_count_rows_is_left_out(rows: int) -> None:
    ring = OutputsRing()
    note(ring, "p", np.zeros((2, 2)), rows=rows)
    assert told(ring) == []


def test_a_pair_that_is_none_of_ours_is_not_kept() -> None:
    ring = OutputsRing()
    note(ring, "p" * 65, np.zeros(1))
    note(ring, "\udcff", np.zeros(1))
    assert told(ring) == []


def test_who_sends_pairs_of_the_smallest_hash_does_not_make_it_blind_for_ever() -> None:
    ring = OutputsRing(kept_max=100)
    for _ in range(300):
        note(ring, PAIR_OF_HASH_ZERO, np.zeros(1))
    assert len(told(ring)) == 100
    seq = ring.take(0).seq
    for _ in range(40):
        ring.take(seq)
    note(ring, "p", np.zeros(1))
    assert told(ring, seq) == ["p"]


def test_a_reader_of_a_sample_that_has_never_been_takes_nothing_away() -> None:
    ring = OutputsRing()
    note(ring, "p", np.zeros(1))
    assert told(ring, 10**17) == ["p"]
