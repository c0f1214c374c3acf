"""What moved traffic, or was asked to, as entries of the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock_operator.core.conditions import timestamp
from penstock_operator.core.rollout_state import Ending, HistoryEntry, Rollout

_VERBS: dict[Ending, str] = {
    "Promoted": "promote",
    "RolledBack": "rollback",
    "Aborted": "abort",
    "Superseded": "supersede",
    "Withdrawn": "withdraw",
    "Lost": "lose",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One deed: who, when, what and what came of it.

    ``id`` is the command's own; of what nobody commanded it names the rollout. ``before`` and ``after`` are the
    intended weights by revision.
    """

    at: float
    namespace: str
    split: str
    verb: str
    id: str
    by: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    outcome: str

    def to_wire(self) -> dict[str, Any]:
        """Return the entry as the log has it."""
        return {
            "time": timestamp(self.at),
            "namespace": self.namespace,
            "split": self.split,
            "verb": self.verb,
            "id": self.id,
            "by": self.by,
            "from": dict(self.before),
            "to": dict(self.after),
            "outcome": self.outcome,
        }


def audit_entries(
    before: Rollout,
    after: Rollout,
    *,
    namespace: str,
    split: str,
    now: float,
    command: Mapping[str, Any] | None = None,
) -> tuple[AuditEntry, ...]:
    """Return the entries of one look at a split: the command that it carried out, and every rollout that it ended.

    ``before`` is the rollout as it was looked at, ``after`` as it was decided; ``command`` is what goes into
    status.lastCommand if this look answered a new one, else None. Record them once the status that tells the same
    is written: then a look that is done again, by this process or the next, has nothing to record.

    >>> asked = {"id": "7", "verb": "pause", "by": "ada", "outcome": "held at 5%"}
    >>> (entry,) = audit_entries(Rollout(stable="a"), Rollout(stable="a"), namespace="shop", split="fraud", now=0.0,
    ...     command=asked)
    >>> entry.to_wire()["by"], entry.to_wire()["from"], entry.to_wire()["to"]
    ('ada', {'a': 100}, {'a': 100})
    """
    known = set(before.history)
    ended = [entry for entry in reversed(after.history) if entry not in known]
    told = [_commanded(command), *(_ended(entry) for entry in ended if not _is_answer(entry, command))]
    return tuple(
        AuditEntry(at=now, namespace=namespace, split=split, before=before.weights, after=after.weights, **deed)
        for deed in told
        if deed
    )


def _commanded(command: Mapping[str, Any] | None) -> dict[str, str]:
    if command is None:
        return {}
    return {name: str(command.get(name, "")) for name in ("verb", "id", "by", "outcome")}


def _ended(entry: HistoryEntry) -> dict[str, str]:
    return {
        "verb": _verb(entry),
        "id": f"{entry.revision}@{timestamp(entry.started_at)}",
        "by": entry.by,
        "outcome": f"{entry.outcome} {entry.revision}: {entry.message}",
    }


def _is_answer(entry: HistoryEntry, command: Mapping[str, Any] | None) -> bool:
    """Return whether a rollout ended by this very command, whose entry tells it already."""
    return command is not None and entry.by == command.get("by") and _verb(entry) == command.get("verb")


def _verb(entry: HistoryEntry) -> str:
    return _VERBS.get(entry.outcome, entry.outcome.lower())
