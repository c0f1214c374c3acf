"""How long runs take, and so where they should run."""

import math
import time
from collections.abc import Callable, Mapping

from penstock_server.protocol import Array

#: A run shorter than this holds up other requests for less time than handing it to a thread costs them.
INLINE_SECONDS_MAX = 0.001
#: After a run that took far longer than expected, nothing runs inline for a while, and twice as long the next time.
_PENALTY_SECONDS_MIN = 10.0
_PENALTY_SECONDS_MAX = 3600.0
#: How far one run moves the estimate. Down is easy and up is hard: a process that has to wait for its CPU sees runs
#: that take a hundred times as long as the work in them, and no run ever takes less.
_DOWN = 0.8
_UP = 1.05
_SIZES = 64


class Pace:
    """Estimates the time of a run from the sizes of its inputs, by what runs of about that size took.

    One estimate per power of two of elements, below the middle of what was seen: a run has a fixed
    cost and one per element, and neither is known. Sizes that have not been seen are extrapolated from
    the next smaller one, as if everything grew with the size, which errs towards the thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: list[float] = [math.nan] * _SIZES
        self._penalty_seconds = _PENALTY_SECONDS_MIN
        self._inline_from = 0.0

    def inline(self, size: int) -> bool:
        """Return whether a run of this size should happen on the event loop's thread."""
        if self._inline_from and self._clock() < self._inline_from:
            return False
        # A NaN (nothing known) is not below the limit either.
        return self._seconds[size] < INLINE_SECONDS_MAX or self.expected_seconds(size) < INLINE_SECONDS_MAX

    def expected_seconds(self, size: int) -> float:
        """Return the expected time of a run of this size, NaN where nothing is known."""
        seconds = self._seconds[size]
        if seconds == seconds:  # noqa: PLR0124 - the cheapest question whether it is NaN
            return seconds
        for smaller in range(size - 1, -1, -1):
            if not math.isnan(self._seconds[smaller]):
                return self._seconds[smaller] * 2.0 ** (size - smaller)
        return math.nan

    def ran(self, size: int, seconds: float) -> None:
        """Learn from a run that ended."""
        known = self._seconds[size]
        # Written out: this is done for every request, and max and min take as long as all the rest of it.
        if seconds < known:
            lower = known * _DOWN
            self._seconds[size] = seconds if seconds > lower else lower  # noqa: FURB136 - see above
        elif seconds > known:
            upper = known * _UP
            self._seconds[size] = seconds if seconds < upper else upper  # noqa: FURB136 - see above
        elif math.isnan(known):
            self._seconds[size] = seconds

    def ran_over(self) -> float:
        """Learn that an inline run had to be ended; return for how many seconds nothing runs inline."""
        seconds = self._penalty_seconds
        self._inline_from = self._clock() + seconds
        self._penalty_seconds = min(seconds * 2, _PENALTY_SECONDS_MAX)
        return seconds


def size_of(inputs: Mapping[str, Array]) -> int:
    """Return the size of a run with these inputs: the power of two above the number of elements."""
    elements = 0
    for array in inputs.values():
        elements += array.size
    return elements.bit_length()
