"""From the body of an inference request to the status and body of its answer."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from penstock_server import protocol
from penstock_server.admission import Admission
from penstock_server.batching import Batcher, batchable
from penstock_server.metrics import Metrics
from penstock_server.observer import Observer
from penstock_server.pace import Pace, size_of
from penstock_server.protocol import Array, InferRequest, RequestDecoder, ResponseEncoder
from penstock_server.refusal import EXPECTED, refusal_of
from penstock_server.runner import Runner
from penstock_server.session import Session

#: A shorter run is over before several requests are brought together for it.
_SHARED_SECONDS_MIN = 0.00005


class Answer(NamedTuple):
    """An HTTP status and its body, of which ``json_bytes`` are JSON (None: all), and when to come back."""

    status: int
    body: bytes
    json_bytes: int | None = None
    retry_after_seconds: int | None = None


def refusal(status: int, message: str, *, retry_after_seconds: int | None = None) -> Answer:
    """Return an answer that carries an error."""
    return Answer(status, protocol.encode_error(message), retry_after_seconds=retry_after_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How many rows may share a run, and how long a request that has company may wait for more of it."""

    rows_max: int
    delay_seconds: float


class Inference:
    """Answers the requests for one model, each within its time, and tells observers.

    ``ran_over`` is told for how many seconds nothing runs on the event loop because one run took too
    long there.
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
        batching: Batching | None = None,
    ) -> None:
        self.session = session
        self._admission = admission
        self._timeout_seconds = timeout_seconds
        self._metrics = metrics
        self._observe_each = tuple(observer.observe for observer in observers)
        self._pace = pace or Pace()
        self._runner = Runner(
            session=session,
            admission=admission,
            concurrency_max=concurrency_max,
            pace=self._pace,
            ran=metrics.ran,
            ran_over=ran_over,
        )
        self._batcher: Batcher | None = None
        if batching is not None and batchable(session.inputs, session.outputs, row_by_row=session.row_by_row):
            self._batcher = Batcher(
                rows_max=batching.rows_max,
                delay_seconds=batching.delay_seconds,
                admission=admission,
                execute=self._run_batch,
                waited=metrics.waited,
            )
        self._decoder = RequestDecoder(session.inputs, session.outputs)
        self._encoder = ResponseEncoder(model_name=model_name, model_version=model_version, outputs=session.outputs)

    @property
    def batches(self) -> bool:
        """Whether requests may share runs."""
        return self._batcher is not None

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
            text, json_bytes = self._encoder.encode(request, results)
            return Answer(200, text, json_bytes)
        except EXPECTED as error:
            return self._refuse(error, request)

    async def answer_later(self, request: InferRequest) -> Answer:
        """Return the answer to a request that could not be answered now."""
        try:
            results = await self._run_later(request)
            return Answer(200, *self._encoder.encode(request, results))
        except EXPECTED as error:
            return self._refuse(error, request)

    async def answer_noted(
        self, body: bytes, json_bytes: int | None, note: Callable[[InferRequest, Sequence[Array]], None]
    ) -> Answer:
        """Return the answer to one request, as ``answer`` does, and tell ``note`` what was run."""
        request = None
        try:
            request = self._decoder.decode(body, json_bytes)
            results = await self.run(request)
            text, json_bytes = self._encoder.encode(request, results)
        except EXPECTED as error:
            return self._refuse(error, request)
        note(request, results)
        return Answer(200, text, json_bytes)

    async def run(self, request: InferRequest) -> list[Array]:
        """Run one request; raise Overloaded, TimeoutError, RunTerminated, InputRefused or RunFailed."""
        results = self.run_now(request)
        return await self._run_later(request) if results is None else results

    def run_now(self, request: InferRequest) -> list[Array] | None:
        """Run one request on this thread, or return None where it has to wait or would take long.

        Raises TimeoutError, InputRefused or RunFailed.
        """
        if not self._admission.free or (self._batcher is not None and self._worth_sharing(request)):
            return None
        # Here and below, what is asked with every request is written out: a call takes a tenth of a microsecond.
        hurry = request.timeout_seconds is not None
        results = self._runner.now(request, self.seconds_max(request) if hurry else self._timeout_seconds)
        if results is not None:
            for observe in self._observe_each:
                observe(request, results)
        return results

    async def _run_later(self, request: InferRequest) -> list[Array]:
        """Wait for a turn, alone or with others, and run; raise Overloaded, TimeoutError and what running raises."""
        async with asyncio.timeout(self.seconds_max(request)):
            if self._batcher is not None and self._batcher.takes(request):
                results = await self._batcher.run(request)
            else:
                asked = time.perf_counter()
                await self._admission.acquire()
                self._metrics.waited(time.perf_counter() - asked)
                results = await self._runner.with_turn(request)
        self._observe(request, results)
        return results

    def _worth_sharing(self, request: InferRequest) -> bool:
        """Return whether a run takes longer than bringing several requests together."""
        # A NaN (nothing known) is not below the limit either.
        return not self._pace.expected_seconds(size_of(request.inputs)) < _SHARED_SECONDS_MIN

    async def _run_batch(self, request: InferRequest) -> list[Array]:
        """Run what the batcher has put together."""
        results = self._runner.now(request, self._timeout_seconds) if self._admission.has_turn else None
        if results is not None:
            return results
        await self._admission.acquire_for_batch()
        return await self._runner.with_turn(request)

    def _observe(self, request: InferRequest, results: list[Array]) -> None:
        for observe in self._observe_each:
            observe(request, results)

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
        if self._batcher is not None:
            self._batcher.close()
        self._runner.cancel()

    def close(self) -> None:
        """End what still runs and let the threads go."""
        self._runner.close()
