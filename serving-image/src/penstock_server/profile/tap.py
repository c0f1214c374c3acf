"""Takes answered requests off the request path: a bounded queue that costs a request a fraction of a microsecond."""

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_server.profile.packing import Packed, Packing
from penstock_server.profile.rows import Answered, Seen, Tensors, matrix
from penstock_server.protocol import Array, InferRequest, RequestedOutput

#: What waits for counting holds at most about this much, packed and whole, and never fewer or more rows than these.
_BYTES_MAX = 4 * 1024 * 1024
_ROWS_MIN, _ROWS_MAX = 512, 32_768
#: A request that is kept whole takes about a kilobyte besides its rows.
_REQUESTS_MAX = 8192
#: Texts, and outputs whose width the model does not tell, may be of any size; those kept whole are bounded by this, or
#: by what the model tells where that is more.
_WHOLE_BYTES_MAX = 16 * 1024 * 1024
_PACKED_MIN = 32
#: So many requests, or half of the rows that may wait, are counted before their time. Each time holds up the requests
#: of that moment for as long as it counts, and each costs as much as some fifty requests before it counts the first.
ENOUGH_REQUESTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """The counted part of a request, where keeping all of it would keep too much memory."""

    id: str | None
    rows: int
    inputs: Mapping[str, Array]
    outputs: tuple[RequestedOutput, ...]


class Tap:
    """Between the event loop, which alone calls ``observe``, and who takes what waits, one at a time.

    Of a plain request it keeps the bytes of its row, of others references: nobody writes into arrays that were
    answered. Bytes are small and lie together; whole requests that live on push everything else out of the caches.
    What does not fit is dropped and counted. ``enough`` is called, on the event loop, once when enough waits to be
    counted, and again when there is enough after some of it was taken.
    """

    def __init__(self, tensors: Tensors, *, rows_max: int | None = None) -> None:
        fitting = _BYTES_MAX // max(tensors.row_bytes, 1)
        self.rows_max = rows_max or min(max(fitting, _ROWS_MIN), _ROWS_MAX)
        self.enough: Callable[[], None] = _nobody
        self._told = False
        self.dropped_rows = 0
        self._tensors = tensors
        self._whole = tensors.all_of_them
        self._packable = tensors.packable
        self._only_input = tensors.inputs[0].name if len(tensors.inputs) == 1 else None
        self._output_names = tuple(spec.name for spec in tensors.outputs)
        #: What requests ask for that name no output; they all have this very tuple.
        self._usual: tuple[RequestedOutput, ...] | None = None
        self._waiting: deque[Answered] = deque()
        self._packed: deque[Packed] = deque()
        #: What packed rows hold, as the first of them has shown.
        self.packing: Packing | None = None
        self._row_size = -1
        self._packed_max = self._enough_packed = 0
        self._pack_at_most(min(self.rows_max, _REQUESTS_MAX))
        # Each is written by one side alone, so that neither needs a lock.
        self._offered = 0
        self._taken = 0
        self._enough_rows = self.rows_max // 2
        self._bytes_max = max(_WHOLE_BYTES_MAX, 2 * self.rows_max * tensors.row_bytes)
        self._offered_bytes = 0
        self._taken_bytes = 0

    def observe(self, request: InferRequest, outputs: Sequence[Array]) -> None:
        """Keep an answered request for counting; never waits, never raises."""
        rows = request.rows
        if (
            rows == 1
            and self._packable
            and request.id is None
            and (request.outputs is self._usual or self._is_usual(request.outputs))
            and self._pack(request.inputs, outputs)
        ):
            return
        waiting = self._waiting
        pending = self._offered + rows - self._taken
        if (
            pending > self.rows_max
            or len(waiting) >= _REQUESTS_MAX
            # Last, because it looks at each text.
            or self._offered_bytes + (size := _bytes_of((request, outputs))) - self._taken_bytes > self._bytes_max
        ):
            self._overflow(request, outputs)
            return
        if self._whole:
            waiting.append((request, outputs))
        else:
            copied = self._copied(request, outputs)
            waiting.append(copied)
            size = _bytes_of(copied)
        self._offered += rows
        self._offered_bytes += size
        if (len(waiting) >= ENOUGH_REQUESTS or pending > self._enough_rows) and not self._told:
            self._told = True
            self.enough()

    @property
    def rows_waiting(self) -> int:
        """Rows that have been offered and not taken."""
        return self._offered - self._taken + len(self._packed)

    def take(self, requests: int, rows: int) -> tuple[list[Packed], list[Answered]]:
        """Return requests that wait: so many, or fewer where they have so many rows, or all there are."""
        packed = self.take_packed(min(requests, rows))
        answered: list[Answered] = []
        count = 0
        while len(packed) + len(answered) < requests and len(packed) + count < rows and self._waiting:
            one = self._waiting.popleft()
            answered.append(one)
            count += one[0].rows
            self._taken_bytes += _bytes_of(one)
        self._taken += count
        return packed, answered

    def take_packed(self, requests: int) -> list[Packed]:
        """Return requests of one row that wait as bytes, in order and at most so many."""
        self._told = False
        take = self._packed.popleft
        return [take() for _ in range(min(len(self._packed), requests))]

    def _pack(self, inputs: Mapping[str, Array], outputs: Sequence[Array]) -> bool:
        """Keep the bytes of a row; return whether it is as long as others and there was room."""
        only, packed = self._only_input, self._packed
        arrays: Sequence[Any]  # arrays are buffers, which Python 3.11 has no type for
        if only is not None:
            arrays = (inputs[only], *outputs)
        else:
            arrays = (*(inputs[spec.name] for spec in self._tensors.inputs), *outputs)
        try:
            row = b"".join(arrays)
        except TypeError:
            return False  # one of them does not lie in one piece
        if len(row) != self._row_size:
            if self.packing is None:
                self._learn(inputs, outputs)
            if len(row) != self._row_size:
                return False
        waits = len(packed)
        if waits >= self._packed_max:
            return False
        packed.append(row)
        if waits >= self._enough_packed and not self._told:
            self._told = True
            self.enough()
        return True

    def _learn(self, inputs: Mapping[str, Array], outputs: Sequence[Array]) -> None:
        self.packing = Packing.of(self._tensors, inputs, outputs)
        if self.packing is None:
            self._packable = False  # it does not keep to its own description
        else:
            self._row_size = self.packing.size
            # The model may not tell how wide its outputs are.
            self._pack_at_most(min(self._packed_max, max(_WHOLE_BYTES_MAX // self._row_size, _PACKED_MIN)))

    def _pack_at_most(self, requests: int) -> None:
        self._packed_max = requests
        self._enough_packed = min(ENOUGH_REQUESTS, requests // 2 + 1) - 1

    def _is_usual(self, outputs: tuple[RequestedOutput, ...]) -> bool:
        if tuple(output.name for output in outputs) != self._output_names:
            return False
        self._usual = outputs
        return True

    def _overflow(self, request: InferRequest, outputs: Sequence[Array]) -> None:
        """Keep one row of a request that does not fit, where that one does: tests need no more of it."""
        rows = request.rows
        room = self._offered + 1 - self._taken <= self.rows_max and len(self._waiting) < _REQUESTS_MAX
        if rows > 1 and room:
            one = self._one_row(request, outputs, random.randrange(rows))  # noqa: S311 - not a secret
            size = 0 if one is None else _bytes_of(one)
            if one is not None and self._offered_bytes + size - self._taken_bytes <= self._bytes_max:
                self._offered += 1
                self._offered_bytes += size
                self._waiting.append(one)
                rows -= 1
        self.dropped_rows += rows
        self.enough()

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


def _bytes_of(answered: Answered) -> int:
    """Return what keeping the arrays of a request keeps."""
    request, outputs = answered
    return sum(map(_array_bytes, request.inputs.values())) + sum(map(_array_bytes, outputs))


def _array_bytes(array: Array) -> int:
    return sum(map(len, array.ravel().tolist())) if array.dtype.kind == "O" else array.nbytes


def _nobody() -> None:
    """Nobody counts before the time has come."""
