"""Every number in docs/explain-a-decision.md is one that the judge computes."""

import math
import re
from pathlib import Path

from penstock_operator.core.judge import likelihood
from penstock_operator.core.judge.counts import ArmCounts, Tick
from penstock_operator.core.judge.decide import judge_tick
from penstock_operator.core.judge.eprocess import unstarted_mass
from penstock_operator.core.judge.judgement import Judgement
from penstock_operator.core.judge.likelihood import WORSE_BY, WORSE_WEIGHTS, Events
from penstock_operator.core.judge.metrics import ErrorRateAgainstStable
from penstock_operator.core.judge.state import EvidenceState

PAGE = (Path(__file__).parents[4] / "docs" / "explain-a-decision.md").read_text(encoding="utf-8")
METRIC = ErrorRateAgainstStable(name="errors")
ROW = re.compile(r"\| (\d+) \| (\d+) of (\d+) \| (\d+) of (\d+) \| (.*) \|")

Row = tuple[int, int, int, int, list[str]]


def tables() -> list[list[Row]]:
    found: list[list[Row]] = []
    for line in PAGE.splitlines():
        if match := ROW.fullmatch(line):
            tick, x1, n1, x0, n0 = (int(part) for part in match.groups()[:5])
            if tick == 1:
                found.append([])
            found[-1].append((x1, n1, x0, n0, match[6].split(" | ")))
    return found


def judged(rows: list[Row]) -> list[tuple[EvidenceState, Judgement]]:
    state, found = EvidenceState.fresh(METRIC), []
    for at, (x1, n1, x0, n0, _) in enumerate(rows):
        stable, candidate = ArmCounts(requests=n0, errors=x0), ArmCounts(requests=n1, errors=x1)
        state, judgement = judge_tick(METRIC, state, Tick(at=at, stable=stable, candidate=candidate), limit=20)
        found.append((state, judgement))
    return found


def test_the_tables_hold_the_judges_factors_and_evidence() -> None:
    bad, even = tables()
    assert (len(bad), len(even)) == (3, 4)
    for rows in (bad, even):
        for (x1, n1, x0, n0, told), (_, judgement) in zip(rows, judged(rows), strict=True):
            logs = likelihood.log_worse_than_stable(
                Events(n=n1, events=x1), Events(n=n0, events=x0), ratio=METRIC.tolerate_ratio, difference=0
            )
            assert told == [f"{math.exp(log):.2f}" for log in logs] + [f"{judgement.evidence:.2f}"]


def test_the_columns_are_the_judges_guesses() -> None:
    assert " | ".join(f"\u00d7 {guess:g}" for guess in WORSE_BY) in PAGE


def test_the_decision_has_these_words() -> None:
    assert f"fraud-guard/errors: {judged(tables()[0])[-1][1].message}\n" in PAGE


def test_the_money_of_each_guess_is_told() -> None:
    state, _ = judged(tables()[0])[-1]
    wealths = [math.exp(log) for log in state.against[0]]
    told = ", ".join(f"{wealth:.2f}" for wealth in wealths[:3])
    played = sum(weight * wealth for weight, wealth in zip(WORSE_WEIGHTS, wealths, strict=True))
    text = " ".join(PAGE.split())
    assert f"{told} and {wealths[3]:.2f} now" in text
    assert f"that is {played:.2f}. With the {unstarted_mass(3):.2f} that has not joined yet it is" in text


def test_the_stakes_are_told() -> None:
    first, second, third, fourth = (f"{weight:.0%}" for weight in WORSE_WEIGHTS)
    told = f"{first} of its money on 1.25 times beyond what is tolerated, {second} on 2 times, {third} on 4 times"
    assert f"{told} and {fourth} on 10 times" in " ".join(PAGE.split())


def test_what_joins_when_is_told() -> None:
    joins = [unstarted_mass(at) - unstarted_mass(at + 1) for at in range(3)]
    told = f"{joins[0]:.0%} plays from tick 1 on, {joins[1]:.1%} joins at tick 2, {joins[2]:.1%} at tick 3"
    assert told in " ".join(PAGE.split())


def test_the_tick_that_is_computed_by_hand_is_right() -> None:
    text = " ".join(PAGE.split())
    a = 540 * 3 / (60 * METRIC.tolerate_ratio * 4 + 540)
    r = 1 - 60 * METRIC.tolerate_ratio * a / 540
    assert f"= {a:.3f} and R" in text
    assert f"= {r:.3f}. With 1 error" in text
    assert f"{1 + a:.3f} · {r:.3f}² = {(1 + a) * r * r:.2f}" in text
    assert f"1.71 · 3.89 · 15.57 = {1.71 * 3.89 * 15.57:.0f}" in text
    assert "The judge has 94," in text


def test_what_one_would_expect_is_right() -> None:
    assert f"expect {184 * 7 / 1656:.1f} errors in 184" in PAGE
