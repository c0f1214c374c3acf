"""Commands to a rollout or a policy: the annotation that carries one, and the answer in status."""

import json
from dataclasses import dataclass
from enum import StrEnum

from penstock_cli.wire import Wire, part, text

#: The one annotation by which people command a TrafficSplit or a DriftPolicy.
ANNOTATION = "penstock.dev/command"
_REFUSED = "Refused"


class Verb(StrEnum):
    """What a person may ask of a rollout, or with ``ack`` and ``restore`` of a policy."""

    PROMOTE = "promote"
    ABORT = "abort"
    RETRY = "retry"
    PAUSE = "pause"
    RESUME = "resume"
    ROLLBACK = "rollback"
    ACK = "ack"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command; the operator carries it out once per ``id``."""

    verb: Verb
    id: str
    by: str
    at: str
    full: bool = False
    candidate: str | None = None
    revision: str | None = None
    alarm: str | None = None
    model: str | None = None

    def to_annotation(self) -> str:
        """Return the annotation's value."""
        wire: dict[str, str | bool] = {"verb": self.verb.value, "id": self.id, "by": self.by, "at": self.at}
        if self.full:
            wire["full"] = True
        named = {"candidate": self.candidate, "revision": self.revision, "alarm": self.alarm, "model": self.model}
        wire |= {field: value for field, value in named.items() if value is not None}
        return json.dumps(wire, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a command."""

    outcome: str

    @property
    def refused(self) -> bool:
        """Whether the command did not fit and changed nothing."""
        return self.outcome.startswith(_REFUSED)


def answer_in(commanded: Wire, command: Command) -> Answer | None:
    """Return the answer to ``command`` that a status holds, or None if there is none yet."""
    last = part(commanded, "status", "lastCommand")
    return Answer(outcome=text(last, "outcome")) if last.get("id") == command.id else None
