"""Counts of pods add up to the counts of one process, whichever way rows, restarts and scrapes fall."""

import contextlib
import itertools
import json
from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.penstock_contract.damage import damaged

from penstock_contract.counts import (
    SCHEMA,
    ColumnCounts,
    Counts,
    InvalidCounts,
    Layout,
    ProfileMismatch,
    Quality,
    Snapshot,
    parse,
    since,
    total,
)
from penstock_contract.profile import layout_of
from penstock_contract.profile import parse as parse_profile

LAYOUT = Layout(names=("inputs/a", "outputs/y"), bins=(3, 2), inputs=(True, False), contributing=1, crossed=2)
HASH = "sha256:1"
NUMBER = st.integers(-(2**62), 2**62)


def numbers(length: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[NUMBER] * length)


def a_column(bins: int, contributing: int) -> st.SearchStrategy[ColumnCounts]:
    return st.builds(
        ColumnCounts,
        bins=numbers(bins),
        missing=NUMBER,
        negative_infinity=NUMBER,
        positive_infinity=NUMBER,
        sum=NUMBER,
        sum_of_squares=NUMBER,
        output_sums=st.tuples(*[numbers(bins)] * contributing),
        quality=st.builds(
            Quality, missing=NUMBER, negative_infinity=NUMBER, positive_infinity=NUMBER, below=NUMBER, above=NUMBER,
            unseen=NUMBER,
        ),
    )  # fmt: skip


COUNTS = st.builds(
    Counts,
    rows=NUMBER,
    test_rows=NUMBER,
    columns=st.tuples(a_column(3, 1), a_column(2, 0)),
    cross=numbers(3),
    cross_sums=numbers(2),
)


def snapshot(counts: Counts, *, boot: str = "b", seq: int = 1) -> Snapshot:
    return Snapshot(boot_id=boot, seq=seq, model_version="3", profile_hash=HASH, counts=counts)


def message(of: Counts, **changes: object) -> str:
    fields = {
        "schema": SCHEMA, "modelVersion": "3", "profileHash": HASH, "profileError": None, "bootId": "b", "seq": 4,
        "firstTs": 1.5, "lastTs": 2.5, "counters": {"requests": 5, "droppedRows": 1, "errors": {"400": 2}},
        "counts": of.to_wire(LAYOUT),
    }  # fmt: skip
    return json.dumps(fields | changes)


@settings(deadline=None)
@given(COUNTS)
def test_counts_survive_the_wire(counts: Counts) -> None:
    read = parse(message(counts), LAYOUT, HASH)
    assert read.counts == counts
    assert (read.boot_id, read.seq, read.requests, read.dropped_rows) == ("b", 4, 5, 1)
    assert (read.errors, read.first_ts, read.last_ts) == ({"400": 2}, 1.5, 2.5)


@settings(deadline=None)
@given(COUNTS, COUNTS, COUNTS)
def test_addition_is_associative_and_commutative_and_has_a_zero(a: Counts, b: Counts, c: Counts) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Counts.zero(LAYOUT) == a
    assert (a + b) - b == a
    assert total([a, b, c], LAYOUT) == a + b + c


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(COUNTS, min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_scrapes_that_are_missed_or_repeated_change_no_sum(lives: list[list[Counts]], scraped: list[bool]) -> None:
    """Each life of a pod is a list of increments; some snapshots are never read, and every read one is read twice."""
    seen: Snapshot | None = None
    taken: list[Counts] = []
    lottery = itertools.chain(scraped, itertools.cycle([True]))
    for number, increments in enumerate(lives):
        counts = Counts.zero(LAYOUT)
        for seq, increment in enumerate(increments, 1):
            counts += increment
            now = snapshot(counts, boot=str(number), seq=seq)
            if next(lottery) or seq == len(increments):  # the last one of a life is its final flush
                for _ in range(2):
                    new = since(seen, now)
                    taken += [new] if new is not None else []
                    seen = now
    assert total(taken, LAYOUT) == total(itertools.chain(*lives), LAYOUT)


def test_a_snapshot_that_was_overtaken_tells_nothing() -> None:
    zero = Counts.zero(LAYOUT)
    assert since(snapshot(zero, seq=5), snapshot(zero, seq=4)) is None
    assert since(snapshot(zero, seq=5), snapshot(zero, seq=5)) is None
    assert since(None, snapshot(zero)) == zero


def test_counts_against_another_profile_are_refused() -> None:
    zero = Counts.zero(LAYOUT)
    with pytest.raises(ProfileMismatch, match="it counted against sha256:2; the profile here is sha256:1"):
        parse(message(zero, profileHash="sha256:2"), LAYOUT, HASH)
    with pytest.raises(ProfileMismatch, match=r"/models/profile\.json: it is not JSON"):
        parse(message(zero, profileHash=None, profileError="/models/profile.json: it is not JSON"), LAYOUT, HASH)
    with pytest.raises(ProfileMismatch):
        since(snapshot(zero), replace(snapshot(zero, seq=2), profile_hash="sha256:2"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not of schema"),
        ('{"schema": "penstock.counts/v9"}', "not of schema"),
        (message(Counts.zero(LAYOUT), counts=None), "no counts"),
        (message(Counts.zero(LAYOUT), counts={"columns": []}), "columns are not those of the profile"),
        (message(Counts.zero(LAYOUT), seq=1.5), "'seq' must hold whole numbers"),
        (
            message(
                Counts.zero(LAYOUT),
                counts={
                    "rows": 1,
                    "testRows": 1,
                    "columns": [{"name": "inputs/a", "bins": [1, 2]}, {"name": "outputs/y"}],
                },
            ),
            "'inputs/a' must be a list of 3 whole numbers",
        ),
    ],
)
def test_what_is_no_snapshot_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(InvalidCounts, match=says):
        parse(text, LAYOUT, HASH)


def test_what_pods_of_version_1_tell_is_still_read() -> None:
    golden = resources.files("penstock_contract") / "golden" / "v1"
    profile = parse_profile((golden / "profile.json").read_text(encoding="utf-8"))
    got = parse((golden / "counts.json").read_text(encoding="utf-8"), layout_of(profile.columns), profile.hash)
    assert got.counts == profile.counts
    assert (got.seq, got.requests, got.dropped_rows, got.errors) == (7, 9, 1, {"400": 2})
    assert (got.first_ts, got.last_ts) == (1763700000.25, 1763703600.5)
    assert got.feedback.confusion == {"bad": {"good": 1}, "good": {"good": 2}}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_snapshot_is_refused_or_read_but_breaks_nothing(data: st.DataObject) -> None:
    counts = data.draw(COUNTS)
    text = json.dumps(data.draw(damaged(json.loads(message(counts, feedback={"confusion": {"a": {"b": 1}}})))))
    with contextlib.suppress(InvalidCounts, ProfileMismatch):
        assert (parse(text, LAYOUT, HASH).counts - counts).to_wire(LAYOUT)
