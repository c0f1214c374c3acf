"""In which order waiting objects are worked on: ticks of rollouts do not wait behind hundreds of other looks."""

from collections import deque
from collections.abc import Collection

from penstock_operator.core.objects import Kind, ObjectRef

#: Of so many turns one is for those that are not urgent, however many urgent ones wait.
_TURNS = 3


class Lanes:
    """Two queues, first in, first out in each: objects of ``urgent`` kinds, and all others."""

    def __init__(self, urgent: Collection[Kind] = ()) -> None:
        self._urgent = frozenset(urgent)
        self._first: deque[ObjectRef] = deque()
        self._rest: deque[ObjectRef] = deque()
        self._turn = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._first) + len(self._rest)

    def push(self, ref: ObjectRef) -> None:
        """Let an object wait at the end of its lane."""
        (self._first if ref.kind in self._urgent else self._rest).append(ref)

    def pop(self) -> ObjectRef:
        """Return whose turn it is. Raises IndexError where nobody waits."""
        self._turn = (self._turn + 1) % _TURNS
        theirs = self._turn == 0 or not self._first
        return (self._rest if theirs and self._rest else self._first).popleft()

    def heads(self) -> list[ObjectRef]:
        """Return who has waited longest in each lane. Safe to call from another thread."""
        found = []
        for lane in (self._first, self._rest):
            try:
                found.append(lane[0])
            except IndexError:
                continue
        return found
