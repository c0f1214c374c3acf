"""Rows are counted by an input while somebody asks: each once, in bounded memory, and nothing where nobody does."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.counting_pods import profile_of
from tests.penstock_server.profile.conftest import asked, quiet

from penstock_contract.counts import Counts
from penstock_contract.profile import Profile, layout_of, parse
from penstock_contract.segments import OTHER, VALUES_MAX, Segmentation
from penstock_server.profile import segments as segments_module
from penstock_server.profile.binding import without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.counting import Counter
from penstock_server.profile.live import LiveProfile
from penstock_server.profile.reference import Reference
from penstock_server.profile.rows import Block
from penstock_server.profile.segments import Segments
from penstock_server.profile.table import Table, UnusableData
from penstock_server.protocol import TensorSpec

RNG = np.random.default_rng(5)
COUNTRIES = np.array([b"de", b"at", b"ch", b"us"], dtype=object)
BY_COUNTRY = Segmentation(by="country", values=("de", "at"))


def values(count: int) -> dict[str, Any]:
    return {
        "country": RNG.choice(COUNTRIES, count),
        "channel": RNG.integers(0, 3, count),
        "amount": RNG.normal(size=count),
        "score": RNG.random(count),
    }


PROFILE: Profile = profile_of(values(2000))
LAYOUT = layout_of(PROFILE.columns)


def block(rows: dict[str, Any], test: list[int] | None = None) -> Block:
    upright = {name: array[:, np.newaxis] for name, array in rows.items()}
    return Block(
        rows=len(rows["amount"]),
        inputs={name: upright[name] for name in ("country", "channel", "amount")},
        outputs={"score": upright["score"]},
        test=None if test is None else np.array(test, dtype=np.intp),
    )


def told(segments: Segments, wanted: Segmentation = BY_COUNTRY) -> dict[str, Counts]:
    counts = segments.to_wire(wanted)[wanted.by]["counts"]
    return {value: Counts.from_wire(one, LAYOUT) for value, one in counts.items()}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=6))
def test_segments_add_up_to_all_rows(blocks: list[tuple[int, bool]]) -> None:
    segments, whole = Segments(PROFILE), Counter.of(PROFILE)
    assert segments.ask(BY_COUNTRY, 0.0) is None
    for count, multiple in blocks:
        one = block(values(count), list(range(0, count, 3)) if multiple else None)
        segments.add(one, 1.0)
        whole.add(one)
    parts = told(segments)
    assert set(parts) == {"de", "at", OTHER}
    assert parts["de"] + parts["at"] + parts[OTHER] == whole.counts()


def test_a_row_is_in_the_segment_of_its_value_whatever_its_type_on_the_wire() -> None:
    segments = Segments(PROFILE)
    by_channel = Segmentation(by="channel", values=("0", "2"))
    assert segments.ask(BY_COUNTRY, 0.0) is None
    assert segments.ask(by_channel, 0.0) is None
    rows = values(6)
    rows["country"] = np.array([b"de", b"", b"at", b"fr", b"at", b"de"], dtype=object)
    rows["channel"] = np.array([0, 1, 2, 9, 2, 2])
    segments.add(block(rows), 1.0)
    assert {name: one.rows for name, one in told(segments).items()} == {"de": 2, "at": 2, OTHER: 2}
    assert {name: one.rows for name, one in told(segments, by_channel).items()} == {"0": 1, "2": 3, OTHER: 2}


def test_what_cannot_be_segmented_says_why() -> None:
    segments = Segments(PROFILE)
    assert segments.ask(Segmentation(by="amount", values=("1",)), 0.0) == (
        "the input 'amount' is numeric, and segments are by categories"
    )
    assert segments.ask(Segmentation(by="nation", values=("de",)), 0.0) == "the model has no input 'nation'"


def test_two_may_ask_at_a_time_and_who_asks_no_more_is_forgotten() -> None:
    segments = Segments(PROFILE)
    by_channel, third = Segmentation(by="channel", values=("0",)), Segmentation(by="channel", values=("1",))
    assert segments.ask(BY_COUNTRY, 0.0) is None
    assert segments.ask(by_channel, 500.0) is None
    assert segments.ask(third, 501.0) == "its rows are already counted by channel, country, and 2 ways are the most"
    assert segments.ask(third, 901.0) is None
    before = segments.to_wire(by_channel)["channel"]["life"]
    assert segments.ask(by_channel, 2000.0) is None
    assert segments.to_wire(by_channel)["channel"]["life"] > before  # its counters began at 0 again


def test_blocks_of_other_outputs_wait_together_and_are_counted_each_for_itself() -> None:
    segments, whole = Segments(PROFILE), Counter.of(PROFILE)
    assert segments.ask(BY_COUNTRY, 0.0) is None
    for place in range(6):
        one = block(values(20), list(range(0, 20, 4)) if place % 3 == 0 else None)
        if place % 2:
            one = Block(rows=20, inputs=one.inputs, outputs={}, test=one.test)  # the client did not ask for it
        segments.add(one, 1.0)
        whole.add(one)
    assert segments.waiting_rows == 120
    segments.settle()
    assert segments.waiting_rows == 0
    parts = told(segments)
    assert parts["de"] + parts["at"] + parts[OTHER] == whole.counts()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "_BYTES_MAX", 3 * Counter.of(PROFILE).nbytes)
    many = Segmentation(by="country", values=("de", "at", "ch"))
    assert Segments(PROFILE).ask(BY_COUNTRY, 0.0) is None
    assert "name fewer values" in str(Segments(PROFILE).ask(many, 0.0))


def test_segments_are_counted_from_the_first_time_that_they_are_asked_for() -> None:
    specs = [
        TensorSpec(name="country", datatype="BYTES", shape=(-1, 1)),
        TensorSpec(name="channel", datatype="INT64", shape=(-1, 1)),
        TensorSpec(name="amount", datatype="FP64", shape=(-1, 1)),
    ]
    live = LiveProfile(
        inputs=specs, outputs=[TensorSpec(name="score", datatype="FP64", shape=(-1, 1))],
        source=lambda: Reference(profile=PROFILE), identity={}, errors=dict, log=quiet,
    )  # fmt: skip

    def answer(country: bytes) -> None:
        inputs = {"country": np.array([[country]], dtype=object), "channel": np.array([[1]]), "amount": np.ones((1, 1))}
        live.observe(asked(inputs, ("score",)), [np.ones((1, 1)) / 2])

    answer(b"de")
    assert "segments" not in json.loads(live.body())
    assert json.loads(live.body(BY_COUNTRY))["segments"]["country"]["firstTs"] is None
    for country in (b"de", b"us", b"de"):
        answer(country)
    message = json.loads(live.body(BY_COUNTRY))
    assert message["counts"]["rows"] == 4
    assert {name: one["rows"] for name, one in message["segments"]["country"]["counts"].items()} == {
        "de": 2,
        "at": 0,
        OTHER: 1,
    }


@pytest.mark.parametrize(
    "query",
    [
        "segmentBy=country",
        "segmentBy=a&segmentBy=b&value=1",
        "segmentBy=country&value=de&value=de",
        f"segmentBy=country&value={OTHER}",
        "segmentBy=country" + "".join(f"&value={place}" for place in range(VALUES_MAX + 1)),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"segmentBy|value|fields"):
        Segmentation.of_query(query)


@given(
    st.text(min_size=1), st.lists(st.text().filter(lambda value: value != OTHER), min_size=1, max_size=8, unique=True)
)
def test_what_is_asked_arrives_as_it_was_meant(by: str, names: list[str]) -> None:
    wanted = Segmentation(by=by, values=tuple(names))
    assert Segmentation.of_query(wanted.query()) == wanted
    assert Segmentation.of_query("") is None


def test_a_profile_by_segments_is_read_as_it_was_written_and_adds_up_to_all_rows() -> None:
    arrays = values(3000)
    inputs, outputs = without_model(Table(arrays=arrays), ("score",))
    made = build(inputs, outputs, labels=None, choices=Choices(segment_by="country"))
    assert made.segments is not None
    read = parse(made.to_json())
    assert read == made
    named = ("de", "at")
    found = [made.segments.of(name, named, made.counts) for name in (*named, OTHER)]
    first, second, rest = (one for one in found if one is not None)
    assert first + second + rest == made.counts
    assert first.rows == sum(arrays["country"] == b"de")
    assert made.segments.of("xx", named, made.counts) is None


@pytest.mark.parametrize(("by", "why"), [("amount", "numeric"), ("nation", "no input 'nation'")])
def test_a_profile_cannot_be_parted_by_what_has_no_categories(by: str, why: str) -> None:
    inputs, outputs = without_model(Table(arrays=values(300)), ("score",))
    with pytest.raises(UnusableData, match=f"--segment-by: .*{why}"):
        build(inputs, outputs, labels=None, choices=Choices(segment_by=by))
