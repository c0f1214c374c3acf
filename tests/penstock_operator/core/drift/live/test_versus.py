"""A candidate that is less often right than stable is found, and a healthy one is left alone."""

import numpy as np
import pytest

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.drift.live import versus
from penstock_operator.core.drift.live.versus import Versus

LIMIT = 100.0


def labels(right: int, wrong: int) -> FeedbackCounts:
    return FeedbackCounts(matched=right + wrong, confusion={"1": {"1": right, "0": wrong}})


def stream(seed: int, looks: int, wrong: float, wrong_of_stable: float, *, tolerated: float = 0.02) -> list[Versus]:
    """A candidate with a tenth of the labels, told every now and then."""
    rng, known = np.random.default_rng(seed), Versus(stable_revision="fraud-1")
    totals, found = [FeedbackCounts(), FeedbackCounts()], []
    for _ in range(looks):
        for place, (size, share) in enumerate(((8, wrong), (72, wrong_of_stable))):
            errors = int(rng.binomial(size, share))
            totals[place] += labels(size - errors, errors)
        known = versus.after(known, *totals, tolerated=tolerated)
        found.append(known)
    return found


def test_a_drop_is_found_with_its_numbers() -> None:
    found = stream(1, 120, 0.25, 0.1)
    worst = next(one for one in found if one.evidence >= LIMIT)
    assert worst.candidate.labels < 800
    (alarm,) = versus.alarm(worst, limit=LIMIT, now=5.0)
    assert alarm.name == "performance/againstStable"
    assert alarm.message.startswith("accuracy 7")
    assert "of fraud-1 (evidence " in alarm.message
    assert alarm.evidence["stableLabels"] > alarm.evidence["labels"] > 0


def test_a_candidate_within_the_tolerance_is_hardly_ever_taken_for_worse() -> None:
    raised = sum(max(one.evidence for one in stream(seed, 150, 0.12, 0.1)) >= 20 for seed in range(60))
    assert raised <= 6  # a twentieth of 60 is 3


def test_every_label_counts_once_however_often_the_totals_are_told() -> None:
    known = Versus(stable_revision="fraud-1")
    one, two = labels(15, 10), labels(40, 4)
    first = versus.after(known, one, two, tolerated=0.02)
    assert (first.ticks, first.candidate.labels, first.stable.labels) == (1, 25, 44)
    assert versus.after(first, one, two, tolerated=0.02) == first


def test_few_labels_wait_until_there_are_enough_of_both() -> None:
    known = Versus(stable_revision="fraud-1")
    known = versus.after(known, labels(5, 0), labels(100, 10), tolerated=0.02)
    assert (known.ticks, known.evidence) == (0, 1.0)
    known = versus.after(known, labels(20, 0), labels(150, 15), tolerated=0.02)
    assert (known.ticks, known.candidate.labels, known.stable.labels) == (1, 20, 165)


def test_evidence_survives_its_way_through_status() -> None:
    known = stream(1, 30, 0.25, 0.1)[-1]
    again = Versus.from_wire(known.to_wire())
    assert again is not None
    assert (again.evidence, again.ticks, again.candidate) == (known.evidence, known.ticks, known.candidate)
    assert again.seen == again.waiting == (versus.Counted(), versus.Counted())


@pytest.mark.parametrize("wire", [None, {}, "x", {"logs": [1.0], "revision": "a", "ticks": 1}, {"logs": "abc"}])
def test_evidence_that_cannot_be_read_begins_anew(wire: object) -> None:
    assert Versus.from_wire(wire) is None
