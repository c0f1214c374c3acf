"""CPU time per request inside the server's own code: bytes in, bytes out, without sockets, clients or other processes.

    python -m benchmarks.serving.cost [--dialects json,binary,grpc] [--rounds 15] [--no-profile] [--profile 40]

A connection's ``data_received`` is given whole requests, and its answer is taken by a transport that only keeps it.
The fastest of many short rounds is what the code costs: other processes can only make a round slower. What the kernel
and the event loop add (a receive, a write, a share of a poll; about 20 µs) is not in it.
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from benchmarks.serving import wire
from benchmarks.serving.contenders import reference_profile
from benchmarks.serving.environments import CACHE
from benchmarks.serving.h2 import Http2Calls
from benchmarks.serving.models import Subject, subjects

from penstock_contract.environment import ServingEnvironment
from penstock_server.admission import Admission
from penstock_server.app import ModelServer
from penstock_server.descriptions import Identity
from penstock_server.grpc_service.listener import GrpcListener
from penstock_server.grpc_service.service import InferenceService
from penstock_server.inference import Inference
from penstock_server.lifecycle import Event, Lifecycle
from penstock_server.metrics import Metrics
from penstock_server.observation import Observation
from penstock_server.outputs_ring import OutputsRing
from penstock_server.pace import Pace, size_of
from penstock_server.session import Cancellation, Session

_DIALECTS = {"json": wire.V2_JSON, "binary": wire.V2_BINARY, "grpc": wire.V2_GRPC}
_REQUESTS = 400


def _say(event: str, **fields: Any) -> None:
    if event.endswith(("error", "failed", "unusable")):
        raise SystemExit(f"{event}: {fields}")


class _Transport:
    """Takes answers and forgets them."""

    def __init__(self) -> None:
        self.written = 0
        self.last = b""

    def write(self, data: bytes) -> None:
        self.written += 1
        self.last = data

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1)}.get(name, default)

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Bench:
    """The parts of a server that a request passes, put together as the server does."""

    def __init__(self, subject: Subject, folder: Path, *, profile: bool, clear: bool) -> None:
        self._subject = subject
        path = str(reference_profile(Path(sys.executable), subject, folder)) if profile else ""
        self._serving = ServingEnvironment(
            model_name=wire.MODEL_NAME, revision="bench-1", namespace="bench", model_path=str(subject.path),
            profile_path=path,
        )  # fmt: skip
        self._clear = clear
        self._ends: tuple[Callable[[], None], ...] = ()

    async def start(self) -> None:
        """Load the model and be ready."""
        session = Session.load(self._subject.path, threads=1)
        metrics = Metrics({"revision": "bench-1"})
        lifecycle = Lifecycle()
        identity = Identity(model_name=wire.MODEL_NAME, model_version="", server_version="0")
        model_server = ModelServer(
            identity=identity, lifecycle=lifecycle, metrics=metrics, max_connection_age_seconds=3600
        )
        self._web = model_server.web_server(_say)
        pace = Pace()
        warm = session.warm_up(Cancellation())
        pace.ran(size_of(session.synthetic(0)), warm.run_seconds or 1.0)
        observation = Observation(
            serving=self._serving, inputs=session.inputs, outputs=session.outputs, errors=metrics.errors, log=_say
        )
        inference = Inference(
            session=session, model_name=wire.MODEL_NAME, model_version="",
            admission=Admission(concurrency_max=64, queue_max=256), concurrency_max=64, timeout_seconds=30,
            metrics=metrics, observers=() if self._clear else observation.observers, pace=pace,
        )  # fmt: skip
        model_server.serve_with(inference)
        service = InferenceService(identity=identity, lifecycle=lifecycle, metrics=metrics, noted=OutputsRing())
        service.serve_with(inference)
        self._grpc = GrpcListener(
            service, call_seconds_max=30, connection_seconds_max=3600, unfinished=model_server.unfinished, log=_say
        )
        lifecycle.handle(Event.LOADED)
        gc.freeze()
        observation.start()
        self._ends = (observation.close, inference.close, gc.unfreeze)

    def close(self) -> None:
        """End its threads."""
        for end in self._ends:
            end()

    def connection(self, dialect: wire.Dialect, rows: int) -> "Requester":
        """Return what sends one request again and again over a connection of its own."""
        request = dialect.ask(self._subject.input_name, self._subject.rows[:rows])
        if not dialect.grpc_path:
            return Requester(self._web(), lambda _: request)
        sent: list[bytes] = []
        calls = Http2Calls(path=dialect.grpc_path, message=request, write=sent.append)

        def next_call(answer: bytes) -> bytes:
            if answer:
                calls.feed(answer)
            calls.call()
            data = b"".join(sent)
            sent.clear()
            return data

        return Requester(self._grpc.connection(), next_call)


class Requester:
    """One connection in a closed loop."""

    def __init__(self, protocol: Any, request: Callable[[bytes], bytes]) -> None:
        self._transport = _Transport()
        self._protocol = protocol
        self._request = request
        protocol.connection_made(self._transport)

    def ready(self) -> bytes:
        """Return the next request, made from the last answer where the protocol needs that."""
        return self._request(self._transport.last)

    def __call__(self, request: bytes) -> None:
        """Send it."""
        self._transport.last = b""
        self._protocol.data_received(request)

    def answer(self) -> bytes:
        """Return what came back last."""
        return self._transport.last

    async def answered(self) -> None:
        """Wait for the answer, where it was not written at once."""
        while not self._transport.last:  # noqa: ASYNC110 - an event would cost what is to be measured
            await asyncio.sleep(0)


async def measured(bench: Bench, dialect: wire.Dialect, rows: int, *, connections: int, rounds: int) -> float:
    """Return the CPU microseconds of the process for one request, in the fastest round."""
    requesters = [bench.connection(dialect, rows) for _ in range(connections)]
    await asyncio.sleep(0)
    best = float("inf")
    for number in range(rounds + 2):
        spent = 0.0
        for _ in range(_REQUESTS // connections):
            requests = [one.ready() for one in requesters]
            started = time.process_time()
            for one, request in zip(requesters, requests, strict=True):
                one(request)
            await asyncio.sleep(0)
            for one in requesters:
                await one.answered()
            spent += time.process_time() - started
        if number >= 2:  # the first rounds fill caches
            best = min(best, spent)
    return best / (_REQUESTS // connections * connections) * 1e6


async def run(options: argparse.Namespace) -> None:
    """Print the table, or the profile."""
    subject_names = {"gbm-1": ("gbm", 1), "gbm-32": ("gbm", 32), "mlp": ("mlp", 1)}
    found = subjects(CACHE)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            subject, rows = subject_names[name]
            bench = Bench(found[subject], Path(folder), profile=not options.no_profile, clear=options.no_count)
            await bench.start()
            await asyncio.sleep(0.3)
            for dialect in options.dialects.split(","):
                profiler = cProfile.Profile() if options.profile else None
                if profiler:
                    profiler.enable()
                cost = await measured(
                    bench, _DIALECTS[dialect], rows, connections=options.connections, rounds=options.rounds
                )
                if profiler:
                    profiler.disable()
                    pstats.Stats(profiler).sort_stats("tottime").print_stats(options.profile)
                print(f"{name:8} {dialect:8} {cost:7.1f} µs", flush=True)
            bench.close()


def main() -> None:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="gbm-1,gbm-32,mlp")
    parser.add_argument("--dialects", default="json,binary,grpc")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-profile", action="store_true", help="without a reference profile")
    parser.add_argument("--no-count", action="store_true", help="without counting rows at all")
    parser.add_argument("--profile", type=int, default=0, metavar="LINES", help="print where the time goes")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(options))


if __name__ == "__main__":
    main()
