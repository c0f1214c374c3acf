"""The time of day to a few milliseconds, for where it is asked with every request."""

import sys
import time
from collections.abc import Callable

#: CLOCK_REALTIME_COARSE, which Python has no name for. The exact clock makes the processor finish all that is under way
#: before it is read, which takes half a microsecond in the middle of a request; this one is a number in memory.
_COARSE = 5


def _coarse() -> float:
    return time.clock_gettime(_COARSE)


#: Seconds since 1970.
now: Callable[[], float] = _coarse if sys.platform == "linux" else time.time
