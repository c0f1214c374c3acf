"""One client that does not take what was written for it: watched until it does, or cut off."""

import asyncio

from penstock_server.unfinished_bodies import TooManyBodies, UnfinishedBodies

#: A client that does not take its answers has so long for each of these parts of them.
TAKE_SECONDS_MAX = 30.0
_TAKEN_BYTES_MIN = 64 * 1024


class Taking:
    """Begins when a transport holds more than it should; ``untaken`` is what all clients together leave here.

    What is written stays in memory until the client takes it, and nothing else would ever end that: a client that is
    there and reads nothing keeps its connection for ever.
    """

    def __init__(self, transport: asyncio.Transport, untaken: UnfinishedBodies) -> None:
        self._transport = transport
        self._untaken = untaken
        self._kept = 0
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def end(self) -> None:
        """The client has taken nearly all, or has gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._untaken.give_back(self._kept)
        self._kept = 0

    def _look(self) -> None:
        """Give the client up that takes too little, or where all of them together leave too much."""
        size, kept = self._transport.get_write_buffer_size(), self._kept
        # It may be more than before: an answer that was being made when the client stopped.
        too_little = kept - _TAKEN_BYTES_MIN < size <= kept
        self.end()
        try:
            self._untaken.keep(size)
        except TooManyBodies:
            too_little = True
        else:
            self._kept = size
        if too_little:
            self.end()
            self._transport.abort()
        else:
            self._timer = asyncio.get_running_loop().call_later(TAKE_SECONDS_MAX, self._look)
