"""Compares the cache with full lists: at the start, after a gap in a watch, and every few minutes."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from penstock_operator.core.objects import Kind
from penstock_operator.ports import ClusterUnavailable, RequestRejected

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS_MAX = 15.0
_SETTLE_SECONDS = 1.0
#: After the start one list comes soon: what was deleted between our list and that of the watch is a ghost.
_SECOND_LIST_SECONDS = 20.0

#: Lists one kind in one namespace (None: all) into the cache and returns how many differences there were.
ListInto = Callable[[Kind, str | None], Awaitable[int]]


class Resync:
    """Lists every kind of ours again and again.

    kopf never tells of an object that was deleted while its watch was broken; only a full list shows that.
    """

    def __init__(self, list_into: ListInto, *, namespaces: tuple[str, ...], interval_seconds: float) -> None:
        self._list_into = list_into
        self._scopes: tuple[str | None, ...] = namespaces or (None,)
        self._interval = interval_seconds
        self._wanted: set[Kind] = set()
        self._wake = asyncio.Event()
        self.listed = asyncio.Event()
        """Set when every kind was listed for the first time."""

    async def until_listed(self) -> None:
        """Return when every kind has been listed once from now; retries until then."""
        missing = list(Kind)
        pause = 0.25
        while missing:
            results = [(kind, await self._try(kind)) for kind in missing]
            missing = [kind for kind, listed in results if not listed]
            if missing:
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
                pause = min(pause * 2, _RETRY_SECONDS_MAX)
        self.listed.set()

    def request(self, kind: Kind) -> None:
        """Compare this kind soon: its watch had a gap."""
        self._wanted.add(kind)
        self._wake.set()

    async def run(self) -> None:
        """Compare for ever."""
        pause = _SECOND_LIST_SECONDS
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                await asyncio.sleep(_SETTLE_SECONDS)  # one list for a whole burst of requests
                kinds, self._wanted = self._wanted, set()
                self._wake.clear()
            except TimeoutError:
                kinds = set(Kind)
                pause = self._interval
            for kind in Kind:
                if kind in kinds and not await self._try(kind):
                    self._wanted.add(kind)  # with the next ones

    async def _try(self, kind: Kind) -> bool:
        try:
            for namespace in self._scopes:
                if repaired := await self._list_into(kind, namespace):
                    _LOG.debug("%s: %d objects differed from the list", kind.name, repaired)
        except (ClusterUnavailable, RequestRejected) as error:
            _LOG.warning("%s could not be listed: %s", kind.resource.plural, error)
            return False
        return True
