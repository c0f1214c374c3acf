"""What the judge says of windows: the budget holds, drifts are named, and nothing depends on how windows arrive."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from penstock_contract.profile import Profile
from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.describe import describe
from penstock_operator.core.drift.engine import Alarm, Judge
from penstock_operator.core.drift.tally import Tallies
from penstock_server.profile.binding import without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.table import Table

Values = dict[str, npt.NDArray[Any]]


def odd(rng: np.random.Generator, size: int) -> Values:
    """Columns that break tests: skewed, coarse, heavy-tailed, rare, entangled; none of them drifts."""
    x = rng.normal(size=size)
    return {
        "x": x,
        "square": x * x + 0.1 * rng.normal(size=size),
        "product": x * rng.normal(size=size),
        "copy": x.copy(),
        "rare": (rng.random(size) < 0.01).astype(np.float64),
        "coarse": np.round(rng.normal(size=size)),
        "zeros": np.where(rng.random(size) < 0.95, 0, rng.exponential(size=size)),
        "heavy": rng.standard_cauchy(size),
        "gaps": np.where(rng.random(size) < 0.97, np.nan, rng.normal(size=size)),
        "kind": rng.integers(0, 6, size),
        "constant": np.full(size, 2.0),
        "score": 1 / (1 + np.exp(-(x + 2 * x * x - 1 + rng.normal(size=size) * (1 + x * x)))),
    }


def profile_of(values: Mapping[str, npt.NDArray[Any]], outputs: tuple[str, ...] = ("score",)) -> Profile:
    inputs, answers = without_model(Table(arrays=values), outputs)
    return build(inputs, answers, labels=None, choices=Choices())


def counted(judge: Judge, values: Values) -> Tallies:
    named = {column.name: values[column.name.partition("/")[2]] for column in judge.frame.columns}
    return count(judge.frame, named, judge.window_rows)


def judged(judge: Judge, values: Values) -> tuple[tuple[Alarm, ...], ...]:
    found, _ = judge.judge(counted(judge, values), judge.start())
    return found.alarms


@pytest.mark.parametrize("window_rows", [30, 100])
def test_columns_that_break_tests_keep_the_budget(window_rows: int) -> None:
    every, windows, alarms = 50, 320, 0
    for seed in range(4):
        rng = np.random.default_rng([seed, window_rows])
        judge = Judge(profile_of(odd(rng, 12_000)), window_rows=window_rows, false_alarm_every=every)
        alarms += sum(map(bool, judged(judge, odd(rng, windows * window_rows))))
    expected = 4 * windows / every
    # Of 25.6 alarms allowed; by chance alone 40 would come once in 300 runs.
    assert alarms <= 40, expected


def test_windows_that_arrive_in_parts_are_judged_as_if_they_came_at_once() -> None:
    rng = np.random.default_rng(1)
    judge = Judge(profile_of(odd(rng, 8000)), window_rows=50, false_alarm_every=100)
    live = odd(rng, 50 * judge.block * 6)
    live["x"][4000:] += 0.3
    tallies = counted(judge, live)
    whole, _ = judge.judge(tallies, judge.start())
    memory = judge.start()
    parts: list[tuple[Alarm, ...]] = []
    for start in range(0, len(tallies), judge.block):
        found, memory = judge.judge(tallies[start : start + judge.block], memory)
        parts += found.alarms
    assert any(whole.alarms)
    assert tuple(parts) == whole.alarms


def test_windows_that_arrive_one_by_one_give_the_same_alarms_of_columns() -> None:
    rng = np.random.default_rng(1)
    kinds = {Signal.INPUTS, Signal.OUTPUTS, Signal.DATA_QUALITY}
    judge = Judge(profile_of(odd(rng, 34_000)), window_rows=50, false_alarm_every=100, kinds=kinds)
    assert judge.block == 64
    live = odd(rng, 50 * judge.block * 3)
    live["x"][4000:] += 0.3
    live["gaps"][6000:] = np.nan
    tallies = counted(judge, live)
    whole, _ = judge.judge(tallies, judge.start())
    memory = judge.start()
    parts: list[tuple[Alarm, ...]] = []
    for start in range(len(tallies)):
        found, memory = judge.judge(tallies[start : start + 1], memory)
        parts += found.alarms
    assert {alarm.windows for one in whole.alarms for alarm in one} >= {2, 8, 32}
    assert tuple(parts) == whole.alarms
    assert sum(len(one) for one in (*memory.parts, *memory.odd)) <= 4 * judge.budget.levels


def test_kinds_that_nobody_asks_for_leave_their_budget_to_the_others() -> None:
    rng = np.random.default_rng(1)
    profile = profile_of(odd(rng, 8000))
    alone = Judge(profile, window_rows=50, false_alarm_every=100, kinds={Signal.OUTPUTS})
    assert alone.budget.level(Signal.OUTPUTS, 0) == 1 / 100 / alone.budget.levels
    live = odd(rng, 500)
    live["heavy"] += 3
    assert not any(judged(alone, live))


def test_windows_of_more_rows_than_they_may_weigh_keep_their_shares_and_the_budget() -> None:
    every, alarms, windows, rows = 40, 0, 160, 400
    for seed in range(4):
        rng = np.random.default_rng([seed, 9])
        judge = Judge(profile_of(odd(rng, 12_000)), window_rows=rows, false_alarm_every=every)
        large = counted(judge, odd(rng, windows * rows))
        judge = Judge(profile_of(odd(rng, 12_000)), window_rows=100, false_alarm_every=every)
        found, _ = judge.judge(large.weighing(100), judge.start())
        alarms += sum(map(bool, found.alarms))
    assert alarms <= 4 * windows / every
    assert large.weighing(100).rows.tolist() == [100.0] * windows
    assert np.allclose(large.weighing(100).bins / 100, large.bins / rows)


def test_an_alarm_says_how_large_the_difference_is() -> None:
    rng = np.random.default_rng(4)
    judge = Judge(profile_of(odd(rng, 40_000)), window_rows=2000, false_alarm_every=1000)
    live = odd(rng, 2000)
    live["coarse"] += 1
    live["zeros"][:400] = np.nan
    (found,) = judged(judge, live)
    sizes = {alarm.name: alarm for alarm in found}
    assert sizes["inputs/coarse"].psi == pytest.approx(1.0, rel=0.2)  # of a mean that moved by one deviation
    missing = sizes["dataQuality/zeros/missing"]
    assert (missing.live, missing.known) == (0.2, 0.0)


def test_a_small_drift_is_found_in_a_longer_look_back() -> None:
    rng = np.random.default_rng(2)
    judge = Judge(profile_of(odd(rng, 40_000)), window_rows=100, false_alarm_every=5000)
    live = odd(rng, 6400)
    live["heavy"] += 0.25
    found = [alarm for one in judged(judge, live) for alarm in one]
    assert {alarm.name for alarm in found} == {"inputs/heavy"}
    assert min(alarm.windows for alarm in found) > 1
    assert all(alarm.p <= alarm.limit and alarm.evidence >= 0 for alarm in found)


def test_of_columns_that_go_together_the_one_that_moved_is_named() -> None:
    rng = np.random.default_rng(3)

    def correlated(size: int) -> Values:
        shared = rng.normal(size=(size, 1))
        features = 0.8 * shared + 0.6 * rng.normal(size=(size, 8))
        return {f"f{place}": features[:, place] for place in range(8)}

    judge = Judge(profile_of(correlated(40_000), ()), window_rows=500, false_alarm_every=1000)
    live = correlated(12_000)
    live["f5"] += 0.08
    assert {alarm.name for one in judged(judge, live) for alarm in one} == {"inputs/f5"}


def test_alarms_come_kind_by_kind_the_strongest_first() -> None:
    rng = np.random.default_rng(4)
    judge = Judge(profile_of(odd(rng, 10_000)), window_rows=500, false_alarm_every=1000)
    live = odd(rng, 500)
    live["coarse"] += 1
    live["heavy"] += 1
    live["zeros"][:400] = np.nan
    (found,) = judged(judge, live)
    kinds = [alarm.kind for alarm in found]
    assert kinds == sorted(kinds, key=["inputs", "outputs", "correlation", "contribution", "dataQuality"].index)
    evidence = [alarm.evidence for alarm in found if alarm.kind == "inputs"]
    assert evidence == sorted(evidence, reverse=True)
    assert len(evidence) >= 2


def test_distances_are_zero_for_the_reference_itself() -> None:
    values = odd(np.random.default_rng(5), 6000)
    judge = Judge(profile_of(values), window_rows=6000, false_alarm_every=1000)
    tallies = counted(judge, values)
    found, _ = judge.judge(tallies, judge.start())
    assert not any(found.alarms)
    (columns,) = describe(judge, tallies, found)
    for one in columns:
        for distance in (one.psi, one.jensen_shannon, one.hellinger, one.kolmogorov, one.wasserstein, one.contribution):
            assert distance is None or distance == pytest.approx(0, abs=1e-6)


def test_a_profile_without_outputs_and_one_without_inputs_are_judged() -> None:
    values = odd(np.random.default_rng(6), 3000)
    del values["score"]
    for outputs in ((), tuple(values)):
        judge = Judge(profile_of(values, outputs), window_rows=100, false_alarm_every=1000)
        assert not any(judged(judge, values))


def test_a_column_that_was_shuffled_has_lost_its_links_and_has_not_moved() -> None:
    rng = np.random.default_rng(7)

    def correlated(size: int) -> Values:
        shared = rng.normal(size=(size, 1))
        features = 0.9 * shared + 0.5 * rng.normal(size=(size, 6))
        return {f"f{place}": features[:, place] for place in range(6)} | {"score": features.sum(axis=1)}

    judge = Judge(profile_of(correlated(40_000)), window_rows=500, false_alarm_every=1000)
    live = correlated(16_000)
    live["f2"] = rng.permutation(live["f2"])
    found = judged(judge, live)
    names = {alarm.name for one in found for alarm in one}
    assert names == {
        "contribution/f2",
        *(f"correlation/{pair}" for pair in ("f0~f2", "f1~f2", "f2~f3", "f2~f4", "f2~f5")),
    }
    assert all(found)


def test_where_most_columns_move_together_one_that_stays_is_not_named() -> None:
    rng = np.random.default_rng(8)

    def correlated(size: int) -> Values:
        shared = rng.normal(size=(size, 1))
        features = 0.8 * shared + 0.6 * rng.normal(size=(size, 8))
        return {f"f{place}": features[:, place] for place in range(8)}

    judge = Judge(profile_of(correlated(40_000), ()), window_rows=500, false_alarm_every=1000)
    live = correlated(12_000)
    for place in range(7):
        live[f"f{place}"] += 0.3
    names = {alarm.name for one in judged(judge, live) for alarm in one}
    assert names == {f"inputs/f{place}" for place in range(7)}
