"""The calls of ``inference.GRPCInferenceService`` for one model."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from penstock_server import descriptions
from penstock_server.descriptions import NOT_READY, PLATFORM, SERVER_NAME, Identity
from penstock_server.grpc_service.http2.call import Bytes, Message, Paired, Unary
from penstock_server.grpc_service.messages import CALLS, SERVICE
from penstock_server.grpc_service.parsing import parse, parse_request
from penstock_server.grpc_service.request import MessageDecoder
from penstock_server.grpc_service.response import MessageEncoder
from penstock_server.grpc_service.status import Refused
from penstock_server.inference import Inference
from penstock_server.lifecycle import Lifecycle, State
from penstock_server.metrics import Metrics
from penstock_server.outputs_ring import OutputsRing
from penstock_server.protocol import InferRequest
from penstock_server.refusal import EXPECTED, Refusal, refusal_of

#: Counted for calls that the client gave up; no client sees it. The number is the one that nginx made usual.
_CANCELLED = 499
_OK = 200
_INTERNAL = 500
_LATE = 504
_ON_ITS_WAY_SECONDS = 0.05
#: Raw contents are part of the protocol here, and no extension of it.
_EXTENSIONS = tuple(name for name in descriptions.EXTENSIONS if name != "binary_tensor_data")
_LOADING = NOT_READY[State.LOADING]


class InferenceService:
    """Answers calls, and counts them as those of REST are counted."""

    def __init__(self, *, identity: Identity, lifecycle: Lifecycle, metrics: Metrics, noted: OutputsRing) -> None:
        self._identity = identity
        self._noted = noted
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._inference: Inference | None = None
        self._decoder = MessageDecoder((), ())
        self._encoder = MessageEncoder(model_name="", model_version="", outputs=())

    def serve_with(self, inference: Inference) -> None:
        """Answer inference calls from now on; to be called before the lifecycle turns ready."""
        identity, session = self._identity, inference.session
        self._decoder = MessageDecoder(session.inputs, session.outputs)
        self._encoder = MessageEncoder(
            model_name=identity.model_name, model_version=identity.model_version, outputs=session.outputs
        )
        self._inference = inference

    def unary(self) -> dict[str, Unary]:
        """Return the calls by their paths."""
        described: dict[str, Callable[[Any], dict[str, Any]]] = {
            "ServerLive": lambda _: {"live": True},
            "ServerReady": lambda _: {"ready": self._lifecycle.ready},
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "RepositoryIndex": self._repository_index,
            "ModelStatistics": self._model_statistics,
        }
        calls = {name: _described(name, describe) for name, describe in described.items()}
        return {f"/{SERVICE}/{name}": call for name, call in {"ModelInfer": self._infer, **calls}.items()}

    def paired(self) -> dict[str, Paired]:
        """Return the calls whose answers are kept where they were copied, by their paths."""
        return {f"/{SERVICE}/ModelInfer": self._infer_noted}

    def _infer(self, body: Bytes, seconds_max: float | None) -> Message | Awaitable[Message]:
        """Answer at once, or return what will. ``seconds_max`` is what the client is ready to wait."""
        started = time.perf_counter()
        request = None
        try:
            message, tensors = parse_request(body)
            inference = self._serving(message.model_name, message.model_version)
            # Raw elements are answered raw, typed ones typed.
            raw = bool(tensors)
            request = self._decoder.decode(message, tensors, seconds_max=seconds_max)
            results = inference.run_now(request)
            if results is None:
                return self._infer_later(inference, request, started, raw=raw)
            answer = self._encoder.encode(request, results, raw=raw)
        except Exception as error:
            outcome = self._ended(error, request, started)
            if outcome is error:
                raise
            raise outcome from error
        self._metrics.answered(_OK, time.perf_counter() - started)
        return answer

    async def _infer_later(self, inference: Inference, request: InferRequest, started: float, *, raw: bool) -> Message:
        try:
            answer = self._encoder.encode(request, await inference.run(request), raw=raw)
        except BaseException as error:
            outcome = self._ended(error, request, started)
            if outcome is error:
                raise
            raise outcome from error
        self._metrics.answered(_OK, time.perf_counter() - started)
        return answer

    async def _infer_noted(self, body: Bytes, seconds_max: float | None, pair: str) -> Message:
        """Answer a call that was copied, or the copy, and keep what was answered for the comparison."""
        started = time.perf_counter()
        request = None
        try:
            message, tensors = parse_request(body)
            inference = self._serving(message.model_name, message.model_version)
            request = self._decoder.decode(message, tensors, seconds_max=seconds_max)
            results = await inference.run(request)
            answer = self._encoder.encode(request, results, raw=bool(tensors))
        except BaseException as error:
            outcome = self._ended(error, request, started)
            if outcome is error:
                raise
            raise outcome from error
        seconds = time.perf_counter() - started
        self._noted.note(pair, request, results, seconds)
        self._metrics.answered(_OK, seconds)
        return answer

    def _serving(self, model: str, version: str) -> Inference:
        if model != self._identity.model_name or (version and version != self._identity.model_version):
            self._check_known(model, version, "model_name")
        # A server that drains still answers: clients learn later than it does that they should leave.
        if self._inference is None or self._lifecycle.state is State.LOADING:
            raise Refused(Refusal(status=503, message=_LOADING, rejected="not_ready", retry_after_seconds=1))
        return self._inference

    def _ended(self, error: BaseException, request: InferRequest | None, started: float) -> BaseException:
        """Count a call that has failed; return the error that its client is to see."""
        seconds = time.perf_counter() - started
        if isinstance(error, EXPECTED) and self._inference is not None:
            error = Refused(refusal_of(error, seconds_max=self._inference.seconds_max(request)))
        if isinstance(error, Refused):
            code = error.refusal.status
            if error.refusal.rejected is not None:
                self._metrics.rejected(error.refusal.rejected)
        elif isinstance(error, asyncio.CancelledError):
            # A client cancels when its time is over, too, and then it has waited for too long. Its time began before
            # ours, by as long as the call was on its way.
            limit = None if request is None else request.timeout_seconds
            code = _CANCELLED if limit is None or seconds < limit - _ON_ITS_WAY_SECONDS else _LATE
        else:
            code = _INTERNAL
        self._metrics.answered(code, seconds)
        return error

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
        return {"config": descriptions.model_configuration(self._identity, session.inputs, session.outputs)}

    def _model_statistics(self, asked: Any) -> dict[str, Any]:
        if asked.name:
            self._check_known(asked.name, asked.version)
        return descriptions.model_statistics(self._identity, self._metrics.statistics())

    def _repository_index(self, asked: Any) -> dict[str, Any]:
        return {"models": descriptions.repository_index(self._identity, self._lifecycle.state, ready_only=asked.ready)}


def _described(name: str, describe: Callable[[Any], dict[str, Any]]) -> Unary:
    """Return a call that only tells what is known, from what is asked to a message's fields."""
    asked, answered = CALLS[name]

    def call(body: Bytes, _: float | None) -> Message:
        encoded: bytes = answered(**describe(parse(asked, body))).SerializeToString()
        return encoded

    return call
