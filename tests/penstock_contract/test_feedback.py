"""Feedback of pods adds up, also where they met different classes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_contract.feedback import OTHER, FeedbackCounts

COUNT = st.integers(0, 2**40)
NAME = st.sampled_from(["0", "1", "cat", OTHER])
COUNTS = st.builds(
    FeedbackCounts,
    matched=COUNT,
    unmatched=COUNT,
    late=COUNT,
    duplicate=COUNT,
    invalid=COUNT,
    lag_milliseconds=COUNT,
    error=st.integers(-1000, 1000).map(float),
    absolute_error=COUNT.map(float),
    squared_error=COUNT.map(float),
    confusion=st.dictionaries(NAME, st.dictionaries(NAME, st.integers(1, 100), min_size=1)),
)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_what_was_added_can_be_taken_away_again(one: FeedbackCounts, other: FeedbackCounts) -> None:
    assert (one + other) - other == one
    assert one + other == other + one


@settings(deadline=None)
@given(COUNTS)
def test_feedback_survives_the_wire(counts: FeedbackCounts) -> None:
    assert FeedbackCounts.from_wire(counts.to_wire()) == counts


def test_accuracy_is_the_share_of_right_classes() -> None:
    assert FeedbackCounts().accuracy is None
    counts = FeedbackCounts(confusion={"0": {"0": 6, "1": 1}, "1": {"1": 2}, OTHER: {OTHER: 1}})
    assert counts.accuracy == 0.8


@pytest.mark.parametrize("wire", [{"confusion": [1]}, {"confusion": {"0": 1}}, {"matched": "1"}, {"late": True}])
def test_what_is_no_feedback_is_refused(wire: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a"):
        FeedbackCounts.from_wire(wire)
