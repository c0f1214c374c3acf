"""The C library's heap: shared by all threads, and given back to the system where it is free."""

import contextlib
import ctypes

# From glibc's malloc.h.
_M_ARENA_MAX = -8
_HEAPS = 2
#: How often it is given back. It takes a millisecond or less, in which threads that want memory wait.
SECONDS = 20.0


def share() -> None:
    """Let all threads allocate from two heaps; to be called before there are threads.

    glibc makes up to eight per core, and each keeps what its threads once needed: a server with many threads would grow
    for an hour before it stays as it is.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)


def give_back() -> None:
    """Give the system back what is free. Blocks.

    glibc does so only at the end of a heap: what is free before a block that lives on stays with the process. Requests
    that come together need more for a moment than they ever did before, again and again, so without this the process
    grows for hours, and all of the growth is free.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
