"""The calls of ``inference.GRPCInferenceService`` for one model."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from penstock_server.app import PLATFORM, Identity
from penstock_server.grpc_service import status
from penstock_server.grpc_service.messages import CALLS, SERVICE, ModelInferRequest
from penstock_server.grpc_service.request import MessageDecoder
from penstock_server.grpc_service.response import MessageEncoder
from penstock_server.http_server import NOT_READY, SERVER_NAME, ErrorLog
from penstock_server.inference import Inference
from penstock_server.lifecycle import Lifecycle, State
from penstock_server.metrics import Metrics
from penstock_server.protocol import TensorSpec
from penstock_server.refusal import EXPECTED, Refusal, refusal_of

#: Counted for calls that the client gave up; no client sees it. The number is the one that nginx made usual.
_CANCELLED = 499
_OK = 200
_EXTENSIONS = ("model_configuration", "model_repository")
_LOADING = NOT_READY[State.LOADING]
_INTERNAL = Refusal(status=500, message="internal error; the server's log says more")

Context = grpc.aio.ServicerContext[bytes, bytes]


class Refused(Exception):  # noqa: N818 - an outcome
    """The call ends with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class InferenceService:
    """Answers calls; also counts those in progress, so that a server that ends can wait for them."""

    def __init__(self, *, identity: Identity, lifecycle: Lifecycle, metrics: Metrics, log: ErrorLog) -> None:
        self._identity = identity
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._log = log
        self._inference: Inference | None = None
        self._decoder = MessageDecoder((), ())
        self._encoder = MessageEncoder(model_name="", model_version="", outputs=())
        self._in_progress = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def serve_with(self, inference: Inference) -> None:
        """Answer inference calls from now on; to be called before the lifecycle turns ready."""
        identity, session = self._identity, inference.session
        self._decoder = MessageDecoder(session.inputs, session.outputs)
        self._encoder = MessageEncoder(
            model_name=identity.model_name, model_version=identity.model_version, outputs=session.outputs
        )
        self._inference = inference

    async def idle(self) -> None:
        """Wait until no call is in progress."""
        await self._idle.wait()

    def handlers(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """Return what the server calls. Messages are parsed here, so that a broken one is the client's error."""
        calls: dict[str, Callable[[Any], Any]] = {
            "ServerLive": lambda _: {"live": True},
            "ServerReady": lambda _: {"ready": self._lifecycle.ready},
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "RepositoryIndex": self._repository_index,
        }
        methods = {name: self._guarded(_described(name, describe)) for name, describe in calls.items()}
        methods["ModelInfer"] = self._guarded(self._infer)
        return grpc.method_handlers_generic_handler(
            SERVICE, {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
        )

    def _guarded(self, call: Callable[[bytes, Context], Awaitable[bytes]]) -> Any:
        """Return the call with its refusals turned into codes, and a mistake of ours into INTERNAL."""

        async def handle(body: bytes, context: Context) -> bytes:
            self._in_progress += 1
            self._idle.clear()
            try:
                return await call(body, context)
            except Refused as error:
                refusal = error.refusal
            except Exception as error:  # noqa: BLE001 - the top of the request loop
                self._log("internal-error", path=SERVICE, error=repr(error))
                refusal = _INTERNAL
            finally:
                self._in_progress -= 1
                if self._in_progress == 0:
                    self._idle.set()
            await context.abort(
                status.CODES[refusal.status], status.details(refusal), status.trailing_metadata(refusal)
            )
            raise AssertionError("abort always raises")

        return handle

    async def _infer(self, body: bytes, context: Context) -> bytes:
        started, code = time.perf_counter(), _OK
        remaining = context.time_remaining()
        try:
            return await self._answer(body, remaining)
        except Refused as error:
            code = error.refusal.status
            if error.refusal.rejected is not None:
                self._metrics.rejected(error.refusal.rejected)
            raise
        except asyncio.CancelledError:
            late = remaining is not None and time.perf_counter() - started >= remaining
            code = 504 if late else _CANCELLED
            raise
        except Exception:
            code = _INTERNAL.status
            raise
        finally:
            self._metrics.answered(code, time.perf_counter() - started)

    async def _answer(self, body: bytes, seconds_max: float | None) -> bytes:
        """Return the encoded answer; raise Refused. ``seconds_max`` is what the client is ready to wait."""
        message = _parse(ModelInferRequest, body)
        self._check_known(message.model_name, message.model_version, "model_name")
        inference = self._inference
        # A server that drains still answers: clients learn later than it does that they should leave.
        if inference is None or self._lifecycle.state is State.LOADING:
            raise Refused(Refusal(status=503, message=_LOADING, rejected="not_ready", retry_after_seconds=1))
        request = None
        try:
            request = self._decoder.decode(message, seconds_max=seconds_max)
            results = await inference.run(request)
            # Raw elements are answered raw, typed ones typed.
            return self._encoder.encode(request, results, raw=bool(message.raw_input_contents))
        except EXPECTED as error:
            raise Refused(refusal_of(error, seconds_max=inference.seconds_max(request))) from error

    def _check_known(self, model: str, version: str, field: str = "name") -> None:
        identity = self._identity
        if not model:
            raise Refused(
                Refusal(
                    status=400,
                    message=f"{field!r} is empty; this server serves {identity.model_name!r}",
                    rejected="bad_request",
                )
            )
        if model != identity.model_name:
            message = f"unknown model {model!r}; this server serves {identity.model_name!r}"
            raise Refused(Refusal(status=404, message=message, rejected="unknown_model"))
        if version and version != identity.model_version:
            serves = f"version {identity.model_version!r}" if identity.model_version else "no particular version"
            message = f"unknown version {version!r} of {identity.model_name!r}; this server serves {serves}"
            raise Refused(Refusal(status=404, message=message, rejected="unknown_model"))

    def _model_ready(self, asked: Any) -> dict[str, Any]:
        self._check_known(asked.name, asked.version)
        return {"ready": self._lifecycle.ready}

    def _server_metadata(self, _: Any) -> dict[str, Any]:
        return {"name": SERVER_NAME, "version": self._identity.server_version, "extensions": _EXTENSIONS}

    def _loaded(self, asked: Any) -> Inference:
        self._check_known(asked.name, asked.version)
        if self._inference is None:
            raise Refused(Refusal(status=503, message=_LOADING, retry_after_seconds=1))
        return self._inference

    def _model_metadata(self, asked: Any) -> dict[str, Any]:
        session, identity = self._loaded(asked).session, self._identity
        return {
            "name": identity.model_name,
            "versions": [identity.model_version] if identity.model_version else [],
            "platform": PLATFORM,
            "inputs": [spec.to_wire() for spec in session.inputs],
            "outputs": [spec.to_wire() for spec in session.outputs],
        }

    def _model_config(self, asked: Any) -> dict[str, Any]:
        session = self._loaded(asked).session
        return {
            "config": {
                "name": self._identity.model_name,
                "platform": PLATFORM,
                "backend": "onnxruntime",
                "max_batch_size": 0,  # the shapes are told with their first dimension
                "input": [_config(spec) for spec in session.inputs],
                "output": [_config(spec) for spec in session.outputs],
            }
        }

    def _repository_index(self, asked: Any) -> dict[str, Any]:
        identity, ready = self._identity, self._lifecycle.ready
        if asked.ready and not ready:
            return {}
        reason = "" if ready else NOT_READY[self._lifecycle.state]
        state = "READY" if ready else "UNAVAILABLE"
        return {
            "models": [
                {"name": identity.model_name, "version": identity.model_version, "state": state, "reason": reason}
            ]
        }


def _described(name: str, describe: Callable[[Any], dict[str, Any]]) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """Return a call that only tells what is known, from what is asked to a message's fields."""
    asked, answered = CALLS[name]

    async def call(body: bytes, _: Context) -> bytes:
        encoded: bytes = answered(**describe(_parse(asked, body))).SerializeToString()
        return encoded

    return call


def _parse(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        message = f"the message is not a {kind.DESCRIPTOR.name}: {error}"
        raise Refused(Refusal(status=400, message=message, rejected="bad_request")) from None


def _config(spec: TensorSpec) -> dict[str, Any]:
    name = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{name}", "dims": spec.shape}
