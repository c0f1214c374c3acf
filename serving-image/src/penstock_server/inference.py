"""From the body of an inference request to the status and body of its answer."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from penstock_server import protocol
from penstock_server.admission import Admission
from penstock_server.metrics import Metrics
from penstock_server.observer import Observer
from penstock_server.pace import Pace
from penstock_server.protocol import Array, InferRequest, RequestDecoder, ResponseEncoder
from penstock_server.refusal import EXPECTED, refusal_of
from penstock_server.session import Cancellation, Session
from penstock_server.watchdog import RanOver, Watchdog


class Answer(NamedTuple):
    """An HTTP status and its body, of which ``json_bytes`` are JSON (None: all), and when to come back."""

    status: int
    body: bytes
    json_bytes: int | None = None
    retry_after_seconds: int | None = None


def refusal(status: int, message: str, *, retry_after_seconds: int | None = None) -> Answer:
    """Return an answer that carries an error."""
    return Answer(status, protocol.encode_error(message), retry_after_seconds=retry_after_seconds)


class _Ran(NamedTuple):
    """What a run in a thread gave, how long it took, and how long it would have kept the event loop."""

    results: list[Array]
    seconds: float
    busy_seconds: float


class Inference:
    """Runs one model for many requests: a bounded number at once, each within its time.

    Short runs happen on the event loop's thread, others in threads of their own; ``pace`` knows which.
    ``ran_over`` is told for how many seconds nothing runs inline because one run took too long there.
    """

    def __init__(
        self,
        *,
        session: Session,
        model_name: str,
        model_version: str,
        admission: Admission,
        concurrency_max: int,
        timeout_seconds: float,
        metrics: Metrics,
        observers: Sequence[Observer] = (),
        pace: Pace | None = None,
        ran_over: Callable[[float], None] | None = None,
    ) -> None:
        self.session = session
        self._admission = admission
        self._timeout_seconds = timeout_seconds
        self._metrics = metrics
        self._observers = tuple(observers)
        self._pace = pace or Pace()
        self._ran_over = ran_over
        # What it took last time says nothing about a model that loops as often as its inputs say.
        self._may_be_inline = not session.may_loop
        self._watchdog = Watchdog(session)
        self._executor = ThreadPoolExecutor(max_workers=concurrency_max, thread_name_prefix="run")
        self._running: set[Cancellation] = set()
        self._decoder = RequestDecoder(session.inputs, session.outputs)
        self._encoder = ResponseEncoder(model_name=model_name, model_version=model_version, outputs=session.outputs)

    async def answer(self, body: bytes, json_bytes: int | None = None) -> Answer:
        """Return the answer to one request; every error that a client or a model can cause is one."""
        answer = self.answer_now(body, json_bytes)
        return await self.answer_later(answer) if isinstance(answer, InferRequest) else answer

    def answer_now(self, body: bytes, json_bytes: int | None) -> Answer | InferRequest:
        """Return the answer, or the request that has to be answered later because it waits or runs long."""
        request = None
        try:
            request = self._decoder.decode(body, json_bytes)
            results = self.run_now(request)
            if results is None:
                return request
            return Answer(200, *self._encoder.encode(request, results))
        except EXPECTED as error:
            return self._refuse(error, request)

    async def answer_later(self, request: InferRequest) -> Answer:
        """Return the answer to a request that could not be answered now."""
        try:
            results = await self._run_in_turn(request)
            return Answer(200, *self._encoder.encode(request, results))
        except EXPECTED as error:
            return self._refuse(error, request)

    async def run(self, request: InferRequest) -> list[Array]:
        """Run one request; raise Overloaded, TimeoutError, RunTerminated, InputRefused or RunFailed."""
        results = self.run_now(request)
        return await self._run_in_turn(request) if results is None else results

    def run_now(self, request: InferRequest) -> list[Array] | None:
        """Run one request on this thread, or return None where it has to wait or would take long.

        Raises TimeoutError, InputRefused or RunFailed.
        """
        if not self._may_be_inline or not self._admission.free or not self._pace.inline(request.inputs):
            return None
        started = time.perf_counter()
        seconds_max = self.seconds_max(request)
        try:
            results = self._watchdog.run(request.output_names, request.inputs, started=started, seconds_max=seconds_max)
        except RanOver:
            seconds = self._pace.ran_over()
            if self._ran_over is not None:
                self._ran_over(seconds)
            if time.perf_counter() - started >= seconds_max:
                raise TimeoutError from None
            return None  # a thread may try again, for longer
        seconds = time.perf_counter() - started
        self._ran(request, results, seconds, seconds)
        return results

    async def _run_in_turn(self, request: InferRequest) -> list[Array]:
        """Wait for a turn and run in a thread; raise Overloaded, TimeoutError and what Session.run raises."""
        async with asyncio.timeout(self.seconds_max(request)):
            await self._admission.acquire()
            cancellation = Cancellation()
            self._running.add(cancellation)
            run = asyncio.get_running_loop().run_in_executor(self._executor, self._timed_run, request, cancellation)

            def finished(done: asyncio.Future[_Ran]) -> None:
                # The turn ends when the thread does, which may be after its 504 was sent.
                self._running.discard(cancellation)
                self._admission.release()
                if not done.cancelled():
                    done.exception()  # so that one which nobody waits for any more is not reported as lost

            run.add_done_callback(finished)
            try:
                ran = await asyncio.shield(run)
            except asyncio.CancelledError:
                cancellation.cancel()
                raise
        self._ran(request, ran.results, ran.seconds, ran.busy_seconds)
        return ran.results

    def _timed_run(self, request: InferRequest, cancellation: Cancellation) -> _Ran:
        started, busy = time.perf_counter(), time.thread_time()
        results = self.session.run(request.output_names, request.inputs, cancellation)
        return _Ran(results, time.perf_counter() - started, time.thread_time() - busy)

    def _ran(self, request: InferRequest, results: list[Array], seconds: float, busy_seconds: float) -> None:
        self._pace.ran(request.inputs, busy_seconds)
        self._metrics.ran(seconds, request.rows)
        for observer in self._observers:
            observer.observe(request, results)

    def seconds_max(self, request: InferRequest | None) -> float:
        """Return how long a request may take, waiting included."""
        wanted = None if request is None else request.timeout_seconds
        return self._timeout_seconds if wanted is None else min(wanted, self._timeout_seconds)

    def _refuse(self, error: Exception, request: InferRequest | None) -> Answer:
        refused = refusal_of(error, seconds_max=self.seconds_max(request))
        if refused.rejected is not None:
            self._metrics.rejected(refused.rejected)
        return refusal(refused.status, refused.message, retry_after_seconds=refused.retry_after_seconds)

    def cancel(self) -> None:
        """End what runs now; who waits for it is answered with 504."""
        for cancellation in tuple(self._running):
            cancellation.cancel()

    def close(self) -> None:
        """End what still runs and let the threads go."""
        self.cancel()
        self._watchdog.close()
        self._executor.shutdown(wait=True, cancel_futures=True)
