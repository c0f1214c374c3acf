"""Writes sampled requests and their answers as JSON lines, off the request path."""

import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import orjson

from penstock_server.log import Log
from penstock_server.profile.groups import text_of
from penstock_server.protocol import Array, InferRequest, TensorSpec

#: A request with more is not logged: one of them would push out a thousand others.
_RECORD_BYTES_MAX = 1024 * 1024
#: What a request takes besides its tensors, about: a million small ones would be a gigabyte.
_REQUEST_BYTES = 1024
#: What waits for being written is at most so much; more is dropped and counted.
_WAITING_BYTES_MAX = 16 * 1024 * 1024
#: Lines are written when there are so many bytes of them, or when the sink's time has come.
_BATCH_BYTES = 1024 * 1024
#: Lines that a sink did not take are kept, and tried again, up to here.
_HELD_BYTES_MAX = 4 * _BATCH_BYTES
_AGAIN_SECONDS = 5.0
_POLL_SECONDS = 0.25
_COMPLAINT_SECONDS = 60.0
#: How long the end of the server waits for the last lines.
_CLOSE_SECONDS = 10.0


class SinkFailed(Exception):  # noqa: N818 - an outcome
    """The lines were not written; the message says why."""


class Sink(Protocol):
    """Where lines go."""

    #: How long lines may wait to become a larger batch.
    seconds: float

    def write(self, lines: Sequence[bytes]) -> None:
        """Write all lines, or raise SinkFailed. Blocks."""


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """What became of sampled requests."""

    written: int = 0
    dropped: int = 0
    failed: int = 0
    too_large: int = 0

    def items(self) -> Iterator[tuple[str, int]]:
        """Yield names and counts."""
        return ((one.name, getattr(self, one.name)) for one in fields(self))


class PredictionLog:
    """Samples answered requests. ``observe`` belongs to the event loop; a thread of its own writes.

    A line is ``{"event": "prediction", "time", "modelName", "modelVersion", "revision", "id", "inputs", "outputs"}``;
    inputs and outputs are tensors of the protocol, so that a line's ``inputs`` can be sent to a model again. NaN and
    infinities are null.
    """

    def __init__(
        self,
        *,
        sink: Sink,
        sample: float,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        identity: Mapping[str, str],
        log: Log,
    ) -> None:
        self.outcomes = Outcomes()
        self._sink = sink
        self._sample = sample
        self._datatypes = {spec.name: spec.datatype for spec in inputs}
        self._output_datatypes = {spec.name: spec.datatype for spec in outputs}
        self._identity = dict(identity)
        self._log = log
        self._waiting: deque[tuple[float, int, InferRequest, Sequence[Array]]] = deque()
        # Each is written by one side alone, so that neither needs a lock.
        self._offered_bytes = 0
        self._taken_bytes = 0
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._again_at = float("-inf")
        self._complained_at = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)

    def observe(self, request: InferRequest, outputs: Sequence[Array]) -> None:
        """Keep a share of the answered requests for writing; never waits, never raises."""
        if random.random() >= self._sample:  # noqa: S311 - not a secret
            return
        size = _REQUEST_BYTES + sum(map(_size, request.inputs.values())) + sum(map(_size, outputs))
        if size > _RECORD_BYTES_MAX:
            self.outcomes.too_large += 1
        elif self._offered_bytes + size - self._taken_bytes > _WAITING_BYTES_MAX:
            self.outcomes.dropped += 1
        else:
            self._offered_bytes += size
            self._waiting.append((time.time(), size, request, outputs))

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what still waits and end; what cannot be written in time is left behind."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        due = time.monotonic() + self._sink.seconds
        while not self._stop.wait(min(_POLL_SECONDS, self._sink.seconds)):
            self._gather()
            now = time.monotonic()
            if now >= due or (self._held_bytes >= _BATCH_BYTES and now >= self._again_at):
                due = now + self._sink.seconds
                self._flush()
        self._gather()
        self._flush()
        self.outcomes.failed += len(self._held)

    def _gather(self) -> None:
        """Hold more lines, up to a bound; behind it requests wait, and are dropped where too many do."""
        for line in self._lines():
            self._held.append(line)
            self._held_bytes += len(line)
            if self._held_bytes >= _HELD_BYTES_MAX:
                return

    def _flush(self) -> None:
        """Write what is held; hold on to it where that fails."""
        if not self._held:
            return
        try:
            self._sink.write(self._held)
        except SinkFailed as error:
            self._again_at = time.monotonic() + _AGAIN_SECONDS
            self._complain(error, len(self._held))
        else:
            self.outcomes.written += len(self._held)
            self._held, self._held_bytes = [], 0

    def _lines(self) -> Iterator[bytes]:
        while self._waiting:
            at, size, request, outputs = self._waiting.popleft()
            self._taken_bytes += size
            try:
                yield self._line(at, request, outputs)
            except (TypeError, ValueError, KeyError) as error:  # text that is no Unicode
                self.outcomes.failed += 1
                self._complain(error, 1)

    def _line(self, at: float, request: InferRequest, outputs: Sequence[Array]) -> bytes:
        named = [(output.name, array) for output, array in zip(request.outputs, outputs, strict=True)]
        record: dict[str, Any] = {"event": "prediction", "time": at, **self._identity, "id": request.id}
        record["inputs"] = [_tensor(name, self._datatypes[name], array) for name, array in request.inputs.items()]
        record["outputs"] = [_tensor(name, self._output_datatypes[name], array) for name, array in named]
        return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)

    def _complain(self, error: Exception, lines: int) -> None:
        """Say what failed, but not each time: the metric counts."""
        if time.monotonic() - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = time.monotonic()
            self._log("prediction-log-failed", error=str(error), lines=lines)


def _size(array: Array) -> int:
    if array.dtype.kind == "O":
        return sum(map(len, array.reshape(-1).tolist()))
    return array.nbytes


def _tensor(name: str, datatype: str, array: Array) -> dict[str, Any]:
    flat = array.reshape(-1).tolist()
    data = [text_of(value) for value in flat] if array.dtype.kind == "O" else flat
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": data}
