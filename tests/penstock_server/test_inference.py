"""Where requests run, who is told, and what becomes of those that fail."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto
from tests.penstock_server import onnx_models

from penstock_server.admission import Admission, Overloaded
from penstock_server.inference import Batching, Inference
from penstock_server.metrics import Metrics
from penstock_server.pace import Pace, size_of
from penstock_server.protocol import Array, InferRequest, RequestedOutput
from penstock_server.session import RunFailed, Session

Make = Callable[..., Inference]


@dataclass
class Noted:
    """An observer that remembers."""

    rows: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def observe(self, request: InferRequest, outputs: Sequence[Array]) -> None:
        assert outputs
        self.rows.append(request.rows)
        self.threads.add(threading.get_ident())


@pytest.fixture
def make(load: Callable[[ModelProto], Session]) -> Iterator[Make]:
    """Return a function that makes an inference for a model; ``seconds``: what its runs are said to take."""
    made: list[Inference] = []

    def one(model: ModelProto, *, seconds: float, **options: Any) -> Inference:
        session, pace = load(model), Pace()
        session.may_loop = session.may_loop and not options.pop("unnoticed", False)
        pace.ran(size_of(session.synthetic(0)), seconds)
        inference = Inference(
            session=session,
            model_name="m",
            model_version="",
            admission=options.pop("admission", Admission(concurrency_max=2, queue_max=0)),
            concurrency_max=2,
            metrics=Metrics({}),
            pace=pace,
            timeout_seconds=options.pop("timeout_seconds", 5.0),
            **options,
        )
        made.append(inference)
        return inference

    yield one
    for inference in made:
        inference.close()


def asking(inputs: dict[str, Array], output: str = "y", **changes: Any) -> InferRequest:
    return InferRequest(id=None, inputs=inputs, outputs=(RequestedOutput(name=output),), rows=1, **changes)


@pytest.fixture
def ran_in(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each run happened on the test's own thread."""
    where, run, here = list[bool](), Session.run, threading.get_ident()

    def watched(session: Session, *arguments: Any) -> list[Array]:
        where.append(threading.get_ident() == here)
        return run(session, *arguments)

    monkeypatch.setattr(Session, "run", watched)
    return where


@pytest.mark.parametrize(("seconds", "inline"), [(0.00001, True), (0.01, False)])
async def test_quick_models_run_inline_and_others_in_threads(
    make: Make, ran_in: list[bool], seconds: float, *, inline: bool
) -> None:
    noted = Noted()
    inference = make(onnx_models.identity("FP32", [None]), seconds=seconds, observers=[noted])
    (result,) = await inference.run(asking({"x": np.array([1.5], np.float32)}))
    assert result.tolist() == [1.5]
    assert ran_in == [inline]
    assert (noted.rows, noted.threads) == ([1], {threading.get_ident()})


async def test_a_model_that_loops_runs_in_threads_however_quick_it_was(make: Make, ran_in: list[bool]) -> None:
    inference = make(onnx_models.counter(), seconds=0.00001)
    await inference.run(asking({"rounds": np.array([1])}))
    assert ran_in == [False]


async def test_an_inline_run_that_goes_on_is_moved_to_a_thread_and_what_comes_next_too(
    make: Make, ran_in: list[bool]
) -> None:
    told = list[float]()
    inference = make(onnx_models.counter(), seconds=0.00001, timeout_seconds=0.3, ran_over=told.append, unnoticed=True)
    with pytest.raises(TimeoutError):
        await inference.run(asking({"rounds": np.array([2**60])}))
    await inference.run(asking({"rounds": np.array([1])}))
    assert ran_in == [True, False, False]
    assert told == [10.0]


async def test_an_inline_run_whose_whole_time_is_over_is_not_tried_again(make: Make, ran_in: list[bool]) -> None:
    inference = make(onnx_models.counter(), seconds=0.00001, unnoticed=True)
    with pytest.raises(TimeoutError):
        await inference.run(asking({"rounds": np.array([2**60])}, timeout_seconds=0.01))
    assert ran_in == [True]


async def test_a_client_can_ask_for_less_time_but_not_for_more(make: Make) -> None:
    inference = make(onnx_models.counter(), seconds=0.01, timeout_seconds=0.05)
    for seconds in (0.02, 3600.0):
        with pytest.raises(TimeoutError):
            await inference.run(asking({"rounds": np.array([2**60])}, timeout_seconds=seconds))


async def test_a_quick_request_waits_its_turn_behind_long_ones(make: Make) -> None:
    admission = Admission(concurrency_max=1, queue_max=0)
    await admission.acquire()
    inference = make(onnx_models.identity("FP32", [None]), seconds=0.00001, admission=admission)
    with pytest.raises(Overloaded):
        await inference.run(asking({"x": np.array([1.5], np.float32)}))


async def test_a_failed_run_is_told_to_no_observer(make: Make) -> None:
    noted = Noted()
    inference = make(onnx_models.lookup(), seconds=0.00001, observers=[noted])
    with pytest.raises(RunFailed, match="out of data bounds"):
        await inference.run(asking({"i": np.array([7])}))
    assert noted.rows == []


async def test_requests_of_a_batching_model_share_runs_and_everybody_is_observed(
    make: Make, ran_in: list[bool]
) -> None:
    noted = Noted()
    batching = Batching(rows_max=8, delay_seconds=0.0)
    inference = make(
        onnx_models.identity("FP32", [None]), seconds=0.0005, observers=[noted], timeout_seconds=0.5, batching=batching
    )
    assert inference.batches
    asked = (inference.run(asking({"x": np.array([number], np.float32)})) for number in range(3))
    assert [results[0].tolist() for results in await asyncio.gather(*asked)] == [[0.0], [1.0], [2.0]]
    assert len(ran_in) == 1
    assert noted.rows == [1, 1, 1]


async def test_a_model_quicker_than_bringing_requests_together_shares_no_runs(make: Make, ran_in: list[bool]) -> None:
    batching = Batching(rows_max=8, delay_seconds=0.0)
    inference = make(onnx_models.identity("FP32", [None]), seconds=0.00001, batching=batching)
    assert inference.run_now(asking({"x": np.array([1], np.float32)})) is not None
    assert ran_in == [True]


async def test_a_model_with_a_fixed_shape_does_not_batch(make: Make) -> None:
    batching = Batching(rows_max=8, delay_seconds=0.0)
    assert not make(onnx_models.identity("FP32", [2]), seconds=0.0005, batching=batching).batches
