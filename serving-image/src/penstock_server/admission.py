"""How many requests run at once, how many wait, and who is turned away."""

import asyncio


class Overloaded(Exception):  # noqa: N818 - it is a state of the server
    """As many requests wait as may wait."""


class Admission:
    """Gives ``concurrency_max`` turns at once and lets ``queue_max`` wait, first come, first served."""

    def __init__(self, *, concurrency_max: int, queue_max: int) -> None:
        self._turns = asyncio.Semaphore(concurrency_max)
        self._concurrency_max = concurrency_max
        self._queue_max = queue_max
        self.in_flight = 0
        self.queued = 0

    @property
    def has_turn(self) -> bool:
        """Whether fewer run than may."""
        return self.in_flight < self._concurrency_max

    @property
    def free(self) -> bool:
        """Whether somebody who comes now gets a turn at once."""
        return self.in_flight < self._concurrency_max and not self.queued

    async def acquire(self) -> None:
        """Wait for a turn; raise Overloaded at once where the queue is full."""
        if self._turns.locked():
            self.join_queue()
            try:
                await self._turns.acquire()
            finally:
                self.leave_queue()
        else:
            await self._turns.acquire()
        self.in_flight += 1

    async def acquire_for_batch(self) -> None:
        """Wait for a turn on behalf of requests that have been counted as waiting already."""
        await self._turns.acquire()
        self.in_flight += 1

    def join_queue(self) -> None:
        """Count somebody who waits; raise Overloaded where the queue is full."""
        if self.queued >= self._queue_max:
            raise Overloaded(f"{self.in_flight} requests run and {self.queued} wait already")
        self.queued += 1

    def leave_queue(self) -> None:
        """Count somebody who waits no longer."""
        self.queued -= 1

    def release(self) -> None:
        """Give a turn back; once for each time that one was acquired."""
        self.in_flight -= 1
        self._turns.release()
