"""Revisions that policies have retired: what keeps one from it, what it means, and how it ends.

The word is in the policy's status and nowhere else. A ModelDeployment's spec stays as it was, a new revision of it
serves, and the retirement ends with a command, with the revision, or with the policy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.alarms import Alarm
from penstock_operator.core.conditions import timestamp, unix_seconds
from penstock_operator.core.names import model_deployment_of
from penstock_operator.core.objects import Manifest
from penstock_operator.core.traffic_view import governing_split, usage_of

#: A policy of hundreds of models retires no more of them at once; the next waits until one is restored.
RETIRED_MAX = 50
_TEXT_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """One revision that is to have no pods. ``why`` is the alarm, with its numbers."""

    model_deployment: str
    revision: str
    window_id: str
    why: str
    at: float

    def to_wire(self) -> dict[str, Any]:
        """Return the entry of a policy's status."""
        return {
            "modelDeployment": self.model_deployment,
            "revision": self.revision,
            "window": self.window_id,
            "at": timestamp(self.at),
            "message": self.why[:_TEXT_MAX],
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "Retired":
        """Return an entry of a policy's status; raise KeyError, TypeError or ValueError."""
        return cls(
            model_deployment=str(wire["modelDeployment"]),
            revision=str(wire["revision"]),
            window_id=str(wire.get("window", "")),
            why=str(wire.get("message", "")),
            at=unix_seconds(wire["at"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What has traffic, and which revisions there are: None where that is not known."""

    serving: frozenset[str] = frozenset()
    existing: frozenset[str] | None = None


def surroundings(deployments: Sequence[Manifest], splits: Sequence[Manifest]) -> Surroundings:
    """Return what of a namespace decides whether a revision can be retired."""
    existing: set[str] = set()
    serving = set(usage_of(splits).in_use)
    for deployment in deployments:
        status = deployment.get("status") or {}
        existing |= {str(one.get("name")) for one in status.get("revisions", ())}
        existing |= {str(status[field]) for field in ("stableRevision", "latestRevision") if status.get(field)}
        if governing_split(deployment["metadata"]["name"], splits) is None and status.get("stableRevision"):
            serving.add(str(status["stableRevision"]))
    return Surroundings(serving=frozenset(serving), existing=frozenset(existing))


def objection(spec: DriftPolicySpec, alarm: Alarm, retired: Sequence[Retired], around: Surroundings) -> str | None:
    """Return why a revision is not retired yet, empty where there is none to retire, None where it may be."""
    if not alarm.revision or any(one.revision == alarm.revision for one in retired):
        return ""
    if around.existing is not None and alarm.revision not in around.existing:
        return ""
    if len(retired) >= RETIRED_MAX:
        return f"{RETIRED_MAX} revisions are retired; restore one"
    if alarm.revision in around.serving and not (spec.retire is not None and spec.retire.while_serving):
        return (
            f"{alarm.revision} has traffic; move that first, or write spec.retire: {{whileServing: true}} to leave its "
            "clients without an answer"
        )
    return None


def retirement_of(alarm: Alarm, *, now: float) -> Retired:
    """Return what an alarm retires."""
    return Retired(
        model_deployment=alarm.model_deployment,
        revision=alarm.revision,
        window_id=alarm.window_id,
        why=f"{alarm.name}: {alarm.message}",
        at=now,
    )


def lasting(retired: Iterable[Retired], around: Surroundings) -> tuple[Retired, ...]:
    """Return those whose revision is still there."""
    return tuple(one for one in retired if around.existing is None or one.revision in around.existing)


def restored(retired: Sequence[Retired], wanted: str | None) -> tuple[tuple[Retired, ...], str]:
    """Return what stays retired after a person restored ``wanted``, a ModelDeployment or a revision; None: all.

    Also what came of it, for people.
    """
    chosen = [one for one in retired if wanted in (None, one.model_deployment, one.revision)]
    if not chosen:
        known = ", ".join(one.revision for one in retired)
        about = f"nothing of {wanted} is retired" if wanted else "nothing is retired"
        return tuple(retired), f"Refused: {about}{f'; retired are: {known}' if known else ''}"[:_TEXT_MAX]
    names = ", ".join(one.revision for one in chosen)
    return tuple(one for one in retired if one not in chosen), f"restored {names}"[:_TEXT_MAX]


def retirements(policies: Sequence[Manifest]) -> dict[str, str]:
    """Return what the policies of a namespace have retired: by revision, the words for its status."""
    found: dict[str, str] = {}
    for policy in policies:
        if policy["metadata"].get("deletionTimestamp"):
            continue
        name = policy["metadata"]["name"]
        for entry in (policy.get("status") or {}).get("retired") or ():
            revision = entry.get("revision") if isinstance(entry, dict) else None
            if isinstance(revision, str):
                why = str(entry.get("message", ""))
                found.setdefault(revision, f"retired by DriftPolicy {name} ({why}); kubectl penstock restore {name}")
    return found


def deployments_of(policy: Manifest) -> frozenset[str]:
    """Return the ModelDeployments of which a policy has retired something, whatever state its manifest is in."""
    status = policy.get("status")
    entries = status.get("retired") if isinstance(status, dict) else None
    named = [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    found = {one.get("modelDeployment") or model_deployment_of(str(one.get("revision", ""))) for one in named}
    return frozenset(str(name) for name in found if name)
