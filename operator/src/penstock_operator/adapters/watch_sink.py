"""Puts watch events into the cache, and notices gaps in a watch."""

import time
from collections.abc import Callable

from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.core.objects import Kind, Manifest, ref_of


class CacheSink:
    """Feeds the cache; an item of a second list tells that the watch in between was broken.

    ``on_gap`` is called then. ``last_event`` says when each kind was heard of last (monotonic seconds).
    """

    def __init__(
        self, cache: ObjectCache, *, on_gap: Callable[[Kind], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cache = cache
        self._on_gap = on_gap
        self._clock = clock
        self.last_event: dict[Kind, float] = {}

    def deliver(self, kind: Kind, event_type: str | None, manifest: Manifest) -> None:
        """Take one watch event; the type is None for an item of the list that a watch starts with."""
        self.last_event[kind] = self._clock()
        if event_type == "DELETED":
            self._cache.remove(kind, manifest)
            return
        known = self._cache.get(ref_of(kind, manifest)) is not None
        self._cache.put(kind, manifest)
        if event_type is None and known:
            self._on_gap(kind)
