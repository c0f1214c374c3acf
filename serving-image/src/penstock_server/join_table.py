"""Remembers numbers by hashed keys, for a bounded number of keys."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

KeyArray = npt.NDArray[np.uint64]
_WAYS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is remembered of a key: a number, since when in seconds, and whether it was marked."""

    value: float
    at: float
    labelled: bool


class JoinTable:
    """A hash table of fixed size: each key may lie in one of a few places, and the oldest there gives way."""

    def __init__(self, entries: int) -> None:
        self._sets = max(entries // _WAYS, 1)
        shape = (self._sets, _WAYS)
        # Zero pages cost nothing before they are written to.
        self._keys: KeyArray = np.zeros(shape, np.uint64)
        self._at: npt.NDArray[np.uint32] = np.zeros(shape, np.uint32)
        self._values: npt.NDArray[np.float64] = np.zeros(shape)
        self._labelled: npt.NDArray[np.bool_] = np.zeros(shape, np.bool_)

    def put(self, keys: KeyArray, values: npt.NDArray[np.float64], now: float) -> None:
        """Remember values; of equal keys the last one."""
        # Clients that send the same id with each request are common, and would go through the loop below one by one.
        _, from_the_end = np.unique(keys[::-1], return_index=True)
        last = len(keys) - 1 - from_the_end
        keys, values = keys[last], values[last]
        sets = (keys % np.uint64(self._sets)).astype(np.intp)
        left = np.arange(len(keys))
        while len(left):
            # One of each set at a time: two of one set would choose the same place.
            _, first = np.unique(sets[left], return_index=True)
            chosen = left[first]
            lines = sets[chosen]
            same = self._keys[lines] == keys[chosen][:, np.newaxis]
            ways = np.where(same.any(axis=1), same.argmax(axis=1), self._at[lines].argmin(axis=1))
            self._keys[lines, ways] = keys[chosen]
            self._at[lines, ways] = int(now)
            self._values[lines, ways] = values[chosen]
            self._labelled[lines, ways] = False
            left = np.delete(left, first)

    def find(self, key: int) -> Found | None:
        """Return what is remembered of a key."""
        place = self._place(key)
        if place is None:
            return None
        return Found(value=float(self._values[place]), at=float(self._at[place]), labelled=bool(self._labelled[place]))

    def mark(self, key: int) -> None:
        """Remember that a key has its label."""
        place = self._place(key)
        if place is not None:
            self._labelled[place] = True

    def _place(self, key: int) -> tuple[int, int] | None:
        line = key % self._sets
        ways = np.flatnonzero(self._keys[line] == np.uint64(key))
        return (line, int(ways[0])) if len(ways) else None
