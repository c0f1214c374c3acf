"""What one reconcile decided, as data: writes, status, events and when to look again."""

from dataclasses import dataclass
from typing import Any, Literal

from penstock_operator.core.objects import Manifest, ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Server-side apply of a child, whole as we own it."""

    manifest: Manifest
    otherwise: Manifest | None = None
    """What to apply instead where the API server refuses ``manifest``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a child, if it still is the one that was seen (``uid``)."""

    ref: ObjectRef
    uid: str


Write = Apply | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """A Kubernetes Event about one of our objects."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that one reconcile wants; comparing two plans with ``==`` compares the decisions.

    ``status`` is the whole wire form of the new status; it is written only if it differs from the live one.
    ``requeue_after_seconds`` is None when only a change of the world can change the decision.
    """

    writes: tuple[Write, ...] = ()
    status: dict[str, Any] | None = None
    events: tuple[EventRecord, ...] = ()
    requeue_after_seconds: float | None = None
