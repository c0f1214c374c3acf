"""Keeps some answers to requests that were copied, for the operator to compare with the answers to their copies."""

import hashlib
import math
import uuid
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from penstock_contract.outputs import PAIR_LENGTH_MAX, VALUES_MAX, Output, Sample, Samples
from penstock_server.profile.rows import OUTPUT_ELEMENTS_MAX, matrix
from penstock_server.protocol import Array, InferRequest

#: So many answers are kept until they are read, a kilobyte each at most.
_KEPT_MAX = 512
_HASHES = 1 << 32
#: So many values are told of an output with too many of them.
_LARGEST_ONLY = 2

#: One row of an output, or the place of its largest value and the value.
_Kept = Array | tuple[int, float]
_Row = tuple[tuple[str, _Kept], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    seq: int
    hash: int
    pair: str
    seconds: float
    outputs: _Row


class OutputsRing:
    """Belongs to the event loop. ``note`` takes a few microseconds, and only requests that were copied come here.

    Which pairs are kept is decided by their hash, so that stable and shadow keep the same ones. Where there are too
    many, both keep half of those before, and half of those again: what the one with more traffic keeps is a part of
    what the other one does. When there is room again the share doubles.
    """

    def __init__(self, *, kept_max: int = _KEPT_MAX) -> None:
        self._boot_id = str(uuid.uuid4())
        self._kept_max = kept_max
        self._below = _HASHES
        self._seq = 0
        self._kept: deque[_Noted] = deque()

    def note(self, pair: str, request: InferRequest, outputs: Sequence[Array], seconds: float) -> None:
        """Keep an answer, or not; never raises."""
        if len(pair) > PAIR_LENGTH_MAX or not pair.isascii():
            return
        hashed = zlib.crc32(pair.encode())
        if hashed >= self._below:
            return
        row = _row(request, outputs, hashed)
        if not row:
            return
        self._seq += 1
        self._kept.append(_Noted(seq=self._seq, hash=hashed, pair=pair, seconds=seconds, outputs=row))
        while len(self._kept) > self._kept_max:
            if self._below == 1:
                # All of them are pairs of one hash, which nobody has who does not want to: never below nothing.
                self._kept.popleft()
                continue
            self._below //= 2
            self._kept = deque(noted for noted in self._kept if noted.hash < self._below)

    def take(self, after: int, boot_id: str = "") -> "Noted":
        """Return what was kept after a sample that the reader knows; what it knows is forgotten.

        Who names another life of the pod, or a sample that has never been, knows nothing of this one.
        """
        if boot_id not in {"", self._boot_id} or after > self._seq:
            after = 0
        while self._kept and self._kept[0].seq <= after:
            self._kept.popleft()
        told = Noted(boot_id=self._boot_id, seq=self._seq, share=self._below / _HASHES, answers=tuple(self._kept))
        if len(self._kept) < self._kept_max // 4:
            self._below = min(self._below * 2, _HASHES)
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What is told to one reader, still as arrays: making a text of it is for another thread."""

    boot_id: str
    seq: int
    share: float
    answers: tuple[_Noted, ...]

    def samples(self) -> Samples:
        """Return it as both sides know it."""
        return Samples(
            boot_id=self.boot_id,
            seq=self.seq,
            share=self.share,
            samples=tuple(
                Sample(
                    seq=one.seq,
                    pair=one.pair,
                    seconds=one.seconds,
                    outputs=tuple(_output(name, row) for name, row in one.outputs),
                )
                for one in self.answers
            ),
        )

    def body(self) -> bytes:
        """Return the answer to GET /v1/outputs."""
        return orjson.dumps(self.samples().to_wire())


def _row(request: InferRequest, outputs: Sequence[Array], hashed: int) -> _Row:
    """Return a copy of one row of what can be told of the outputs: the same row on both sides."""
    rows, room = request.rows, VALUES_MAX
    kept: list[tuple[str, _Kept]] = []
    if rows < 1:
        return ()
    for wanted, array in zip(request.outputs, outputs, strict=True):
        table = matrix(array, rows)
        width = 0 if table is None else table.shape[1]
        if table is None or not 0 < width <= OUTPUT_ELEMENTS_MAX:
            continue
        row = table[hashed % rows]
        if width > VALUES_MAX and row.dtype.kind == "f" and room >= _LARGEST_ONLY:
            kept.append((wanted.name, _largest(row)))
            room -= _LARGEST_ONLY
        elif width <= room:
            kept.append((wanted.name, row.copy()))
            room -= width
    return tuple(kept)


def _largest(row: Array) -> tuple[int, float]:
    place = int(np.argmax(row))  # a NaN is the largest
    return place, float(row[place])


def _output(name: str, kept: _Kept) -> Output:
    if isinstance(kept, tuple):
        place, largest = kept
        return Output(name=name, labels=(str(place),), scores=(_finite(largest),))
    values = kept.tolist()
    if kept.dtype.kind == "f":
        return Output(name=name, scores=tuple(map(_finite, values)))
    if kept.dtype.kind == "O":
        # Texts may be anybody's; that they differ is all that is asked.
        return Output(name=name, labels=tuple(map(_digest, values)))
    return Output(name=name, labels=tuple(str(int(value)) for value in values))


def _finite(score: float) -> float | None:
    return score if math.isfinite(score) else None


def _digest(value: str | bytes) -> str:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return hashlib.blake2b(data, digest_size=8).hexdigest()
