"""The counts of a server's life: exact, off the request path, and told without a profile as well as with one."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.penstock_server.profile.conftest import X, Y, asked, quiet

from penstock_contract.counts import Snapshot, parse, since
from penstock_contract.profile import Profile, Role, layout_of
from penstock_server.profile import live as live_module
from penstock_server.profile.binding import Bound
from penstock_server.profile.build import Choices, build
from penstock_server.profile.live import LiveProfile, Stuck
from penstock_server.profile.reference import Reference, Source, source
from penstock_server.profile.tap import ENOUGH_REQUESTS
from penstock_server.protocol import Array, TensorSpec


def profile_of(rows: Array) -> Profile:
    answers = rows.sum(axis=1, keepdims=True)
    return build(
        [Bound(spec=X, array=rows, names=("a", "b", "c"))], [Bound(spec=Y, array=answers, names=("y",))],
        labels=None, choices=Choices(),
    )  # fmt: skip


REFERENCE = np.random.default_rng(3).normal(size=(400, 3)).astype(np.float32)
PROFILE = profile_of(REFERENCE)

Start = Callable[..., LiveProfile]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that makes counts, with their thread running unless told otherwise."""
    made: list[LiveProfile] = []

    def begin(find: Source | None = None, *, run: bool = True, log: Any = quiet) -> LiveProfile:
        live = LiveProfile(
            inputs=[X], outputs=[Y], source=find or (lambda: Reference(profile=PROFILE)),
            identity={"modelName": "m", "modelVersion": "3", "revision": "m-1"}, errors=lambda: {"400": 2}, log=log,
        )  # fmt: skip
        if run:
            live.start()
            made.append(live)
        return live

    yield begin
    for live in made:
        live.close()


def observe(live: LiveProfile, rows: Array) -> None:
    live.observe(asked({"x": rows}), [rows.sum(axis=1, keepdims=True)])


def snapshot(live: LiveProfile) -> Snapshot:
    return parse(live.body(), layout_of(PROFILE.columns), PROFILE.hash)


def test_the_rows_of_the_reference_give_the_counts_of_the_reference(start: Start) -> None:
    live = start()
    for row in REFERENCE:
        observe(live, row[np.newaxis])
    got = snapshot(live)
    assert got.counts == PROFILE.counts
    assert (got.requests, got.dropped_rows, got.errors) == (400, 0, {"400": 2})
    assert got.model_version == "3"


def test_two_pods_and_a_restart_count_what_one_would_have(start: Start) -> None:
    pods = [start() for _ in range(3)]
    for place, row in enumerate(REFERENCE):
        observe(pods[place % 3], row[np.newaxis])
    parts = [since(None, snapshot(pod)) for pod in pods]
    first, second, third = (part for part in parts if part is not None)
    assert first + second + third == PROFILE.counts


def test_snapshots_are_cumulative_and_numbered(start: Start) -> None:
    live = start()
    observe(live, REFERENCE[:1])
    first = snapshot(live)
    observe(live, REFERENCE[1:2])
    second = snapshot(live)
    assert (first.boot_id, second.seq - first.seq) == (second.boot_id, 1)
    new = since(first, second)
    assert new is not None
    assert (new.rows, first.counts.rows, second.counts.rows) == (1, 1, 2)
    assert first.first_ts == second.first_ts
    assert second.first_ts is not None
    assert second.last_ts is not None
    assert second.first_ts <= second.last_ts


def test_one_row_of_a_request_is_for_tests_and_all_count_for_quality(start: Start) -> None:
    live = start()
    rows = REFERENCE[:10].copy()
    rows[:, 0] = np.nan
    observe(live, rows)
    counts = snapshot(live).counts
    assert (counts.rows, counts.test_rows) == (10, 1)
    assert counts.columns[0].missing == 1
    assert counts.columns[0].quality.missing == 10


def test_without_a_profile_moments_and_what_is_missing_are_told(start: Start) -> None:
    live = start(Reference)
    observe(live, np.array([[1, np.nan, 3], [3, np.inf, 5]], np.float32))
    message = json.loads(live.body())
    assert message["profileHash"] is message["profileError"] is None
    a, b, c, y = message["plain"]["columns"]
    assert message["plain"]["rows"] == 2
    assert a == {"name": "inputs/x[0]", "count": 2, "missing": 0, "negativeInfinity": 0, "positiveInfinity": 0,
                 "sum": 4.0, "sumOfSquares": 10.0, "min": 1.0, "max": 3.0}  # fmt: skip
    assert (b["count"], b["missing"], b["positiveInfinity"], "sum" in b) == (0, 1, 1, False)
    assert (c["min"], c["max"]) == (3.0, 5.0)
    assert y["name"] == "outputs/y"


def test_extremes_of_finite_values_are_told(start: Start) -> None:
    live = start()
    observe(live, np.array([[1, 1e30, 0]], np.float32))
    observe(live, np.array([[-np.inf, np.nan, 2]], np.float32))
    extremes = json.loads(live.body())["extremes"]
    assert extremes["inputs/a"] == [1.0, 1.0]
    assert extremes["inputs/b"] == [float(np.float32(1e30))] * 2
    assert extremes["inputs/c"] == [0.0, 2.0]


def test_a_broken_profile_is_said_and_counting_goes_on_without_it(start: Start, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    (tmp_path / "profile.json").write_text("{")
    said: list[dict[str, Any]] = []
    live = start(source(model, "", [X], [Y]), log=lambda event, **fields: said.append({"event": event, **fields}))
    observe(live, REFERENCE[:2])
    message = json.loads(live.body())
    assert message["plain"]["rows"] == 2
    assert "profile.json: it is not JSON" in message["profileError"]
    assert live.error == message["profileError"]
    assert said == [{"event": "profile-unusable", "error": message["profileError"]}]


def test_waiting_rows_are_counted_without_being_asked_for(start: Start) -> None:
    live = start()
    for row in REFERENCE[:200]:
        observe(live, row[np.newaxis])
    until(lambda: live.rows == 200)


def test_closing_counts_what_still_waits(start: Start) -> None:
    live = start()
    observe(live, REFERENCE[:3])
    live.close()
    assert live.rows == 3


def test_a_stuck_counter_delays_no_request_and_says_so_when_asked(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, entered = threading.Event(), threading.Event()

    def stuck() -> Reference:
        entered.set()
        let_go.wait(10)
        return Reference(profile=PROFILE)

    monkeypatch.setattr(live_module, "_PATIENCE_SECONDS", 0.05)
    live = start(stuck)
    assert entered.wait(2)
    fastest = 1.0
    for _ in range(20):
        began = time.perf_counter()
        for row in REFERENCE:
            observe(live, row[np.newaxis])
        fastest = min(fastest, time.perf_counter() - began)
    assert fastest / len(REFERENCE) < 200e-6  # a lock that is held would have cost seconds
    with pytest.raises(Stuck, match="counting has not come to an end"):
        live.body()
    let_go.set()
    monkeypatch.undo()
    got = snapshot(live)
    assert got.counts.rows + got.dropped_rows == 20 * len(REFERENCE)


def test_a_row_that_cannot_be_counted_is_counted_as_that(start: Start) -> None:
    live = start()
    request = asked({"x": REFERENCE[:1]})
    live.observe(type(request)(id=None, inputs={"x": REFERENCE[:2]}, outputs=request.outputs, rows=1), [REFERENCE[:1]])
    observe(live, REFERENCE[:1])
    got = snapshot(live)
    assert (got.counts.rows, got.dropped_rows) == (1, 1)


def until(holds: Callable[[], bool]) -> None:
    """Wait for another thread, two seconds at most."""
    ends = time.monotonic() + 2
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_columns_are_named_as_people_named_them() -> None:
    assert [column.name for column in PROFILE.columns] == ["inputs/a", "inputs/b", "inputs/c", "outputs/y"]
    assert [column.role for column in PROFILE.columns] == [Role.INPUT] * 3 + [Role.OUTPUT]


def test_an_output_whose_width_only_answers_tell_is_counted() -> None:
    maps = TensorSpec(name="p", datatype="FP32", shape=(-1, -1))
    live = LiveProfile(inputs=[X], outputs=[maps], source=Reference, identity={}, errors=dict, log=quiet)
    live.observe(asked({"x": REFERENCE[:2]}, ("p",)), [np.array([[0.5, 0.5], [0.1, 0.9]], np.float32)])
    columns = json.loads(live.body())["plain"]["columns"]
    assert [column["name"] for column in columns][3:] == ["outputs/p[0]", "outputs/p[1]"]
    assert columns[4]["max"] == pytest.approx(0.9)


def test_an_input_that_is_too_wide_is_not_counted_and_its_answer_is() -> None:
    wide = TensorSpec(name="x", datatype="FP32", shape=(-1, 2000))
    live = LiveProfile(inputs=[wide], outputs=[Y], source=Reference, identity={}, errors=dict, log=quiet)
    live.observe(asked({"x": np.zeros((1, 2000), np.float32)}), [np.ones((1, 1), np.float32)])
    plain = json.loads(live.body())["plain"]
    assert [column["name"] for column in plain["columns"]] == ["outputs/y"]
    assert plain["rows"] == plain["columns"][0]["count"] == 1


def test_a_mistake_in_counting_costs_the_rows_that_it_met_and_nothing_else(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    live = start(log=lambda event, **_: said.append(event))
    with monkeypatch.context() as broken:
        broken.setattr(live_module, "blocks", lambda *_: 1 / 0)
        observe(live, REFERENCE[:3])
        live.body()
    observe(live, REFERENCE[:2])
    got = snapshot(live)
    assert (got.counts.rows, got.dropped_rows) == (2, 3)
    assert said == ["profile", "count-failed"]


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch, start: Start) -> Callable[[], LiveProfile]:
    """Return a function that makes counts whose thread only counts when it is told to."""

    def begin() -> LiveProfile:
        monkeypatch.setattr(live_module, "_INTERVAL_SECONDS", 60.0)
        live = start()
        live.body()  # the profile is read
        return live

    return begin


def observe_plain(live: LiveProfile, rows: Array) -> None:
    for row in rows:
        live.observe(asked({"x": row[np.newaxis]}), [row[np.newaxis].sum(axis=1, keepdims=True)])


ENOUGH = np.resize(REFERENCE, (ENOUGH_REQUESTS, 3))


async def test_plain_rows_are_counted_by_the_event_loop_as_soon_as_there_are_enough(
    unhurried: Callable[[], LiveProfile], start: Start
) -> None:
    live, other = unhurried(), start(run=False)
    observe_plain(live, ENOUGH[1:])
    await asyncio.sleep(0)
    assert live.rows == 0
    observe_plain(live, ENOUGH[:1])
    await asyncio.sleep(0)
    assert live.rows == ENOUGH_REQUESTS
    observe(other, ENOUGH[:1])
    for row in ENOUGH[1:]:
        observe(other, row[np.newaxis])
    assert snapshot(live).counts == snapshot(other).counts


async def test_where_counting_takes_long_it_leaves_the_event_loop(
    unhurried: Callable[[], LiveProfile], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = unhurried()
    monkeypatch.setattr(live_module, "_HERE_SECONDS_MAX", -1.0)
    for _ in range(40):
        observe_plain(live, ENOUGH)
        await asyncio.sleep(0)
    observe_plain(live, ENOUGH)
    assert live._here_requests < 32
    until(lambda: live.rows + live.dropped_rows == 41 * ENOUGH_REQUESTS)


async def test_while_somebody_else_counts_the_event_loop_does_not_wait(unhurried: Callable[[], LiveProfile]) -> None:
    live = unhurried()
    with live._lock:
        observe_plain(live, ENOUGH)
        await asyncio.sleep(0)
        assert live.rows == 0
    until(lambda: live.rows == ENOUGH_REQUESTS)
