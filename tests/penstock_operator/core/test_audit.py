"""What the audit log says of one look at a split."""

from dataclasses import replace
from typing import Any

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.audit import AuditEntry, audit_entries
from penstock_operator.core.commands import carry_out, parse_command
from penstock_operator.core.rollout_state import HistoryEntry, Rollout
from penstock_operator.core.tactics import Tactics
from penstock_operator.core.world import World

BEFORE = Rollout(
    stable="fraud-a",
    history=(
        HistoryEntry(
            revision="fraud-a", outcome="Promoted", started_at=1.0, finished_at=2.0, by="schedule", message="2 steps"
        ),
    ),
)


def ended(outcome: Any, by: str, message: str, **changes: Any) -> Rollout:
    entry = HistoryEntry(revision="fraud-b", outcome=outcome, started_at=10.0, finished_at=70.0, by=by, message=message)
    return replace(BEFORE, history=(entry, *BEFORE.history), **changes)


def entries(before: Rollout, after: Rollout, command: dict[str, Any] | None = None) -> tuple[AuditEntry, ...]:
    return audit_entries(before, after, namespace="shop", split="fraud", now=70.0, command=command)


def test_a_look_that_ends_nothing_says_nothing() -> None:
    assert entries(BEFORE, BEFORE) == ()


def test_a_rollback_by_a_policy_is_told_with_its_numbers() -> None:
    (entry,) = entries(BEFORE, ended("RolledBack", "guard/errors", "3.1% of 1240"))
    assert entry.to_wire() == {
        "time": "1970-01-01T00:01:10.000Z",
        "namespace": "shop",
        "split": "fraud",
        "verb": "rollback",
        "id": "fraud-b@1970-01-01T00:00:10.000Z",
        "by": "guard/errors",
        "from": {"fraud-a": 100},
        "to": {"fraud-a": 100},
        "outcome": "RolledBack fraud-b: 3.1% of 1240",
    }


def test_a_promotion_tells_the_weights_before_and_after() -> None:
    (entry,) = entries(BEFORE, ended("Promoted", "schedule", "all 3 steps done", stable="fraud-b"))
    assert (entry.verb, entry.before, entry.after) == ("promote", {"fraud-a": 100}, {"fraud-b": 100})


def test_a_command_that_ends_the_rollout_is_one_entry_with_its_id() -> None:
    command = {"id": "7", "verb": "abort", "by": "ada", "outcome": "fraud-b taken back"}
    (entry,) = entries(BEFORE, ended("Aborted", "ada", "aborted by a person"), command)
    assert (entry.id, entry.verb, entry.by, entry.outcome) == ("7", "abort", "ada", "fraud-b taken back")


def test_a_command_beside_a_rollback_by_a_policy_makes_two_entries() -> None:
    command = {"id": "7", "verb": "pause", "by": "ada", "outcome": "held at 25%"}
    told = entries(BEFORE, ended("RolledBack", "guard/errors", "3.1%"), command)
    assert [entry.verb for entry in told] == ["pause", "rollback"]


def test_several_rollouts_that_end_at_once_are_told_in_their_order() -> None:
    first = ended("RolledBack", "guard/errors", "worse")
    second = HistoryEntry(
        revision="fraud-c", outcome="Superseded", started_at=10.0, finished_at=70.0, by="spec", message="another"
    )
    told = entries(BEFORE, replace(first, history=(second, *first.history)))
    assert [entry.verb for entry in told] == ["rollback", "supersede"]


def test_a_refused_command_is_told_as_well() -> None:
    command = parse_command('{"verb": "promote", "id": "8", "by": "bob"}')
    world = World(now=70.0, wanted=(), deployment_stable=None, revisions={}, acknowledged={}, warm=frozenset())
    outcome = carry_out(command, BEFORE, Tactics(steps=(Step(weight=100),)), world)
    asked = {"id": command.id, "verb": command.verb, "by": command.by, "outcome": outcome.answer}
    (entry,) = entries(BEFORE, outcome.rollout, asked)
    assert entry.outcome.startswith("Refused: ")
    assert entry.by == "bob"
