"""Keeps account of what one reconcile did, for one line in the log."""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar

from structlog.contextvars import bound_contextvars

from penstock_operator.core.objects import Manifest, ObjectRef
from penstock_operator.queue import Reconciler

_LOG = logging.getLogger(__name__)
_DEEDS: ContextVar[list[str] | None] = ContextVar("deeds", default=None)


def note(deed: str) -> None:
    """Add something that was done to the line of the present reconcile; outside of one it is not kept."""
    deeds = _DEEDS.get()
    if deeds is not None:
        deeds.append(deed)


class Journaled:
    """A reconciler whose every log line names its object, and whose deeds make one line at the end."""

    def __init__(self, reconciler: Reconciler, look: Callable[[ObjectRef], Manifest | None]) -> None:
        self._reconciler = reconciler
        self._look = look

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Look, decide and write; return the seconds until the next look, None: only on a change."""
        deeds: list[str] = []
        seen = self._look(ref)
        generation = seen["metadata"].get("generation") if seen else None
        started = time.monotonic()
        token = _DEEDS.set(deeds)
        subject = ref.kind.resource.kind
        try:
            with bound_contextvars(kind=subject, namespace=ref.namespace, name=ref.name, generation=generation):
                try:
                    return await self._reconciler.reconcile(ref)
                finally:
                    if deeds:
                        elapsed = round(time.monotonic() - started, 4)
                        _LOG.info("reconciled", extra={"deeds": deeds, "seconds": elapsed})
        finally:
            _DEEDS.reset(token)
