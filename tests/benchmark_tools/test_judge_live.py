"""The table of rollouts on a cluster: whose requests are counted, what is right, which goals are met."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from benchmarks.judge.live.__main__ import keep, rows_of
from benchmarks.judge.live.faults import Fault, model_of
from benchmarks.judge.live.figures import Row, counted, goals, table, ticks_of
from benchmarks.judge.live.plan import INJECTIONS, dealt, planned
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

ROW = Row(
    name="01 errors x4",
    injected="errors x4: 20% of the inputs",
    healthy=False,
    errors_times=4.0,
    outcome="RolledBack",
    by="shop-0-guard/errors",
    message="",
    seconds=9.0,
    ticks=5,
    candidate_requests=18,
    requests=1000,
)
EQUAL = replace(ROW, name="02 equal", healthy=True, errors_times=1.0, outcome="Promoted", by="schedule")


def line(at: float, **answers: int) -> dict[str, object]:
    return {"t": at, "answers": {key.replace("_", " "): count for key, count in answers.items()}}


def test_requests_count_from_the_change_of_the_model_to_the_candidates_last_answer() -> None:
    told = [
        line(9.0, old_200=100),
        line(11.0, old_200=100),
        line(12.0, old_200=97, new_200=1, new_500=2),
        line(13.0, old_200=98, new_500=2),
        line(15.0, old_200=100),
    ]
    found = counted(told, "new", started=10.0, finished=12.5)
    assert (found.requests, found.candidate_requests) == (300, 5)
    assert (found.first, found.last) == (11.0, 13.0)


def test_a_candidate_that_never_answered_has_no_first_answer() -> None:
    found = counted([line(11.0, old_200=100)], "new", started=10.0, finished=12.0)
    assert (found.requests, found.candidate_requests, found.first) == (100, 0, None)


def test_a_decision_within_the_first_look_took_one() -> None:
    assert [ticks_of(seconds) for seconds in (0.0, 1.9, 2.1, 9.0)] == [1, 1, 2, 5]


@pytest.mark.parametrize(
    ("row", "right"),
    [
        (ROW, True),
        (replace(ROW, outcome="Promoted"), False),
        (replace(ROW, outcome="Undecided"), False),
        (EQUAL, True),
        (replace(EQUAL, outcome="RolledBack"), False),
    ],
)
def test_right_is_who_takes_bad_ones_back_and_promotes_good_ones(row: Row, *, right: bool) -> None:
    assert row.right is right


def met(*rows: Row) -> list[bool]:
    return [is_met for _, is_met, _ in goals(rows)]


def test_goals_are_met_by_right_verdicts_and_few_requests() -> None:
    assert met(ROW, EQUAL) == [True, True, True, True]


def test_one_error_regression_that_is_promoted_misses_its_goal() -> None:
    assert met(ROW, replace(ROW, outcome="Promoted"), EQUAL)[0] is False


def test_one_equal_candidate_taken_back_misses_its_goal() -> None:
    assert met(ROW, EQUAL, replace(EQUAL, outcome="RolledBack"))[1:3] == [False, False]


def test_the_share_is_over_all_requests_of_bad_rollouts_and_names_the_worst() -> None:
    worse = replace(ROW, name="03 slow", errors_times=1.0, candidate_requests=30)
    *_, (_, is_met, told) = goals([ROW, worse, EQUAL])
    assert not is_met
    assert told == "2.40% in all; at most 3.00% in one (03 slow)"


def test_the_table_tells_no_exposure_of_healthy_candidates() -> None:
    assert list(table([ROW, EQUAL]))[2:] == [
        "| 01 errors x4 | errors x4: 20% of the inputs | RolledBack | errors | 5 | 9 | 18 | 1.80% | yes |",
        "| 02 equal | errors x4: 20% of the inputs | Promoted |  | 5 | 9 |  |  | yes |",
    ]


def test_rows_come_back_as_they_were_kept(tmp_path: Path) -> None:
    keep(tmp_path / "judge_live.json", {row.name: row for row in (ROW, EQUAL)})
    assert rows_of(tmp_path / "judge_live.json") == {ROW.name: ROW, EQUAL.name: EQUAL}


def test_the_default_plan_has_every_injection_and_each_rollout_once() -> None:
    rollouts = planned(24, "")
    assert {each.injection.kind for each in rollouts} == {each.kind for each in INJECTIONS}
    hands = list(dealt(rollouts, 6))
    assert sorted(each.name for hand in hands for each in hand) == [each.name for each in rollouts]
    assert {sum(each.injection.healthy for each in hand) for hand in hands} == {1}


def answers(fault: Fault, chance: float, at: float) -> bool:
    session = ort.InferenceSession(model_of(fault), providers=["CPUExecutionProvider"])
    try:
        session.run(None, {"x": np.array([[chance, at]], dtype=np.float32)})
    except InvalidArgument:
        return False
    return True


@pytest.mark.parametrize(("chance", "right"), [(0.79, True), (0.81, False)])
def test_a_model_fails_for_the_part_of_inputs_that_is_asked(chance: float, *, right: bool) -> None:
    assert answers(Fault(errors=0.2), chance, 0.0) is right


@pytest.mark.parametrize("at", [0.0, 60.0])
def test_what_grows_does_not_change_answers(at: float) -> None:
    assert answers(Fault(slower_ms_a_second=0.1, memory_mb_a_second=1.0).beginning(50.0), 0.5, at)
