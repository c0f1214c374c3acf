"""Counts in a row say what the contract's own reader says, and refuse what it refuses, and what cannot be besides."""

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tests.fakes.counting_pods import CountingPod, Values, profile_of
from tests.penstock_contract.damage import damaged

from penstock_contract import counts as contract
from penstock_contract.counts import InvalidCounts, ProfileMismatch
from penstock_contract.profile import layout_of
from penstock_operator.core.drift.live.flat import Shape, unprofiled
from penstock_operator.core.drift.tally import Frame, Tallies


def rows(rng: np.random.Generator, count: int) -> Values:
    amount = np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count))
    return {
        "amount": amount,
        "age": np.round(rng.normal(size=count) * 10),
        "kind": rng.integers(0, 5, count),
        "constant": np.full(count, 3.0),
        "score": 1 / (1 + np.exp(-rng.normal(size=count))),
        "risk": rng.random(count),
    }


RNG = np.random.default_rng(3)
PROFILE = profile_of(rows(RNG, 3000), ("score", "risk"))
SHAPE = Shape(PROFILE)


def said() -> dict[str, Any]:
    pod = CountingPod(PROFILE)
    pod.now = 7.0
    live = dict(rows(np.random.default_rng(4), 400))
    live["amount"][:3] = np.inf, -np.inf, 1e9
    live["kind"][:5] = 99
    pod.serve(live, test=np.arange(0, 400, 2))
    return pod.message()


def read(message: Any) -> Any:
    return SHAPE.decode(json.dumps(message).encode())


def test_a_row_of_numbers_is_what_the_contract_reads() -> None:
    message = said()
    flat, snapshot = read(message), contract.parse(json.dumps(message), layout_of(PROFILE.columns), PROFILE.hash)
    ours, theirs = SHAPE.tallies(flat.numbers), Tallies.of([snapshot.counts], Frame(columns=PROFILE.columns))
    for name in ("rows", "test_rows", "bins", "special", "quality", "sums", "output_sums", "cross", "cross_sums"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    assert (flat.rows, flat.test_rows) == (400, 200)
    assert (flat.boot_id, flat.seq, flat.first_ts, flat.requests) == (snapshot.boot_id, snapshot.seq, 7.0, 400)
    assert flat.feedback == snapshot.feedback


def test_a_pod_that_has_counted_nothing_says_so() -> None:
    flat = SHAPE.decode(CountingPod(PROFILE).body())
    assert not flat.numbers.any()
    assert flat.first_ts is None


def test_the_reference_itself_fits() -> None:
    message = said() | {"counts": PROFILE.counts.to_wire(layout_of(PROFILE.columns))}
    assert read(message).rows == 3000


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("schema",), "penstock.counts/v9", "not of schema"),
        (("counts",), None, "no counts"),
        (("counters",), [], "no counts"),
        (("seq",), "7", "'seq' must be a whole number"),
        (("seq",), -1, "'seq' must be a whole number"),
        (("firstTs",), "yesterday", "no time"),
        (("counters", "droppedRows"), 1.5, "droppedRows"),
        (("feedback",), {"matched": "many"}, "feedback"),
        (("counts", "rows"), None, "whole numbers"),
        (("counts", "rows"), 2**80, "whole numbers"),
        (("counts", "rows"), -1, "below 0"),
        (("counts", "testRows"), 401, "more test rows than rows"),
        (("counts", "testRows"), 100, "more values than there are test rows"),
        (("counts", "columns"), [], "columns are not those"),
        (("counts", "columns", 0, "name"), "inputs/other", "columns are not those"),
        (("counts", "columns", 0), 5, "columns are not those"),
        (("counts", "columns", 0, "bins"), [1, 2], "must be a list of"),
        (("counts", "columns", 0, "bins"), "many", "must be a list of"),
        (("counts", "columns", 0, "bins", 2), 0.5, "whole numbers"),
        (("counts", "columns", 0, "bins", 2), None, "whole numbers"),
        (("counts", "columns", 0, "bins", 2), [1], "whole numbers"),
        (("counts", "columns", 0, "bins", 2), -1, "below 0"),
        (("counts", "columns", 0, "bins", 2), 2**62, "beyond 2"),
        (("counts", "columns", 0, "outputSums"), [[1]], "outputSums"),
        (("counts", "columns", 0, "outputSums"), 3, "outputSums"),
        (("counts", "columns", 0, "quality"), [1], "quality"),
        (("counts", "columns", 0, "quality", "missing"), 401, "more wrong values than there are rows"),
        (("counts", "columns", 0, "sum"), 10**9, "larger than its rows allow"),
        (("counts", "columns", 0, "sumOfSquares"), -4, "below 0"),
        (("counts", "columns", 0, "missing"), 300, "more values than there are test rows"),
        (("counts", "cross", 0), 10**12, "cross moment"),
        (("counts", "crossSums"), [0], "crossSums"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(path: tuple[Any, ...], value: Any, words: str) -> None:
    message = copy.deepcopy(said())
    inside = message
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    with pytest.raises(InvalidCounts, match=words):
        read(message)


@settings(max_examples=300, deadline=None)
@given(damaged(said()))
def test_a_damaged_message_is_read_or_refused_and_nothing_else(message: Any) -> None:
    try:
        flat = read(message)
    except (InvalidCounts, ProfileMismatch):
        return
    assert flat.numbers.shape == (SHAPE.size,)
    assert (SHAPE.tallies(flat.numbers).bins >= 0).all()


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"schema": 1}'])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidCounts):
        SHAPE.decode(body)


def test_counts_against_another_profile_are_told_apart_from_nonsense() -> None:
    with pytest.raises(ProfileMismatch, match="it counted against sha256:0"):
        read(said() | {"profileHash": "sha256:0"})
    with pytest.raises(ProfileMismatch, match="no such file"):
        read(said() | {"profileHash": None, "profileError": "no such file"})


def test_a_pod_says_why_it_counts_against_no_profile() -> None:
    assert unprofiled(CountingPod(PROFILE).body()) is None
    assert unprofiled(CountingPod(None).body()) == ""
    assert unprofiled(CountingPod(None, error="too large").body()) == "too large"
    assert unprofiled(b"{") == "its counts are not JSON"
