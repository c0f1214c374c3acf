"""What live traffic says, as status tells it: plain values, for those who have nothing to do with how it is judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.core.conditions import Saying, unix_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """Whether all is well, whether it can be judged, and the fields of status; empty where none is watched."""

    health: Saying
    watching: Saying
    signals: Sequence[dict[str, Any]] = ()
    windows: Mapping[str, Any] = field(default_factory=dict)
    targets: Sequence[dict[str, Any]] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return the fields of status."""
        if not self.windows:
            return {}
        return {"signals": list(self.signals), "windows": dict(self.windows), "targets": list(self.targets)}


def settled(fresh: Mapping[str, Any], live: Mapping[str, Any], *, now: float, seconds: float) -> dict[str, Any]:
    """Return ``fresh``, or what ``live`` says of the same where only numbers have changed and not much time has passed.

    Each look moves some number, and a write of each policy at each look would be more than the API server likes.
    """
    at = live.get("windows", {}).get("at")
    if at is None or now - unix_seconds(at) >= seconds or _gist(fresh) != _gist(live):
        return dict(fresh)
    return {name: live[name] for name in fresh if name in live}


def _gist(status: Mapping[str, Any]) -> list[Any]:
    return [
        [one["name"] for one in status.get("signals", ()) if one["verdict"] == "Fail" and "modelDeployment" in one],
        sorted((one["revision"], one["role"], one["reason"]) for one in status.get("targets", ())),
        bool(status.get("windows")),
    ]
