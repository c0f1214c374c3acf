"""From the body of an inference request to the status and body of its answer."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from penstock_server import protocol
from penstock_server.admission import Admission, Overloaded
from penstock_server.metrics import Metrics
from penstock_server.protocol import Array, BadRequest, InferRequest, UnencodableOutput
from penstock_server.session import Cancellation, InputRefused, RunFailed, RunTerminated, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP status, its JSON body, and when to come back where that makes sense."""

    status: int
    body: bytes
    retry_after_seconds: int | None = None


def refusal(status: int, message: str, *, retry_after_seconds: int | None = None) -> Answer:
    """Return an answer that carries an error."""
    return Answer(status=status, body=protocol.encode_error(message), retry_after_seconds=retry_after_seconds)


class Inference:
    """Runs one model for many requests: a bounded number at once, each within its time."""

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
    ) -> None:
        self.session = session
        self._model_name = model_name
        self._model_version = model_version
        self._admission = admission
        self._timeout_seconds = timeout_seconds
        self._metrics = metrics
        self._executor = ThreadPoolExecutor(max_workers=concurrency_max, thread_name_prefix="run")
        self._running: set[Cancellation] = set()
        self._specs = {spec.name: spec for spec in session.outputs}

    async def answer(self, body: bytes) -> Answer:
        """Return the answer to one request; every error that a client or a model can cause is one."""
        try:
            request = protocol.decode_request(body, self.session.inputs, self.session.outputs)
            results = await self._run_in_turn(request)
            outputs = [(self._specs[name], array) for name, array in zip(request.outputs, results, strict=True)]
            return Answer(
                status=200,
                body=protocol.encode_response(
                    model_name=self._model_name,
                    model_version=self._model_version,
                    request_id=request.id,
                    outputs=outputs,
                ),
            )
        except BadRequest as error:
            self._metrics.rejected("bad_request")
            return refusal(400, str(error))
        except InputRefused as error:
            self._metrics.rejected("bad_request")
            return refusal(400, f"the model does not take these inputs: {error}")
        except Overloaded as error:
            self._metrics.rejected("overloaded")
            return refusal(429, f"overloaded: {error}; try again later", retry_after_seconds=1)
        except (TimeoutError, RunTerminated):
            return refusal(
                504, f"no result within {self._timeout_seconds:g} s, waiting included; what ran was terminated"
            )
        except (RunFailed, UnencodableOutput) as error:
            return refusal(500, f"the model failed: {error}")

    async def _run_in_turn(self, request: InferRequest) -> list[Array]:
        """Wait for a turn and run; raise Overloaded, TimeoutError and what Session.run raises."""
        async with asyncio.timeout(self._timeout_seconds):
            await self._admission.acquire()
            cancellation = Cancellation()
            self._running.add(cancellation)
            run = asyncio.get_running_loop().run_in_executor(self._executor, self._run, request, cancellation)

            def finished(done: asyncio.Future[list[Array]]) -> None:
                # The turn ends when the thread does, which may be after its 504 was sent.
                self._running.discard(cancellation)
                self._admission.release()
                if not done.cancelled():
                    done.exception()  # so that one which nobody waits for any more is not reported as lost

            run.add_done_callback(finished)
            try:
                return await asyncio.shield(run)
            except asyncio.CancelledError:
                cancellation.cancel()
                raise

    def _run(self, request: InferRequest, cancellation: Cancellation) -> list[Array]:
        started = time.perf_counter()
        results = self.session.run(request.outputs, request.inputs, cancellation)
        self._metrics.ran(time.perf_counter() - started, request.rows)
        return results

    def cancel(self) -> None:
        """End what runs now; who waits for it is answered with 504."""
        for cancellation in tuple(self._running):
            cancellation.cancel()

    def close(self) -> None:
        """End what still runs and let the threads go."""
        self.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)
