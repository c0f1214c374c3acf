"""From a source to a file: counted, hashed, bounded, and continued where it broke off."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import ContentChanged, FetchFailed, unavailable
from penstock_server.fetch.partial_file import PartialFile, created
from penstock_server.fetch.progress import Progress
from penstock_server.fetch.source import Position, Source, Stream
from penstock_server.log import Log

#: No new attempt begins this long after the last byte came, so that a source which is down is told within 30 s.
_RETRY_SECONDS = 12.0
_OPEN_SECONDS_MAX = 8.0
_STALL_SECONDS_MAX = 20.0
_DELAYS_SECONDS = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a download may cost. ``patient`` False: the first failure is the last."""

    bytes_max: int
    seconds_max: float
    patient: bool = True


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
        self._last_byte_at = self._timing.clock()
        self._progress = Progress(log, at=self._last_byte_at)
        self._tag = ""
        self.continued = False
        """Whether the file was put together from several attempts."""
        self.bytes = 0
        """The size of what was written."""

    async def run(self) -> str:
        """Return the SHA-256 of what was written, in hex; raise FetchFailed."""
        try:
            async with asyncio.timeout(self._limits.seconds_max):
                with created(self._file) as partial:
                    return await self._with_retries(partial)
        except TimeoutError:
            raise unavailable(f"the download was not complete after {self._limits.seconds_max:g} s") from None

    async def _with_retries(self, partial: PartialFile) -> str:
        attempt = 0
        while True:
            try:
                await self._once(partial)
            except FetchFailed as failure:
                if isinstance(failure, ContentChanged):
                    self._tag = ""
                delay = self._delay(attempt)
                waited = self._timing.clock() - self._last_byte_at
                if failure.permanent or not self._limits.patient or waited + delay > _RETRY_SECONDS:
                    raise
                attempt += 1
                self._log(
                    "retrying", attempt=attempt, delay_seconds=round(delay, 2), bytes=partial.bytes, error=str(failure)
                )
                await self._timing.sleep(delay)
            else:
                self.bytes = partial.bytes
                self._log("fetched", bytes=partial.bytes)
                return partial.sha256

    def _delay(self, attempt: int) -> float:
        """Return between half and the whole of a delay that grows: attempts of many pods must not come together."""
        return _DELAYS_SECONDS[min(attempt, len(_DELAYS_SECONDS) - 1)] * (0.5 + self._timing.jitter() / 2)

    async def _once(self, partial: PartialFile) -> None:
        position = Position(bytes=partial.bytes, tag=self._tag) if self._tag and partial.bytes else None
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_OPEN_SECONDS_MAX):
                    stream = await stack.enter_async_context(self._source.open(position))
            except TimeoutError:
                raise unavailable(f"the source did not answer within {_OPEN_SECONDS_MAX:g} s") from None
            self._begin(partial, stream)
            self._check_size(stream.size or 0)
            await self._copy(partial, stream)

    def _begin(self, partial: PartialFile, stream: Stream) -> None:
        if stream.start not in {0, partial.bytes}:
            self._tag = ""
            raise unavailable(f"the source began at byte {stream.start} instead of {partial.bytes}")
        if stream.start == 0:
            partial.restart()
            self.continued = False
        else:
            self.continued = True
            self._log("continuing", bytes=partial.bytes, of=stream.size)
        self._tag = stream.tag
        self._progress.attempt(partial.bytes, at=self._timing.clock())

    async def _copy(self, partial: PartialFile, stream: Stream) -> None:
        while (chunk := await _next(stream.chunks)) is not None:
            self._check_size(partial.bytes + len(chunk))
            partial.write(chunk)
            self._last_byte_at = self._timing.clock()
            self._progress.tell(partial.bytes, stream.size, at=self._last_byte_at)
        partial.flush()
        if stream.size is not None and partial.bytes < stream.size:
            raise unavailable(f"the source ended after {partial.bytes} of {stream.size} bytes")

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
