"""The counts of one life of the server: fed by requests, binned by a thread, told at /v1/profile."""

import asyncio
import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from penstock_contract.counts import SCHEMA
from penstock_contract.feedback import FeedbackCounts
from penstock_contract.profile import layout_of
from penstock_contract.segments import Segmentation
from penstock_server.feedback import Feedback, decode
from penstock_server.log import Log
from penstock_server.profile.counting import Counter
from penstock_server.profile.packing import Packed
from penstock_server.profile.plain import PlainCounter
from penstock_server.profile.reference import Reference, Source
from penstock_server.profile.rows import Answered, Tensors, blocks
from penstock_server.profile.segments import Segments
from penstock_server.profile.tap import ENOUGH_REQUESTS, Tap
from penstock_server.protocol import Array, InferRequest, TensorSpec

#: Counted in one go, normally all that waits: numpy's calls cost the same for few rows as for many. But what they need
#: meanwhile grows with the values: some 50 bytes for each.
_CHUNK_ELEMENTS, _CHUNK_REQUESTS_MIN, _CHUNK_REQUESTS_MAX = 65_536, 64, 4096
_CHUNK_ROWS = 16_384
_INTERVAL_SECONDS = 0.25
#: Counting that takes no longer may hold up requests, as a run may that is as short.
_HERE_SECONDS_MAX = 0.001
_HERE_REQUESTS_MIN = 32
_HERE_TIMES = 8
#: How long a reader waits for its turn before it says that counting is stuck.
_PATIENCE_SECONDS = 2.0


class Stuck(Exception):  # noqa: N818 - it is a state of the thread
    """The counts cannot be read now, because whoever counts does not come to an end."""


class LiveProfile:
    """Counts what the model answers. ``observe`` belongs to the event loop; all else may be called by any thread.

    Plain rows are counted on the event loop's own thread, a few hundred at a time, where that takes less than a
    millisecond: a thread beside it would hold the interpreter for as long, and on a single core the kernel lets either
    of the two wait for the other for several milliseconds. Whatever may take longer, and what comes while there is
    little traffic, is counted by a thread.
    """

    def __init__(
        self,
        *,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        source: Source,
        identity: Mapping[str, str],
        errors: Callable[[], Mapping[str, int]],
        log: Log,
    ) -> None:
        self._outputs = tuple(outputs)
        self._tensors = Tensors.of(inputs, outputs)
        self._tap = Tap(self._tensors)
        fitting = _CHUNK_ELEMENTS // max(self._tensors.row_elements, 1)
        self._chunk_requests = min(max(fitting, _CHUNK_REQUESTS_MIN), _CHUNK_REQUESTS_MAX)
        self.observe: Callable[[InferRequest, Sequence[Array]], None] = self._tap.observe
        self._source = source
        self._identity = dict(identity)
        self._errors = errors
        self._log = log
        self._boot_id = str(uuid.uuid4())
        self._seq = 0
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="count", daemon=True)
        self._wake = threading.Event()
        self._tap.enough = self._wake.set
        self._loop: asyncio.AbstractEventLoop | None = None
        self._here_requests = ENOUGH_REQUESTS
        self._here_times: list[float] = []
        self._reference: Reference | None = None
        self._counter: Counter | PlainCounter = PlainCounter(self._tensors)
        self._segments: Segments | None = None
        self._feedback = Feedback(self._outputs)
        self._requests = 0
        self._complained = False
        self._uncounted_rows = 0
        self._rows = 0
        self._first_ts: float | None = None
        self._last_ts: float | None = None

    @property
    def rows(self) -> int:
        """Rows counted so far."""
        return self._rows

    @property
    def dropped_rows(self) -> int:
        """Rows that were answered and not counted."""
        return self._tap.dropped_rows + self._uncounted_rows

    @property
    def error(self) -> str | None:
        """Why the profile that was there is not used, once that is known."""
        return self._reference.error if self._reference else None

    def start(self) -> None:
        """Begin to count; on the event loop as well, if there is one."""
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()
            self._tap.enough = self._count_soon
        self._thread.start()

    def close(self) -> None:
        """Count what still waits and end the thread; a stuck one is left behind."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_SECONDS)

    def body(self, wanted: Segmentation | None = None) -> bytes:
        """Return the answer of GET /v1/profile, everything answered before the call included; raise Stuck.

        From the first time that it is ``wanted`` on, rows are also counted by an input.
        """
        with self._turn():
            self._drain()
            message = self._message()
            if wanted is not None:
                message["segments"] = self._segmented(wanted)
        return orjson.dumps(message)

    def _segmented(self, wanted: Segmentation) -> dict[str, Any]:
        if self._segments is None:
            return {wanted.by: {"error": "there is no profile to count against"}}
        self._settle()
        error = self._segments.ask(wanted, time.time())
        return {wanted.by: {"error": error}} if error else self._segments.to_wire(wanted)

    def reference(self) -> bytes | None:
        """Return the profile that is counted against, as a file holds it; None without one. Raises Stuck."""
        with self._turn():
            profile = self._reference.profile if self._reference else None
        return None if profile is None else profile.to_json().encode()

    def label(self, body: bytes) -> bytes:
        """Count labels that have come, and return the answer to them; raise BadFeedback or Stuck."""
        labels = decode(body)
        with self._turn():
            self._drain()  # a label may follow its prediction at once
            result = self._feedback.take(labels, time.time())
        return orjson.dumps(result)

    @property
    def feedback(self) -> FeedbackCounts:
        """What became of labels so far."""
        return self._feedback.counts

    def _message(self) -> dict[str, Any]:
        self._seq += 1
        reference = self._reference or Reference()
        message: dict[str, Any] = {
            "schema": SCHEMA,
            **self._identity,
            "profileHash": reference.profile.hash if reference.profile else None,
            "profileError": reference.error,
            "bootId": self._boot_id,
            "seq": self._seq,
            "firstTs": self._first_ts,
            "lastTs": self._last_ts,
            "counters": {
                "requests": self._requests,
                "droppedRows": self.dropped_rows,
                "errors": dict(self._errors()),
            },
        }
        if self._feedback.counts != FeedbackCounts():
            message["feedback"] = self._feedback.counts.to_wire()
        if isinstance(self._counter, Counter) and reference.profile:
            columns = reference.profile.columns
            message["counts"] = self._counter.counts().to_wire(layout_of(columns))
            message["extremes"] = {
                column.name: pair
                for column, pair in zip(columns, self._counter.extremes(), strict=True)
                if pair is not None
            }
        elif isinstance(self._counter, PlainCounter):
            message["plain"] = self._counter.to_wire()
        return message

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_PATIENCE_SECONDS):
            raise Stuck(f"counting has not come to an end for {_PATIENCE_SECONDS:g} s; {self._tap.dropped_rows} rows "
                        "were dropped so far")  # fmt: skip
        try:
            self._prepare()
            yield
        finally:
            self._lock.release()

    def _prepare(self) -> None:
        """Read the profile, once: before the first row is counted and after the server is ready."""
        if self._reference is not None:
            return
        self._reference = self._source()
        profile = self._reference.profile
        if profile is not None:
            self._counter = Counter.of(profile)
            self._segments = Segments(profile)
            self._feedback = Feedback(self._outputs, profile)
            self._log("profile", columns=len(profile.columns), rows=profile.rows, hash=profile.hash)
        elif self._reference.error:
            self._log("profile-unusable", error=self._reference.error)

    def _work(self) -> None:
        with contextlib.suppress(Stuck), self._turn():
            pass  # the profile is read now, and not when somebody asks
        while not self._stopping:
            self._wake.wait(_INTERVAL_SECONDS)
            self._wake.clear()
            with contextlib.suppress(Stuck), self._turn():
                self._drain()
                self._settle()
        with contextlib.suppress(Stuck), self._turn():
            self._drain()

    def _count_soon(self) -> None:
        """Count when the requests of this turn of the event loop are answered; elsewhere, if it would take too long."""
        if self._loop is None or self._here_requests < _HERE_REQUESTS_MIN or self._tap.rows_waiting > _CHUNK_ROWS:
            self._wake.set()
        else:
            self._loop.call_soon(self._count_here)

    def _count_here(self) -> None:
        if self._reference is None or not self._lock.acquire(blocking=False):
            self._wake.set()  # the profile has not been read, or somebody counts just now
            return
        try:
            packed = self._tap.take_packed(self._here_requests)
            if not packed:
                self._wake.set()  # what waits takes longer
                return
            started = time.thread_time()
            self._count_or_complain(packed, ())
            if self._segments is not None and self._segments.waiting_rows > _CHUNK_ROWS:
                self._wake.set()  # counting them by segments takes longer
            self._learn(time.thread_time() - started)
        finally:
            self._lock.release()

    def _learn(self, seconds: float) -> None:
        """Count fewer at a time where even the fastest of several was too long: others can only make it slower."""
        self._here_times.append(seconds)
        if len(self._here_times) >= _HERE_TIMES:
            if min(self._here_times) > _HERE_SECONDS_MAX:
                self._here_requests //= 2
            self._here_times.clear()

    def _drain(self) -> None:
        """Count what waits now; what comes meanwhile waits for the next time, or this might never end.

        And it would count a few rows at a time, at the cost of many: 28 µs a row instead of 1.
        """
        left = self._tap.rows_waiting
        while True:
            packed, answered = self._tap.take(self._chunk_requests, _CHUNK_ROWS)
            if not packed and not answered:
                return
            left -= self._count_or_complain(packed, answered)
            if left <= 0:
                return
            time.sleep(0)  # whoever waits for the GIL gets it here

    def _count_or_complain(self, packed: Sequence[Packed], answered: Sequence[Answered]) -> int:
        """Count what can be counted; return how many rows there were."""
        rows = len(packed) + sum(request.rows for request, _ in answered)
        before = self._rows
        try:
            self._count(packed, answered)
        except Exception as error:  # noqa: BLE001 - the top of the loop: who comes next is counted all the same
            self._complain(error)
        self._uncounted_rows += rows - (self._rows - before)
        return rows

    def _settle(self) -> None:
        """Count by segments what waits for that; nobody waits for it but who asks for segments."""
        try:
            if self._segments is not None:
                self._segments.settle()
        except Exception as error:  # noqa: BLE001 - the top of the loop: who comes next is counted all the same
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            self._log("count-failed", error=repr(error))

    def _count(self, packed: Sequence[Packed], answered: Sequence[Answered]) -> None:
        now = time.time()
        self._requests += len(packed) + len(answered)
        self._feedback.remember(answered, now)
        self._first_ts = self._first_ts or now
        self._last_ts = now
        packing = self._tap.packing
        plain = [packing.block(packed)] if packed and packing else []
        for block in (*plain, *blocks(answered, self._tensors, _pick)):
            if block is not None:
                self._counter.add(block)
                self._rows += block.rows
                if self._segments is not None:
                    self._segments.add(block, now)


def _pick(count: int) -> int:
    return random.randrange(count)  # noqa: S311 - not a secret
