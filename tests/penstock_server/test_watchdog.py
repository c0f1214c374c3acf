"""Inline runs end when their time is over, and only then."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from onnx import ModelProto
from tests.penstock_server import onnx_models

from penstock_server import watchdog as watchdogs
from penstock_server.protocol import Array
from penstock_server.session import Session
from penstock_server.watchdog import RanOver, Watchdog

SHORT = {"rounds": np.array([3])}
ENDLESS = {"rounds": np.array([2**60])}


@pytest.fixture
def watchdog(load: Callable[[ModelProto], Session]) -> Iterator[Watchdog]:
    """A watchdog over a model that runs as long as its input says."""
    watching = Watchdog(load(onnx_models.counter()))
    yield watching
    watching.close()


def run(watchdog: Watchdog, inputs: dict[str, Array], seconds_max: float = 30.0) -> int:
    (result,) = watchdog.run(["y"], inputs, time.perf_counter(), seconds_max)
    return int(result)


def test_a_run_that_takes_too_long_ends_and_the_next_one_runs(watchdog: Watchdog) -> None:
    assert run(watchdog, SHORT) == 24
    started = time.perf_counter()
    with pytest.raises(RanOver):
        run(watchdog, ENDLESS)
    assert time.perf_counter() - started < 1.0
    assert run(watchdog, SHORT) == 24


def test_a_client_in_a_hurry_ends_its_run_earlier(watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdogs, "INLINE_SECONDS_LIMIT", 60.0)
    with pytest.raises(RanOver):
        run(watchdog, ENDLESS, seconds_max=0.01)


def test_an_order_to_end_that_was_meant_for_the_run_before_ends_nothing(watchdog: Watchdog) -> None:
    watchdog._cancellation.cancel()
    assert run(watchdog, SHORT) == 24


def test_a_thread_that_went_to_sleep_is_woken_by_the_next_run(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdogs, "_POLL_SECONDS", 0.001)
    monkeypatch.setattr(watchdogs, "_IDLE_LOOKS", 1)
    for _ in range(3):
        assert run(watchdog, SHORT) == 24
        deadline = time.perf_counter() + 2
        while watchdog._looking:
            assert time.perf_counter() < deadline
        with pytest.raises(RanOver):
            run(watchdog, ENDLESS)


def test_a_watchdog_that_never_watched_can_be_closed(load: Callable[[ModelProto], Session]) -> None:
    Watchdog(load(onnx_models.counter())).close()
