"""The calls of ``inference.GRPCInferenceService`` for one model."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

from penstock_server import descriptions
from penstock_server.descriptions import NOT_READY, PLATFORM, SERVER_NAME, Identity
from penstock_server.grpc_service.http2.call import Unary
from penstock_server.grpc_service.messages import CALLS, SERVICE, ModelInferRequest
from penstock_server.grpc_service.parsing import parse
from penstock_server.grpc_service.request import MessageDecoder
from penstock_server.grpc_service.response import MessageEncoder
from penstock_server.grpc_service.status import Refused
from penstock_server.inference import Inference
from penstock_server.lifecycle import Lifecycle, State
from penstock_server.metrics import Metrics
from penstock_server.protocol import InferRequest
from penstock_server.refusal import EXPECTED, Refusal, refusal_of

#: Counted for calls that the client gave up; no client sees it. The number is the one that nginx made usual.
_CANCELLED = 499
_OK = 200
_INTERNAL = 500
_LATE = 504
#: Raw contents are part of the protocol here, and no extension of it.
_EXTENSIONS = tuple(name for name in descriptions.EXTENSIONS if name != "binary_tensor_data")
_LOADING = NOT_READY[State.LOADING]


class InferenceService:
    """Answers calls, and counts them as those of REST are counted."""

    def __init__(self, *, identity: Identity, lifecycle: Lifecycle, metrics: Metrics) -> None:
        self._identity = identity
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

    def _infer(self, body: bytes, seconds_max: float | None) -> bytes | Awaitable[bytes]:
        """Answer at once, or return what will. ``seconds_max`` is what the client is ready to wait."""
        counting = _Counting(self._metrics, seconds_max)
        with counting:
            message = parse(ModelInferRequest, body)
            self._check_known(message.model_name, message.model_version, "model_name")
            inference = self._inference
            # A server that drains still answers: clients learn later than it does that they should leave.
            if inference is None or self._lifecycle.state is State.LOADING:
                raise Refused(Refusal(status=503, message=_LOADING, rejected="not_ready", retry_after_seconds=1))
            # Raw elements are answered raw, typed ones typed.
            raw = bool(message.raw_input_contents)
            with _Refusing(inference) as refusing:
                request = refusing.request = self._decoder.decode(message, seconds_max=seconds_max)
                results = inference.run_now(request)
                if results is not None:
                    return self._encoder.encode(request, results, raw=raw)
            counting.later = True
        return self._infer_later(inference, request, counting, raw=raw)

    async def _infer_later(
        self, inference: Inference, request: InferRequest, counting: "_Counting", *, raw: bool
    ) -> bytes:
        counting.later = False
        with counting, _Refusing(inference) as refusing:
            refusing.request = request
            return self._encoder.encode(request, await inference.run(request), raw=raw)

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


class _Counting:
    """Counts one call by how it ends; ``later``: when it is entered the next time."""

    __slots__ = ("_metrics", "_seconds_max", "_started", "later")

    def __init__(self, metrics: Metrics, seconds_max: float | None) -> None:
        self._metrics = metrics
        self._seconds_max = seconds_max
        self._started = time.perf_counter()
        self.later = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self.later:
            return
        seconds = time.perf_counter() - self._started
        if isinstance(error, Refused) and error.refusal.rejected is not None:
            self._metrics.rejected(error.refusal.rejected)
        self._metrics.answered(self._code(error, seconds), seconds)

    def _code(self, error: BaseException | None, seconds: float) -> int:
        match error:
            case None:
                return _OK
            case Refused():
                return error.refusal.status
            case asyncio.CancelledError():
                # A client cancels when its time is over, too, and then it has waited for too long.
                late = self._seconds_max is not None and seconds >= self._seconds_max
                return _LATE if late else _CANCELLED
            case _:
                return _INTERNAL


class _Refusing:
    """Turns what may go wrong with a request into its refusal."""

    __slots__ = ("_inference", "request")

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self.request: InferRequest | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, EXPECTED):
            seconds_max = self._inference.seconds_max(self.request)
            raise Refused(refusal_of(error, seconds_max=seconds_max)) from error


def _described(name: str, describe: Callable[[Any], dict[str, Any]]) -> Unary:
    """Return a call that only tells what is known, from what is asked to a message's fields."""
    asked, answered = CALLS[name]

    def call(body: bytes, _: float | None) -> bytes:
        encoded: bytes = answered(**describe(parse(asked, body))).SerializeToString()
        return encoded

    return call
