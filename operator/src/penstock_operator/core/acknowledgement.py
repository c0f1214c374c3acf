"""What a person asks of a policy by the audited annotation, and what comes of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock_operator.core.action_state import ActionState, AlarmState, Standing
from penstock_operator.core.conditions import timestamp
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.retirement import restored

VERBS = ("ack", "restore")
_TEXT_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The state after a command."""

    state: ActionState
    events: tuple[EventRecord, ...] = ()


def answer(text: str | None, state: ActionState, *, now: float) -> Answered:
    """Return what comes of the annotation ``text``: each id is carried out once, and a refusal says what to write."""
    if text is None:
        return Answered(state=state)
    wire = _parsed(text)
    if isinstance(wire, str):
        outcome = f"Refused: {wire}"
        if state.command.get("outcome") == outcome:
            return Answered(state=state)
        # With the id of the last one that was a command, which must not be carried out again.
        command = {"id": state.command.get("id", ""), "verb": "", "by": "", "at": timestamp(now), "outcome": outcome}
        refused = EventRecord(type="Warning", reason="CommandRefused", message=outcome)
        return Answered(state=replace(state, command=command), events=(refused,))
    if state.command.get("id") == wire["id"]:
        return Answered(state=state)
    after, outcome = _carried_out(wire, state, now=now)
    told = {name: str(wire[name])[:_TEXT_LIMIT] for name in ("id", "verb", "by")}
    words = f"{told['verb']} by {told['by']}: {outcome}"
    return Answered(
        state=replace(after, command={**told, "at": timestamp(now), "outcome": outcome}),
        events=(EventRecord(type="Normal", reason="CommandReceived", message=words),),
    )


def _carried_out(wire: Mapping[str, Any], state: ActionState, *, now: float) -> tuple[ActionState, str]:
    wanted = wire.get("alarm" if wire["verb"] == "ack" else "model")
    wanted = wanted if isinstance(wanted, str) and wanted else None
    if wire["verb"] == "restore":
        retired, outcome = restored(state.retired, wanted)
        return replace(state, retired=retired), outcome
    alarms, outcome = _acknowledge(state.alarms, wanted, by=wire["by"], now=now)
    return replace(state, alarms=alarms), outcome


def _parsed(text: str) -> Mapping[str, Any] | str:
    """Return the command, or what is wrong with it."""
    try:
        wire: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"the annotation is not JSON ({error}); use `kubectl penstock ack` or `restore`"
    if not isinstance(wire, dict) or not all(
        isinstance(wire.get(field), str) and wire[field] for field in ("id", "verb", "by")
    ):
        return 'write {"verb": "ack", "id": "<any new text>", "by": "<who>"}'
    if wire["verb"] not in VERBS:
        return f"unknown verb {wire['verb'][:_TEXT_LIMIT]!r}; a policy knows {', '.join(VERBS)}"
    return {**wire, "id": wire["id"][:_TEXT_LIMIT]}


def _acknowledge(
    alarms: tuple[AlarmState, ...], wanted: str | None, *, by: str, now: float
) -> tuple[tuple[AlarmState, ...], str]:
    standing = [entry for entry in alarms if entry.standing in (Standing.FIRING, Standing.PENDING)]
    chosen = [entry for entry in standing if wanted in (None, entry.alarm.name, entry.alarm.model_deployment)]
    if not chosen:
        names = ", ".join(dict.fromkeys(entry.alarm.name for entry in standing))
        known = f"there are: {names}" if names else "there are none"
        about = f"no alarm {wanted} to acknowledge" if wanted else "no alarm to acknowledge"
        return alarms, f"Refused: {about}; {known}"[:_TEXT_LIMIT]
    keys = {entry.key for entry in chosen}
    changed = tuple(
        replace(entry, standing=Standing.ACKNOWLEDGED, changed_at=now, acknowledged_by=by[:_TEXT_LIMIT], held="")
        if entry.key in keys
        else entry
        for entry in alarms
    )
    names = ", ".join(dict.fromkeys(entry.alarm.name for entry in chosen))
    return changed, f"acknowledged {names}"[:_TEXT_LIMIT]
