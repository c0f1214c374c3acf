"""From a source to a file: counted, hashed, bounded, and tried again where that can help."""

import asyncio
import contextlib
import errno
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed, unavailable
from penstock_server.fetch.source import Source, Stream
from penstock_server.log import Log

#: No new attempt begins this long after the last byte came, so that a source which is down is told within 30 s.
_RETRY_SECONDS = 20.0
_OPEN_SECONDS_MAX = 8.0
_STALL_SECONDS_MAX = 20.0
_DELAYS_SECONDS = (0.5, 1.0, 2.0, 4.0)
_PROGRESS_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a download may cost."""

    bytes_max: int
    seconds_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time and chance, so that tests need neither."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


class Download:
    """Writes one file from a source; the file holds nothing useful unless ``run`` returned."""

    def __init__(self, source: Source, file: Path, limits: Limits, log: Log, timing: Timing | None = None) -> None:
        self._source = source
        self._file = file
        self._limits = limits
        self._log = log
        self._timing = timing or Timing()
        self._progress_at = self._timing.clock()

    async def run(self) -> str:
        """Return the SHA-256 of what was written, in hex; raise FetchFailed."""
        try:
            async with asyncio.timeout(self._limits.seconds_max):
                return await self._with_retries()
        except TimeoutError:
            raise unavailable(f"the download was not complete after {self._limits.seconds_max:g} s") from None

    async def _with_retries(self) -> str:
        attempt = 0
        while True:
            try:
                return await self._once()
            except FetchFailed as failure:
                delay = self._delay(attempt)
                waited = self._timing.clock() - self._progress_at
                if failure.permanent or waited + delay > _RETRY_SECONDS:
                    raise
                attempt += 1
                self._log("retrying", attempt=attempt, delay_seconds=round(delay, 2), error=str(failure))
                await self._timing.sleep(delay)

    def _delay(self, attempt: int) -> float:
        """Return between half and the whole of a delay that grows: attempts of many pods must not come together."""
        return _DELAYS_SECONDS[min(attempt, len(_DELAYS_SECONDS) - 1)] * (0.5 + self._timing.jitter() / 2)

    async def _once(self) -> str:
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_OPEN_SECONDS_MAX):
                    stream = await stack.enter_async_context(self._source.open())
            except TimeoutError:
                raise unavailable(f"the source did not answer within {_OPEN_SECONDS_MAX:g} s") from None
            self._check_size(stream.size or 0)
            return await self._copy(stream)

    async def _copy(self, stream: Stream) -> str:
        digest, written, told_at = hashlib.sha256(), 0, self._timing.clock()
        with _created(self._file) as file:
            while True:
                chunk = await _next(stream.chunks)
                if chunk is None:
                    break
                written += len(chunk)
                self._check_size(written)
                digest.update(chunk)
                _write(file, chunk)
                self._progress_at = self._timing.clock()
                if self._progress_at - told_at >= _PROGRESS_SECONDS:
                    told_at = self._progress_at
                    self._log("fetching", bytes=written, of=stream.size)
        if stream.size is not None and written < stream.size:
            raise unavailable(f"the source ended after {written} of {stream.size} bytes")
        self._log("fetched", bytes=written)
        return digest.hexdigest()

    def _check_size(self, size: int) -> None:
        if size > self._limits.bytes_max:
            raise FetchFailed(
                Reason.TOO_LARGE, f"the model has {size} bytes or more; at most {self._limits.bytes_max} are fetched"
            )


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(_STALL_SECONDS_MAX):
            return await anext(chunks, None)
    except TimeoutError:
        raise unavailable(f"the source sent nothing for {_STALL_SECONDS_MAX:g} s") from None


@contextlib.contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """Open a new, empty file; never one that somebody else left there, or a link."""
    try:
        path.unlink(missing_ok=True)
        file = path.open("xb")
    except OSError as error:
        raise _storage(path, error) from error
    with file:
        yield file
        _write(file, b"", flush=True)


def _write(file: BinaryIO, chunk: bytes, *, flush: bool = False) -> None:
    # Sources see what is raised while they are open; an error of our own disk must not look like one of theirs.
    try:
        file.write(chunk)
        if flush:
            file.flush()
    except OSError as error:
        raise _storage(Path(file.name), error) from error


def _storage(path: Path, error: OSError) -> FetchFailed:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return FetchFailed(Reason.STORAGE_FULL, f"the model does not fit into the pod's volume at {path.parent}")
    return FetchFailed(Reason.INVALID_CONFIGURATION, f"cannot write {path}: {error.strerror or error}")
