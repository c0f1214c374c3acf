"""Requests that share runs: who does, who does not, and that nobody notices the others."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.admission import Admission, Overloaded
from penstock_server.batching import Batcher, batchable
from penstock_server.protocol import Array, InferRequest, RequestedOutput, TensorSpec
from penstock_server.session import RunFailed, RunTerminated

WIDTH = 2


@dataclass
class Model:
    """Doubles its rows; a run lasts until the test opens the gate, and a row of -1 fails."""

    runs: list[int] = field(default_factory=list)
    ended: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    answers_rows: bool = True

    async def execute(self, request: InferRequest) -> list[Array]:
        self.runs.append(request.rows)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        rows = request.inputs["x"]
        if (rows == -1).any():
            raise RunFailed("no -1 please")
        return [rows * 2] if self.answers_rows else [rows.sum(axis=0)]


@dataclass
class Rig:
    model: Model
    admission: Admission
    batcher: Batcher
    waits: list[float]

    def ask(self, *rows: float, width: int = WIDTH, output: str = "y") -> "asyncio.Task[list[float]]":
        async def results() -> list[float]:
            inputs = {"x": np.repeat(np.array(rows, np.float32)[:, None], width, axis=1)}
            request = InferRequest(id=None, inputs=inputs, outputs=(RequestedOutput(name=output),), rows=len(rows))
            assert self.batcher.takes(request)
            (answered,) = await self.batcher.run(request)
            return [float(row[0]) for row in answered]

        return asyncio.ensure_future(results())


def make(*, rows_max: int = 8, delay_seconds: float = 0.0, queue_max: int = 100, opened: bool = False) -> Rig:
    model, waits = Model(), list[float]()
    if opened:
        model.gate.set()
    admission = Admission(concurrency_max=4, queue_max=queue_max)
    batcher = Batcher(
        rows_max=rows_max,
        delay_seconds=delay_seconds,
        admission=admission,
        execute=model.execute,
        waited=waits.append,
    )
    return Rig(model, admission, batcher, waits)


async def turns(count: int = 5) -> None:
    """Let everything happen that needs no more than to be let."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_lone_request_runs_at_once_even_where_waiting_is_allowed() -> None:
    rig = make(delay_seconds=3600, opened=True)
    assert await asyncio.wait_for(rig.ask(1, 2), 1) == [2, 4]
    assert await asyncio.wait_for(rig.ask(3), 1) == [6]
    assert rig.model.runs == [2, 1]


async def test_requests_of_one_turn_of_the_loop_share_a_run() -> None:
    rig = make(opened=True)
    assert list(await asyncio.gather(rig.ask(1), rig.ask(2, 3), rig.ask(4))) == [[2], [4, 6], [8]]
    assert rig.model.runs == [4]
    assert len(rig.waits) == 3


async def test_who_comes_during_a_run_shares_the_next_one() -> None:
    rig = make()
    first = rig.ask(1)
    await turns()
    others = [rig.ask(number) for number in (2, 3, 4)]
    await turns()
    assert (rig.model.runs, rig.admission.queued) == ([1], 3)
    rig.model.gate.set()
    assert list(await asyncio.gather(first, *others)) == [[2], [4], [6], [8]]
    assert rig.model.runs == [1, 3]
    assert rig.admission.queued == 0


async def test_no_run_has_more_rows_than_allowed() -> None:
    rig = make(rows_max=4, opened=True)
    answers: list[Any] = list(await asyncio.gather(*(rig.ask(number, number) for number in range(5))))
    assert answers == [[2 * number] * 2 for number in range(5)]
    assert rig.model.runs == [4, 4, 2]


async def test_other_shapes_and_other_outputs_never_share_a_run() -> None:
    rig = make(opened=True)
    answers: list[Any] = list(await asyncio.gather(rig.ask(1), rig.ask(2, width=3), rig.ask(3, output="z"), rig.ask(4)))
    assert answers == [[2], [4], [6], [8]]
    assert sorted(rig.model.runs) == [1, 1, 2]


async def test_one_that_fails_fails_alone() -> None:
    rig = make(opened=True)
    answers: list[Any] = list(await asyncio.gather(rig.ask(1), rig.ask(-1), rig.ask(3), return_exceptions=True))
    assert (answers[0], answers[2]) == ([2], [6])
    assert isinstance(answers[1], RunFailed)
    assert rig.model.runs == [3, 1, 1, 1]


async def test_who_leaves_while_waiting_is_not_run() -> None:
    rig = make()
    first = rig.ask(1)
    await turns()
    leaving, staying = rig.ask(2), rig.ask(3)
    await turns()
    leaving.cancel()
    await turns()
    assert rig.admission.queued == 1
    rig.model.gate.set()
    assert list(await asyncio.gather(first, staying)) == [[2], [6]]
    assert rig.model.runs == [1, 1]


async def test_a_run_goes_on_while_somebody_waits_for_it_and_ends_when_nobody_does() -> None:
    rig = make()
    leaving = [rig.ask(1), rig.ask(2)]
    await turns()
    leaving[0].cancel()
    await turns()
    assert rig.model.ended == 0
    leaving[1].cancel()
    await turns()
    assert rig.model.ended == 1
    rig.model.gate.set()
    assert await rig.ask(5) == [10]


async def test_where_nobody_may_wait_an_idle_model_still_answers() -> None:
    rig = make(queue_max=0, opened=True)
    assert list(await asyncio.gather(rig.ask(1), rig.ask(2))) == [[2], [4]]
    assert await rig.ask(3) == [6]


async def test_a_full_queue_turns_away() -> None:
    rig = make(queue_max=2)
    running = rig.ask(1)
    await turns()
    waiting = [rig.ask(2), rig.ask(3)]
    await turns()
    with pytest.raises(Overloaded, match="2 wait already"):
        await rig.ask(4)
    rig.model.gate.set()
    assert list(await asyncio.gather(running, *waiting)) == [[2], [4], [6]]


async def test_after_company_more_of_it_is_waited_for_but_not_beyond_the_allowed_time() -> None:
    rig = make(rows_max=4, delay_seconds=0.02)
    first = rig.ask(1)
    await turns()
    second = [rig.ask(2), rig.ask(3)]
    await turns()
    rig.model.gate.set()
    await asyncio.gather(first, *second)
    rig.model.gate.clear()
    crowd = [rig.ask(4), rig.ask(5)]
    await turns()
    late = rig.ask(6)
    await turns()
    rig.model.gate.set()
    assert list(await asyncio.wait_for(asyncio.gather(*crowd, late), 2)) == [[8], [10], [12]]
    assert rig.model.runs[:2] == [1, 2]
    assert sum(rig.model.runs) == 6


async def test_a_model_that_adds_rows_up_shares_no_more_runs_and_answers_right() -> None:
    rig = make(opened=True)
    rig.model.answers_rows = False
    request = InferRequest(
        id=None, inputs={"x": np.ones((1, WIDTH), np.float32)}, outputs=(RequestedOutput(name="y"),), rows=1
    )
    answers: list[Any] = list(await asyncio.gather(*(rig.batcher.run(request) for _ in range(3))))
    assert [answer[0].tolist() for answer in answers] == [[1.0, 1.0]] * 3
    assert not rig.batcher.takes(request)


async def test_a_server_that_ends_turns_everybody_away() -> None:
    rig = make()
    asked = [rig.ask(1)]
    await turns()
    asked.append(rig.ask(2))
    await turns()
    rig.batcher.close()
    answers: list[Any] = list(await asyncio.gather(*asked, return_exceptions=True))
    assert [type(answer) for answer in answers] == [RunTerminated, RunTerminated]
    assert (rig.model.ended, rig.admission.queued) == (1, 0)


SHAPES: list[tuple[dict[str, tuple[int, ...]], bool]] = [
    ({"a": (-1, 2), "b": (-1,)}, True),
    ({"a": (-1, 2), "b": (3,)}, False),
    ({"a": (-1, 2), "b": ()}, False),
    ({"a": (-1, 2), "b": (2, -1)}, False),
]


@pytest.mark.parametrize(("tensors", "fits"), SHAPES)
def test_only_models_whose_tensors_all_have_open_rows_can_share(
    tensors: dict[str, tuple[int, ...]], *, fits: bool
) -> None:
    specs = [TensorSpec(name=name, datatype="FP32", shape=shape) for name, shape in tensors.items()]
    assert batchable(specs, specs[:1], row_by_row=True) is fits
    assert batchable(specs[:1], specs, row_by_row=True) is fits
    assert not batchable(specs, specs, row_by_row=False)


@pytest.mark.parametrize("shape", [(0, 2), (8, 2), (3, 2)])
def test_requests_without_rows_too_large_ones_and_uneven_ones_go_alone(shape: tuple[int, int]) -> None:
    async def asked() -> bool:
        inputs = {"a": np.zeros(shape, np.float32), "b": np.zeros((shape[0] + shape[0] % 2, 1), np.float32)}
        return make().batcher.takes(InferRequest(id=None, inputs=inputs, outputs=(), rows=shape[0]))

    assert asyncio.run(asked()) is False


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=30), st.integers(2, 9))
def test_everybody_gets_the_answer_to_their_own_rows(asked: list[tuple[int, int]], rows_max: int) -> None:
    async def scenario() -> None:
        rig = make(rows_max=rows_max, opened=True)
        waiting = []
        for number, (rows, pause) in enumerate(asked):
            values = [float(number * 10 + row) for row in range(min(rows, rows_max - 1))]
            waiting.append((values, rig.ask(*values, width=1 + number % 2)))
            await turns(pause)
        for values, answer in waiting:
            assert await answer == [2 * value for value in values]
        assert max(rig.model.runs) <= rows_max
        assert rig.admission.queued == 0

    asyncio.run(scenario())
