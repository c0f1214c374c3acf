"""What policies demand of a rollout because of alarms beside its metrics: taking a revision back, or holding it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock_operator.core.action_state import AlarmState, Deed, Standing, parse_state
from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.objects import Manifest
from penstock_operator.core.world import Finding

_LASTING = frozenset({Standing.FIRING, Standing.ACKNOWLEDGED})


def demands(policies: Iterable[Manifest], named: Sequence[str], *, revision: str) -> tuple[Finding, ...]:
    """Return what the policies that a split names demand of one of its revisions, as findings beside those of metrics.

    Read anew at each look from the policies' status, so a demand lasts as long as its alarm and nothing must be sent,
    answered or undone. A rollback is a finding that rolls back; a pause is one that fails and does not, which holds.

    >>> alarm = {"name": "outputs/score", "signal": "Outputs", "state": "Firing", "revision": "fraud-2",
    ...          "since": "2027-01-15T08:00:00Z", "changedAt": "2027-01-15T08:00:00Z", "window": "w1",
    ...          "message": "PSI 0.4", "actions": ["Rollback"], "attributable": True}
    >>> guard = {"metadata": {"name": "guard"}, "status": {"alarms": [alarm]}}
    >>> (found,) = demands([guard], ["guard"], revision="fraud-2")
    >>> found.source, found.verdict.value, found.rolls_back
    ('guard/outputs/score', 'Fail', True)
    >>> demands([guard], ["guard"], revision="fraud-1"), demands([guard], [], revision="fraud-2")
    ((), ())
    """
    return tuple(
        _finding(policy["metadata"]["name"], entry)
        for policy in policies
        if policy["metadata"]["name"] in named
        for entry in parse_state(_status(policy)).alarms
        if _is_demand(entry) and entry.alarm.revision == revision
    )


def with_demands(
    found: Mapping[str, tuple[Finding, ...]],
    policies: Iterable[Manifest],
    named: Sequence[str],
    revisions: Iterable[str],
) -> dict[str, tuple[Finding, ...]]:
    """Return the findings of a split's revisions with what is demanded of each."""
    read = list(policies)
    demanded = {revision: demands(read, named, revision=revision) for revision in revisions}
    return {**found, **{name: (*found.get(name, ()), *told) for name, told in demanded.items() if told}}


def _is_demand(entry: AlarmState) -> bool:
    """Return whether something is demanded: metrics are judged by the split itself, a rehearsal demands nothing."""
    return (
        entry.standing in _LASTING
        and not entry.rehearsed
        and entry.alarm.signal is not SignalClass.METRICS
        and entry.alarm.attributable
        and bool({Deed.ROLLBACK, Deed.PAUSE} & set(entry.deeds))
    )


def _finding(policy: str, entry: AlarmState) -> Finding:
    return Finding(
        policy=policy,
        metric=entry.alarm.name,
        verdict=Verdict.FAIL,
        message=entry.alarm.message,
        rolls_back=Deed.ROLLBACK in entry.deeds,
        needs_stable=False,
    )


def _status(policy: Manifest) -> dict[str, Any]:
    status: dict[str, Any] = policy.get("status") or {}
    return status
