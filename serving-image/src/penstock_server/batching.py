"""Adaptive batching: requests that come while a run is in progress share the next one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from penstock_server.admission import Admission
from penstock_server.protocol import Array, InferRequest, TensorSpec
from penstock_server.session import InputRefused, RunFailed, RunTerminated

#: Runs a request that is made of several, and ends the run when it is cancelled.
Execute = Callable[[InferRequest], Awaitable[list[Array]]]


@dataclass(slots=True, kw_only=True, eq=False)
class _Member:
    """A request that waits for its results since ``arrived``; those of one ``kind`` may share a run.

    ``queued``: it waits for the end of a run, and counts among those of whom only so many may.
    """

    request: InferRequest
    kind: Hashable
    arrived: float
    queued: bool
    results: asyncio.Future[list[Array]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def batchable(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, row_by_row: bool) -> bool:
    """Return whether the rows of several requests may be run as one: each tensor's first dimension must be open."""
    return row_by_row and bool(inputs) and all(spec.shape[:1] == (-1,) for spec in (*inputs, *outputs))


class Batcher:
    """Runs requests together, at most ``rows_max`` rows and one run at a time.

    Who comes while nothing runs is run at once, together with who came in the same turn of the event
    loop. Who comes during a run waits for its end. Only after a run of several requests, which shows
    that there is company, is more of it waited for, at most ``delay_seconds``. ``waited`` is told how
    long each request has waited for its run.
    """

    def __init__(
        self,
        *,
        rows_max: int,
        delay_seconds: float,
        admission: Admission,
        execute: Execute,
        waited: Callable[[float], None],
    ) -> None:
        self._rows_max = rows_max
        self._delay_seconds = delay_seconds
        self._admission = admission
        self._execute = execute
        self._waited = waited
        self._waiting: list[_Member] = []
        self._members: Sequence[_Member] = ()
        self._worker: asyncio.Task[None] | None = None
        self._executing: asyncio.Task[list[Array]] | None = None
        self._full = asyncio.Event()
        self._unfit = False

    def takes(self, request: InferRequest) -> bool:
        """Return whether a request can share a run: it has rows, the same number in all inputs, and not too many."""
        if self._unfit or not 0 < request.rows < self._rows_max:
            return False
        return all(array.ndim and array.shape[0] == request.rows for array in request.inputs.values())

    async def run(self, request: InferRequest) -> list[Array]:
        """Return the results of a request that ``takes`` took; raise Overloaded and what running raises."""
        queued = bool(self._members)
        if queued:
            self._admission.join_queue()
        member = _Member(request=request, kind=_kind(request), arrived=time.perf_counter(), queued=queued)
        self._waiting.append(member)
        if self._worker is None:
            # It begins in the next turn of the loop, after everybody whose request has arrived by now.
            self._worker = asyncio.get_running_loop().create_task(self._work())
        elif self._rows_waiting() >= self._rows_max:
            self._full.set()
        try:
            return await member.results
        finally:
            self._leave(member)

    def close(self) -> None:
        """Turn everybody away who still waits."""
        if self._worker is not None:
            self._worker.cancel()
        waiting, self._waiting = self._waiting, []
        for member in waiting:
            self._dequeue(member)
        for member in (*waiting, *self._members):
            _fail(member, RunTerminated("the server is ending"))

    async def _work(self) -> None:
        try:
            company = False
            while self._waiting:
                if company and self._delay_seconds and self._rows_waiting() < self._rows_max:
                    await self._wait_for_more()
                    if not self._waiting:
                        break  # everybody has left
                members = self._take()
                company = len(members) > 1
                await self._run(members)
                self._members = ()
        finally:
            self._worker, self._members = None, ()

    async def _wait_for_more(self) -> None:
        self._full.clear()
        try:
            async with asyncio.timeout(self._delay_seconds):
                await self._full.wait()
        except TimeoutError:
            return

    def _take(self) -> list[_Member]:
        """Return who runs next: the first, and those after it who fit."""
        taken: list[_Member] = []
        rest: list[_Member] = []
        rows = 0
        for member in self._waiting:
            fits = not taken or (member.kind == taken[0].kind and rows + member.request.rows <= self._rows_max)
            (taken if fits else rest).append(member)
            rows += member.request.rows if fits else 0
        self._waiting = rest
        now = time.perf_counter()
        for member in taken:
            self._dequeue(member)
            self._waited(now - member.arrived)
        return taken

    async def _run(self, members: Sequence[_Member]) -> None:
        self._members = members
        try:
            results = await self._executed(_merged(members))
        except (InputRefused, RunFailed) as error:
            if len(members) == 1:
                _fail(members[0], error)
                return
            # One of them is to blame; the others must not notice.
            for member in members:
                if not member.results.done():
                    await self._run([member])
        except asyncio.CancelledError:
            if any(not member.results.done() for member in members):
                raise  # the server ends
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits to be told
            for member in members:
                _fail(member, error)
        else:
            await self._share(members, results)

    async def _executed(self, request: InferRequest) -> list[Array]:
        self._executing = asyncio.ensure_future(self._execute(request))
        try:
            return await self._executing
        finally:
            self._executing = None

    async def _share(self, members: Sequence[_Member], results: Sequence[Array]) -> None:
        rows = sum(member.request.rows for member in members)
        if len(members) > 1 and any(not array.ndim or array.shape[0] != rows for array in results):
            # It takes rows together and does not answer them one by one: nobody shares a run from now on.
            self._unfit = True
            for member in members:
                await self._run([member])
            return
        begin = 0
        for member in members:
            end = begin + member.request.rows
            if not member.results.done():
                whole = len(members) == 1
                member.results.set_result(list(results) if whole else [array[begin:end] for array in results])
            begin = end

    def _leave(self, member: _Member) -> None:
        """Forget somebody who waits no longer; a run that nobody waits for any more is ended."""
        if member in self._waiting:
            self._waiting.remove(member)
            self._dequeue(member)
        elif self._executing is not None and all(one.results.done() for one in self._members):
            self._executing.cancel()

    def _dequeue(self, member: _Member) -> None:
        if member.queued:
            member.queued = False
            self._admission.leave_queue()

    def _rows_waiting(self) -> int:
        return sum(member.request.rows for member in self._waiting)


def _kind(request: InferRequest) -> Hashable:
    """Return what requests must have in common to share a run."""
    shapes = tuple((name, array.shape[1:], array.dtype.char) for name, array in sorted(request.inputs.items()))
    return shapes, request.output_names


def _merged(members: Sequence[_Member]) -> InferRequest:
    first = members[0].request
    if len(members) == 1:
        return first
    inputs = {
        name: np.concatenate([member.request.inputs[name] for member in members], axis=0) for name in first.inputs
    }
    rows = sum(member.request.rows for member in members)
    return InferRequest(id=None, inputs=inputs, outputs=first.outputs, rows=rows)


def _fail(member: _Member, error: Exception) -> None:
    if not member.results.done():
        member.results.set_exception(error)
