"""Runs a model: on the event loop's thread where that is short, in a thread of its own where it is not."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, thread_time
from typing import NamedTuple

from penstock_server.admission import Admission
from penstock_server.pace import Pace, size_of
from penstock_server.protocol import Array, InferRequest, RequestedOutput
from penstock_server.session import Cancellation, Session
from penstock_server.watchdog import RanOver, Watchdog


class _Outcome(NamedTuple):
    """What a run in a thread gave, how long it took, and how long it would have kept the event loop."""

    results: list[Array]
    seconds: float
    busy_seconds: float


#: Told of each run that came to its end: its seconds, and the rows in it.
Ran = Callable[[float, int], None]


class Runner:
    """Runs one model, for at most ``concurrency_max`` requests at once.

    ``ran`` is told of each run, ``ran_over`` for how many seconds nothing runs inline because one took too long there.
    """

    def __init__(
        self,
        *,
        session: Session,
        admission: Admission,
        concurrency_max: int,
        pace: Pace,
        ran: Ran,
        ran_over: Callable[[float], None] | None,
    ) -> None:
        self._session = session
        self._admission = admission
        self._pace = pace
        self._ran = ran
        self._ran_over = ran_over
        # What it took last time says nothing about a model that loops as often as its inputs say.
        self._may_be_inline = not session.may_loop
        self._watchdog = Watchdog(session)
        self._executor = ThreadPoolExecutor(max_workers=concurrency_max, thread_name_prefix="run")
        self._running: set[Cancellation] = set()
        self._outputs: tuple[RequestedOutput, ...] = ()
        self._names: tuple[str, ...] = ()

    def now(self, request: InferRequest, seconds_max: float) -> list[Array] | None:
        """Run it on this thread, or return None where that would take long; somebody must have looked for a turn.

        Raises TimeoutError, InputRefused or RunFailed.
        """
        size = size_of(request.inputs)
        pace = self._pace
        if not self._may_be_inline or not pace.inline(size):
            return None
        if request.outputs is not self._outputs:
            # Nearly all requests want the same outputs, and share one tuple of them.
            self._outputs, self._names = request.outputs, request.output_names
        started = perf_counter()
        try:
            results = self._watchdog.run(self._names, request.inputs, started, seconds_max)
        except RanOver:
            penalty_seconds = pace.ran_over()
            if self._ran_over is not None:
                self._ran_over(penalty_seconds)
            if perf_counter() - started >= seconds_max:
                raise TimeoutError from None
            return None  # a thread may try again, for longer
        seconds = perf_counter() - started
        pace.ran(size, seconds)
        self._ran(seconds, request.rows)
        return results

    async def with_turn(self, request: InferRequest) -> list[Array]:
        """Run it in a thread, with a turn that the caller has acquired; cancelled: end the run.

        The turn is given back when the thread is done with it, which may be after its 504 was sent.
        """
        cancellation = Cancellation()
        self._running.add(cancellation)
        run = asyncio.get_running_loop().run_in_executor(self._executor, self._run, request, cancellation)

        def finished(done: asyncio.Future[_Outcome]) -> None:
            self._running.discard(cancellation)
            self._admission.release()
            if not done.cancelled():
                done.exception()  # so that one which nobody waits for any more is not reported as lost

        run.add_done_callback(finished)
        try:
            outcome = await asyncio.shield(run)
        except asyncio.CancelledError:
            cancellation.cancel()
            raise
        self._pace.ran(size_of(request.inputs), outcome.busy_seconds)
        self._ran(outcome.seconds, request.rows)
        return outcome.results

    def cancel(self) -> None:
        """End what runs now."""
        for cancellation in tuple(self._running):
            cancellation.cancel()

    def close(self) -> None:
        """End what still runs and let the threads go."""
        self.cancel()
        self._watchdog.close()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self, request: InferRequest, cancellation: Cancellation) -> _Outcome:
        started, busy = perf_counter(), thread_time()
        results = self._session.run(request.output_names, request.inputs, cancellation)
        return _Outcome(results, perf_counter() - started, thread_time() - busy)
