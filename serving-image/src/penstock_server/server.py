"""Start and stop of the server, in order: listen, load, warm up, serve, drain, end."""

import asyncio
import contextlib
import gc
import signal
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aiohttp import web

from penstock_contract.termination import Reason
from penstock_server import heap, openapi, sample
from penstock_server.admission import Admission
from penstock_server.app import ModelServer
from penstock_server.cpu import usable_cores
from penstock_server.descriptions import Identity
from penstock_server.grpc_service.port import GrpcPort
from penstock_server.inference import Batching, Inference
from penstock_server.lifecycle import Event, Lifecycle
from penstock_server.log import Log, printable
from penstock_server.management import ManagementServer
from penstock_server.memory_limit import tensor_bytes_max
from penstock_server.metrics import Metrics
from penstock_server.observation import Observation
from penstock_server.observer import Observer
from penstock_server.pace import Pace, size_of
from penstock_server.session import ORT_VERSION, Cancellation, LoadFailed, Session, bound_tensors
from penstock_server.settings import Settings
from penstock_server.sockets import listening_socket, why

_WARM_UP_SECONDS_MAX = 30.0
#: On top of the request timeout: what a request that was just accepted needs besides its run.
_SHUTDOWN_SLACK_SECONDS = 1.0
#: On the command line a setting has another name.
_OPTIONS = {"HTTP_PORT": "--port", "MANAGEMENT_PORT": "--management-port"}


class CannotServe(Exception):  # noqa: N818 - an outcome
    """The server must end; the reason and the message go to whoever started it."""

    def __init__(self, reason: Reason, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listener:
    runner: web.ServerRunner
    port: int


class Server:
    """One model, served until somebody asks to stop."""

    def __init__(self, settings: Settings, log: Log) -> None:
        serving = settings.serving
        self._settings = settings
        self._serving = serving
        self._log = log
        self._lifecycle = Lifecycle()
        self._metrics = Metrics(
            {"revision": serving.revision, "model": serving.model_name, "model_version": serving.model_version}
        )
        self._admission = Admission(concurrency_max=serving.concurrency_max, queue_max=serving.queue_max)
        identity = Identity(
            model_name=serving.model_name, model_version=serving.model_version, server_version=_version()
        )
        self._model_server = ModelServer(
            identity=identity,
            lifecycle=self._lifecycle,
            metrics=self._metrics,
            max_connection_age_seconds=serving.max_connection_age_seconds,
        )
        self._grpc = GrpcPort(
            serving=serving,
            host=settings.host,
            identity=identity,
            lifecycle=self._lifecycle,
            metrics=self._metrics,
            noted=self._model_server.noted,
            unfinished=self._model_server.unfinished,
            log=log,
        )
        self._management = ManagementServer(
            lifecycle=self._lifecycle, metrics=self._metrics, noted=self._model_server.noted
        )
        self._observation: Observation | None = None
        self._stop_asked = asyncio.Event()
        self._stop_insisted = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and return; raise CannotServe where it cannot begin."""
        heap.share()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop)
        self._observe()
        serving = self._serving
        management = await self._listen(
            self._management.web_server(self._log), serving.management_port, "MANAGEMENT_PORT"
        )
        try:
            public = await self._listen(self._model_server.web_server(self._log), serving.http_port, "HTTP_PORT")
            self._grpc.open()
            try:
                await self._serve(public, management)
            finally:
                await self._grpc.close()
                await public.runner.cleanup()
        finally:
            await management.runner.cleanup()

    async def _serve(self, public: _Listener, management: _Listener) -> None:
        inference = await self._load()
        try:
            self._model_server.serve_with(inference)
            await self._serve_over_grpc(inference)
            self._lifecycle.handle(Event.LOADED)
            if self._stop_asked.is_set():
                return  # no client has ever been sent here, so there is nobody to drain
            self._grpc.ready()
            self._announce(inference.session, public, management)
            # What lives as long as the process is not looked through again and again for garbage, which would stop all
            # requests for some milliseconds each time.
            gc.freeze()
            if self._observation is not None:
                self._observation.start()
            await self._live()
            await self._drain(public, inference)
        finally:
            # Who runs several servers in one process, as tests do, would keep all of them.
            gc.unfreeze()
            inference.close()
            if self._observation is not None:
                await asyncio.to_thread(self._observation.close)

    async def _live(self) -> None:
        """Give back memory that is free now and then, until somebody asks to stop."""
        while not self._stop_asked.is_set():
            await asyncio.to_thread(heap.give_back)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), heap.SECONDS)

    async def _serve_over_grpc(self, inference: Inference) -> None:
        try:
            await self._grpc.serve_with(inference)
        except OSError as error:
            raise CannotServe(
                Reason.INVALID_CONFIGURATION,
                f"cannot listen for gRPC on {error}; choose another with PENSTOCK_GRPC_PORT or --grpc-port, or none",
                permanent=False,
            ) from error

    async def _load(self) -> Inference:
        serving, started = self._serving, time.perf_counter()
        threads = usable_cores()
        bytes_max = tensor_bytes_max()
        bound_tensors(bytes_max)
        self._log("loading", path=serving.model_path, threads=threads, tensor_mb_max=bytes_max >> 20)
        try:
            session = await asyncio.to_thread(Session.load, Path(serving.model_path), threads=threads, bounded=True)
        except LoadFailed as error:
            raise _cannot_serve(error) from error
        seconds = time.perf_counter() - started
        self._metrics.loaded(seconds)
        self._log("loaded", seconds=round(seconds, 4))
        pace = Pace()
        await self._warm_up(session, pace)
        batching = None
        if serving.batching_max_rows > 1:
            batching = Batching(rows_max=serving.batching_max_rows, delay_seconds=serving.batching_max_delay_seconds)
        inference = Inference(
            session=session,
            model_name=serving.model_name,
            model_version=serving.model_version,
            admission=self._admission,
            concurrency_max=serving.concurrency_max,
            timeout_seconds=serving.request_timeout_seconds,
            metrics=self._metrics,
            observers=self._observe_rows(session),
            pace=pace,
            ran_over=lambda seconds: self._log("inline-run-ended", inline_again_in_seconds=seconds),
            batching=batching,
        )
        if batching is not None:
            self._log("batching" if inference.batches else "batching-impossible", **asdict(batching))
        return inference

    def _observe_rows(self, session: Session) -> tuple[Observer, ...]:
        observation = Observation(
            serving=self._serving,
            inputs=session.inputs,
            outputs=session.outputs,
            errors=self._metrics.errors,
            log=self._log,
        )
        self._observation = observation
        self._metrics.add(observation.families)
        self._management.tell(observation.profile, observation.reference)
        self._model_server.feedback.take_with(observation.label)
        return observation.observers

    async def _warm_up(self, session: Session, pace: Pace) -> None:
        cancellation = Cancellation()
        timer = asyncio.get_running_loop().call_later(_WARM_UP_SECONDS_MAX, cancellation.cancel)
        try:
            warm_up = await asyncio.to_thread(session.warm_up, cancellation)
        except LoadFailed as error:
            raise _cannot_serve(error) from error
        finally:
            timer.cancel()
        if warm_up.run_seconds is None:
            # A row of zeros may rightly be refused; real requests will show what is really wrong.
            self._log("warm-up-failed", seconds=round(warm_up.seconds, 4), error=warm_up.error)
            return
        size = size_of(session.synthetic(0))
        pace.ran(size, warm_up.run_seconds)
        self._log(
            "warmed-up",
            seconds=round(warm_up.seconds, 4),
            run_seconds=round(warm_up.run_seconds, 6),
            runs="in a thread" if session.may_loop or not pace.inline(size) else "inline",
        )

    async def _drain(self, public: _Listener, inference: Inference) -> None:
        """Answer on while clients learn that they should leave, then take no more and finish what runs."""
        seconds = self._serving.drain_seconds
        self._log("draining", seconds=seconds)
        self._grpc.draining()
        insisted = asyncio.ensure_future(self._stop_insisted.wait())
        await asyncio.wait({insisted}, timeout=seconds)
        finishing = asyncio.ensure_future(self._finish(public))
        await asyncio.wait({insisted, finishing}, return_when=asyncio.FIRST_COMPLETED)
        inference.cancel()  # nothing runs any more, unless somebody insisted
        await finishing
        insisted.cancel()
        self._log("stopped")

    async def _finish(self, public: _Listener) -> None:
        seconds = self._serving.request_timeout_seconds + _SHUTDOWN_SLACK_SECONDS
        for site in public.runner.sites:
            await site.stop()
        # The library's own end would forget a request whose body is still on its way.
        await asyncio.gather(self._model_server.finished(seconds), self._grpc.finish(seconds))
        await public.runner.cleanup()

    def _ask_to_stop(self) -> None:
        self._lifecycle.handle(Event.STOP_ASKED)
        if self._stop_asked.is_set():
            self._stop_insisted.set()  # who asks twice is in a hurry
        self._stop_asked.set()

    def _observe(self) -> None:
        admission, lifecycle = self._admission, self._lifecycle
        self._metrics.watch(
            in_flight=lambda: admission.in_flight, queued=lambda: admission.queued, ready=lambda: lifecycle.ready
        )
        self._metrics.info(server_version=_version(), onnxruntime_version=ORT_VERSION)

    async def _listen(self, server: web.Server, port: int, setting: str) -> _Listener:
        runner = web.ServerRunner(
            server, shutdown_timeout=self._serving.request_timeout_seconds + _SHUTDOWN_SLACK_SECONDS
        )
        await runner.setup()
        try:
            listening = listening_socket(self._settings.host, port)
        except OSError as error:
            where = f"{self._settings.host or 'all interfaces'} port {port}"
            raise CannotServe(
                Reason.INVALID_CONFIGURATION,
                f"cannot listen on {where}: {why(error)}; choose another with PENSTOCK_{setting} or "
                f"{_OPTIONS[setting]}",
                permanent=False,
            ) from error
        await web.SockSite(runner, listening, backlog=1024).start()
        return _Listener(runner=runner, port=listening.getsockname()[1])

    def _announce(self, session: Session, public: _Listener, management: _Listener) -> None:
        serving = self._serving
        if not self._settings.person:
            grpc = {} if self._grpc.number is None else {"grpc_port": self._grpc.number}
            self._log("ready", port=public.port, management_port=management.port, **grpc)
            return
        base = f"http://{_for_url(self._settings.host)}:{public.port}"
        url = f"{base}/v2/models/{serving.model_name}/infer"
        self._log(f"{serving.model_name} is served at {url}")
        self._log("  in:   " + ", ".join(f"{printable(spec.name)} {spec}" for spec in session.inputs))
        self._log("  out:  " + ", ".join(f"{printable(spec.name)} {spec}" for spec in session.outputs))
        self._log(f"  docs: {base}{openapi.PAGE_PATH}")
        if self._grpc.number is not None:
            self._log(f"  gRPC: {_for_url(self._settings.host)}:{self._grpc.number}")
        self._log(f"  metrics: http://{_for_url(self._settings.host)}:{management.port}/metrics")
        self._log("Try it:\n  " + sample.curl(url, session.inputs))


def _for_url(host: str | None) -> str:
    name = host or "localhost"
    return f"[{name}]" if ":" in name else name


def _version() -> str:
    try:
        return version("penstock")
    except PackageNotFoundError:
        return "unknown"


def _cannot_serve(error: LoadFailed) -> CannotServe:
    return CannotServe(error.reason, str(error), permanent=error.permanent)
