"""Takes answered requests off the request path: a bounded queue that costs a request about a tenth of a microsecond."""

import random
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock_server.profile.rows import Answered, Seen, Tensors, matrix
from penstock_server.protocol import Array, InferRequest, RequestedOutput

#: What waits for counting holds at most about this much, and never fewer or more rows than these.
_BYTES_MAX = 4 * 1024 * 1024
_ROWS_MIN, _ROWS_MAX = 512, 32_768
#: A request takes about a kilobyte besides its rows.
_REQUESTS_MAX = 8192
#: So many requests, or half of the rows that may wait, wake the counting thread before its time.
WAKE_REQUESTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """The counted part of a request, where keeping all of it would keep too much memory."""

    id: str | None
    rows: int
    inputs: Mapping[str, Array]
    outputs: tuple[RequestedOutput, ...]


class Tap:
    """Between the event loop, which alone calls ``observe``, and the one thread at a time that calls ``take``.

    It keeps references, not copies: nobody writes into arrays that were answered. What does not fit is dropped
    and counted. ``wake`` is set when enough rows wait.
    """

    def __init__(self, tensors: Tensors, *, rows_max: int | None = None) -> None:
        fitting = _BYTES_MAX // max(tensors.row_bytes, 1)
        self.rows_max = rows_max or min(max(fitting, _ROWS_MIN), _ROWS_MAX)
        self.wake = threading.Event()
        self.dropped_rows = 0
        self._tensors = tensors
        self._whole = tensors.all_of_them
        self._waiting: deque[Answered] = deque()
        # Each is written by one side alone, so that neither needs a lock.
        self._offered = 0
        self._taken = 0
        self._wake_rows = self.rows_max // 2

    def observe(self, request: InferRequest, outputs: Sequence[Array]) -> None:
        """Keep an answered request for counting; never waits, never raises."""
        rows = request.rows
        waiting = self._waiting
        pending = self._offered + rows - self._taken
        if pending > self.rows_max or len(waiting) >= _REQUESTS_MAX:
            self._overflow(request, outputs)
            return
        self._offered += rows
        if self._whole:
            waiting.append((request, outputs))
        else:
            waiting.append(self._copied(request, outputs))
        if (len(waiting) >= WAKE_REQUESTS or pending > self._wake_rows) and not self.wake.is_set():
            self.wake.set()

    @property
    def rows_waiting(self) -> int:
        """Rows that have been offered and not taken."""
        return self._offered - self._taken

    def take(self, requests: int, rows: int) -> list[Answered]:
        """Return requests that wait, in order: so many, or fewer where they have so many rows, or all there are."""
        taken: list[Answered] = []
        count = 0
        while len(taken) < requests and count < rows and self._waiting:
            one = self._waiting.popleft()
            taken.append(one)
            count += one[0].rows
        self._taken += count
        return taken

    def _overflow(self, request: InferRequest, outputs: Sequence[Array]) -> None:
        """Keep one row of a request that does not fit, where that one does: tests need no more of it."""
        rows = request.rows
        room = self._offered + 1 - self._taken <= self.rows_max and len(self._waiting) < _REQUESTS_MAX
        if rows > 1 and room:
            one = self._one_row(request, outputs, random.randrange(rows))  # noqa: S311 - not a secret
            if one is not None:
                self._offered += 1
                self._waiting.append(one)
                rows -= 1
        self.dropped_rows += rows
        self.wake.set()

    def _copied(self, request: InferRequest, outputs: Sequence[Array]) -> Answered:
        counted = {spec.name for spec in self._tensors.outputs}
        results = [(wanted, array) for wanted, array in zip(request.outputs, outputs, strict=True)
                   if wanted.name in counted]  # fmt: skip
        seen: Seen = _Copy(
            id=request.id,
            rows=request.rows,
            inputs={spec.name: request.inputs[spec.name].copy() for spec in self._tensors.inputs},
            outputs=tuple(wanted for wanted, _ in results),
        )
        return seen, [array.copy() for _, array in results]

    def _one_row(self, request: InferRequest, outputs: Sequence[Array], row: int) -> Answered | None:
        inputs: dict[str, Array] = {}
        for spec in self._tensors.inputs:
            rows = matrix(request.inputs[spec.name], request.rows)
            if rows is None:
                return None
            inputs[spec.name] = rows[row : row + 1].copy()
        kept: list[tuple[RequestedOutput, Array]] = []
        counted = {spec.name for spec in self._tensors.outputs}
        for wanted, array in zip(request.outputs, outputs, strict=True):
            rows = matrix(array, request.rows) if wanted.name in counted else None
            if rows is not None:
                kept.append((wanted, rows[row : row + 1].copy()))
        seen: Seen = _Copy(id=None, rows=1, inputs=inputs, outputs=tuple(wanted for wanted, _ in kept))
        return seen, [array for _, array in kept]
