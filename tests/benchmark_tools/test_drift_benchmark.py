"""The drift benchmark adds up what tools said, judges its goals by it, and its page shows what its figures are."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from benchmarks.drift import goals, page, plot, results, streams
from benchmarks.drift.__main__ import PAGE, RESULTS
from benchmarks.drift.live import Live, named
from benchmarks.drift.peers.penstock_side import OnFile
from benchmarks.drift.tool import Tool, Window, length
from benchmarks.drift.trial import COUNTABLE

Record = dict[str, Any]
LIVE = {"contender": goals.LIVE, "size": 50}


def delay(rows: int | None, scenario: str = "mean + 0.5 sd") -> Record:
    return {"kind": "delay", **LIVE, "scenario": scenario, "seed": 0, "rows": rows, "named": ["f3"] if rows else []}


def quiet(alarms: int, windows: int = 100) -> Record:
    return {"kind": "false alarms", **LIVE, "scenario": "no drift", "seed": 0, "every": COUNTABLE,
            "windows": windows, "rows": windows * 50, "alarms": alarms}  # fmt: skip


def test_a_change_that_was_never_found_is_later_than_any_other() -> None:
    (cell,) = results.delays([delay(100), delay(None), delay(300), delay(200), delay(None)])
    assert (cell["found"], cell["medianRows"], cell["p90Rows"]) == (0.6, 300, None)
    assert cell["named"] == {"f3": 3}
    (cell,) = results.delays([delay(100), delay(None), delay(None)])
    assert cell["medianRows"] is None


def test_false_alarms_are_told_over_all_references_and_for_the_worst() -> None:
    (cell,) = results.false_alarms([quiet(1), quiet(5), quiet(0)])
    assert (cell["windows"], cell["alarms"], cell["references"]) == (300, 6, 3)
    assert (cell["timesBudget"], cell["timesBudgetWorst"]) == (1.0, 2.5)
    assert cell["per500000Rows"] == 200


@pytest.mark.parametrize(
    ("records", "missed"),
    [
        ([*[quiet(23, 1000)] * 5, *[delay(200)] * 5], []),
        ([*[quiet(24, 1000)] * 5, *[delay(200)] * 5], ["false alarms at most 1.15 x the budget, windows of 50"]),
        ([*[quiet(10, 1000)] * 4, quiet(33, 1000)], ["at most 1.6 x for any one reference, windows of 50"]),
        ([delay(201)] * 5, ["mean + 0.5 sd: median at most 200 rows"]),
        ([delay(None)] * 5, ["mean + 0.5 sd: median at most 200 rows"]),
        ([*[delay(100, "shuffled")] * 4, delay(None, "shuffled")], ["a shuffled column is found and named"]),
    ],
    ids=["all", "average", "worst", "late", "never", "shuffled"],
)
def test_a_goal_is_met_up_to_its_limit_and_not_beyond(records: list[Record], missed: list[str]) -> None:
    found = judged(records)
    assert found
    assert [one.name for one in found if one.met is False] == missed
    assert all(one.met is not None for one in found)


def test_a_few_runs_say_nothing_of_a_goal() -> None:
    assert {one.met for one in judged([delay(900)] * 4)} == {None}
    assert {one.met for one in judged([quiet(90, 1000)] * 4)} == {None}
    assert {one.met for one in judged([quiet(9, 50)] * 5 + [delay(100)] * 5)} == {None, True}


def judged(records: list[Record]) -> list[goals.Goal]:
    document = {"falseAlarms": results.false_alarms(records), "delays": results.delays(records), "nothing": []}
    return goals.judged(document)


def test_the_page_and_the_drawing_show_the_figures_that_are_kept() -> None:
    document = json.loads((RESULTS / "drift.json").read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in page.tables(document).items():
        assert f"<!-- figures: {name} -->\n" + "\n".join(lines) + "\n<!-- end -->" in text
    assert plot.svg(document) == (RESULTS / "drift.svg").read_text(encoding="utf-8")


def test_the_same_seed_is_the_same_rows_and_only_what_is_meant_changes() -> None:
    for scenario in streams.SCENARIOS:
        one, again = streams.changed(scenario, 3), streams.changed(scenario, 3)
        assert all((one[name] == again[name]).all() for name in one)
        assert not (one[streams.NAME] == streams.changed(scenario, 4)[streams.NAME]).all()
    humps = streams.changed(next(one for one in streams.SCENARIOS if "humps" in one.name), 1)[streams.NAME]
    assert float(humps.mean()) == pytest.approx(0, abs=0.05)
    assert float(humps.std()) == pytest.approx(1, abs=0.05)


def test_an_alarm_names_its_column_whatever_is_wrong_with_it() -> None:
    alarms = ("inputs/f3", "contribution/f4", "dataQuality/a/b/outOfRange", "correlation/f1~f2", "outputs/score")
    assert named(alarms) == {"f3", "f4", "a/b", "f1~f2", "score"}


def tools() -> Iterator[Tool]:
    for make in (Live, OnFile):
        tool: Tool = make(50, 10_000.0)
        tool.fit(few(5_000, 1), ())
        yield tool


def few(rows: int, seed: int, *, by: float = 0.0) -> streams.Values:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 2)) + by
    return {"f0": features[:, 0], "f1": rng.normal(size=rows), "score": features.sum(axis=1)}


def test_pods_that_restart_and_are_not_read_hide_no_drift_and_the_tool_is_as_it_was_before() -> None:
    for tool in tools():
        tool.warm(few(1_000, 2))
        drifted, healthy = few(600, 3, by=1.5), few(600, 4)
        assert not any(window.named for window in tool.windows(healthy))
        found = list(tool.windows(drifted))
        assert "f0" in frozenset[str]().union(*(window.named for window in found[:6]))
        assert said(tool, drifted) == found  # seeing them has changed nothing
        assert sum(window.rows for window in found) <= length(drifted)


def said(tool: Tool, values: streams.Values) -> list[Window]:
    return list(tool.windows(values))
