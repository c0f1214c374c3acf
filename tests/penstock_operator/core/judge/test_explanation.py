"""The decisions that docs/judging.md explains are ones that the judge makes."""

from pathlib import Path

from tests.penstock_operator.core.judge.streams import judged

from penstock_operator.core.judge.counts import ArmCounts, Tick
from penstock_operator.core.judge.judgement import Judgement
from penstock_operator.core.judge.metrics import ErrorRateAgainstStable

PAGE = (Path(__file__).parents[4] / "docs" / "judging.md").read_text(encoding="utf-8")

Counts = tuple[int, int, int, int]


def last_judgement(counts: list[Counts]) -> Judgement:
    ticks = [
        Tick(at=t, stable=ArmCounts(requests=n0, errors=x0), candidate=ArmCounts(requests=n1, errors=x1))
        for t, (x1, n1, x0, n0) in enumerate(counts)
    ]
    return list(judged(ErrorRateAgainstStable(name="errors"), ticks))[-1]


def test_the_failed_candidate_of_the_page_fails_with_these_words() -> None:
    judgement = last_judgement([(2, 60, 2, 540), (1, 61, 3, 549), (4, 63, 2, 567)])
    assert f"fraud-guard/errors: {judgement.message}\n" in PAGE


def test_the_good_candidate_of_the_page_passes_with_these_words() -> None:
    five = [(0, 60, 2, 540), (1, 60, 2, 540), (0, 60, 3, 540), (0, 60, 1, 540), (0, 60, 2, 540)]
    judgement = last_judgement((five * 8)[:36])
    assert f"fraud-guard/errors: {judgement.message}\n" in PAGE


def test_the_factor_that_the_page_computes_by_hand_is_right() -> None:
    a = 540 * 3 / (60 * 1.2 * 4 + 540)
    assert round((1 + a) ** 3 / (1 + 0.001 * a) ** 60) == 23
    assert "= 23." in PAGE
