"""What holds of a rollout in every world: a machine tries random ones, with a crash after every decision."""

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.commands import VERBS, Command, carry_out
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.phases import Phase
from penstock_operator.core.rollout import advance
from penstock_operator.core.rollout_moves import Decision
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.rollout_status import parse_rollout, rollout_to_wire
from penstock_operator.core.world import Finding, RevisionState, World

REVISIONS = ["fraud-aaaaaaaa", "fraud-bbbbbbbb", "fraud-cccccccc"]
WITH_CANDIDATE = {Phase.WAITING, Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED}


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Step, ...]:
    """Steps as the API server admits them: rising weights with pauses between, 100 at the end."""
    weights = [*sorted(draw(st.lists(st.integers(1, 99), max_size=4))), 100]
    wire: list[dict[str, Any]] = []
    for weight in weights:
        if draw(st.integers(0, 4)) == 0:
            wire.append({"pause": {}})
        step: dict[str, Any] = {"weight": weight, "hold": draw(st.sampled_from(["0s", "500ms", "10s"]))}
        if draw(st.booleans()):
            step["require"] = "Pass"
        wire.append(step)
    return tuple(Step.parse(step) for step in wire)


def findings() -> st.SearchStrategy[tuple[Finding, ...] | None]:
    return st.none() | st.lists(
        st.builds(
            Finding,
            policy=st.just("guard"),
            metric=st.sampled_from(["errors", "slow"]),
            verdict=st.sampled_from([Verdict.PASS, Verdict.PASS, *Verdict]),
            message=st.just("numbers"),
            rolls_back=st.booleans(),
            needs_stable=st.booleans(),
        ),
        max_size=2,
    ).map(tuple)


class RolloutInAnyWorld(RuleBasedStateMachine):
    """Looks at the world again and again; everything that is not in the status is forgotten in between."""

    @initialize(schedule=schedules())
    def begin(self, schedule: tuple[Step, ...]) -> None:
        self.now = 1_700_000_000.0
        self.steps = schedule
        self.rollout = Rollout()
        self.latest: str | None = REVISIONS[1]
        self.revisions = dict.fromkeys(REVISIONS, RevisionState(ready=2, wanted=2))
        self.warm = frozenset(REVISIONS)
        self.acknowledged: dict[str, int] = {}
        self.findings: tuple[Finding, ...] | None = None
        self.judged = False
        self.number = 0

    @rule(seconds=st.sampled_from([0.001, 0.5, 9.999, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)

    @rule(revision=st.sampled_from([None, *REVISIONS]))
    def a_person_changes_the_spec(self, revision: str | None) -> None:
        self.latest = revision

    @rule(schedule=schedules())
    def a_person_changes_the_steps(self, schedule: tuple[Step, ...]) -> None:
        self.steps = schedule

    @rule(
        revision=st.sampled_from(REVISIONS),
        ready=st.integers(0, 2),
        failure=st.sampled_from([None, None, "NotOnnx: no"]),
    )
    def pods_come_and_go(self, revision: str, ready: int, failure: str | None) -> None:
        told = failure if ready == 0 else None
        self.revisions[revision] = RevisionState(ready=ready, wanted=2, failure=told)

    @rule(looks=st.integers(1, 8), latest=st.none() | st.sampled_from(REVISIONS))
    def all_goes_well_for_a_while(self, looks: int, latest: str | None) -> None:
        self.latest = latest or self.latest
        self.revisions = dict.fromkeys(REVISIONS, RevisionState(ready=2, wanted=2))
        self.warm = frozenset(REVISIONS)
        for _ in range(looks):
            self.look()
            self.acknowledged = self.rollout.weights
            self.now = round(self.now + 10.0, 3)
            self.findings = (Finding(
                policy="guard", metric="errors", verdict=Verdict.PASS, message="", rolls_back=True, needs_stable=True
            ),)  # fmt: skip

    @rule(warm=st.frozensets(st.sampled_from(REVISIONS)))
    def routers_find_pods(self, warm: frozenset[str]) -> None:
        self.warm = warm

    @rule()
    def routers_acknowledge(self) -> None:
        self.acknowledged = self.rollout.weights

    @rule(found=findings(), judged=st.booleans())
    def the_judge_speaks(self, found: tuple[Finding, ...] | None, *, judged: bool) -> None:
        self.findings, self.judged = found, judged

    @rule(verb=st.sampled_from(VERBS), full=st.booleans(), revision=st.sampled_from([None, *REVISIONS]))
    def a_person_commands(self, verb: str, *, full: bool, revision: str | None) -> None:
        before = self.rollout
        self.a_moment_passes()
        self.number += 1
        command = Command(id=str(self.number), verb=verb, by="ada", full=full, revision=revision)
        outcome = carry_out(command, before, self.steps, now=self.now)
        self.rollout = outcome.rollout
        assert outcome.answer
        assert outcome.events[-1].message == f"{verb} by ada: {outcome.answer}"
        if outcome.answer.startswith("Refused"):
            assert self.rollout == before
        if self.rollout.stable != before.stable:
            assert verb == "promote"
            assert before.candidate is not None
            assert self.rollout.stable == before.candidate.revision
        if verb in {"pause", "resume", "abort", "retry"}:
            assert share(self.rollout) <= share(before)
        if verb == "retry" and self.rollout != before:
            assert len(self.rollout.rejected) == len(before.rejected) - 1
        self.check_history(before)

    @rule(looks=st.integers(1, 6))
    def the_operator_looks(self, looks: int) -> None:
        for _ in range(looks):
            self.look()

    def a_moment_passes(self) -> None:
        """No two things happen at the same moment, so two ends of the same kind are told apart."""
        self.now = round(self.now + 0.001, 3)

    def look(self) -> None:
        self.a_moment_passes()
        world = World(
            now=self.now,
            latest=self.latest,
            deployment_stable=REVISIONS[0],
            revisions=self.revisions,
            acknowledged=self.acknowledged,
            warm=self.warm,
            findings=self.findings,
            judged=self.judged,
        )
        before = self.rollout
        decision = advance(before, self.steps, world)
        assert decision == advance(crashed(before), self.steps, world), "a crash before the look changes it"
        self.check_look(before, decision, world)
        self.rollout = crashed(decision.rollout)
        assert self.rollout == decision.rollout, "a crash after the look loses something"
        if place(before) != place(self.rollout):
            self.findings = None  # what was judged was judged at another weight or step

    def check_look(self, before: Rollout, decision: Decision, world: World) -> None:
        after = decision.rollout
        if before.stable is not None and after.stable != before.stable:
            assert before.candidate is not None
            assert after.stable == before.candidate.revision
            assert world.latest in (None, before.candidate.revision)
            assert before.candidate.weight == 100, "a schedule promotes only what has all the traffic"
            assert after.history[0].outcome == "Promoted"
        if after.candidate is not None and after.candidate.weight > 0:
            assert world.revisions[after.candidate.revision].ready > 0
        if share(after) > share(before):
            raised = after.candidate
            assert raised is not None
            assert raised.revision in world.warm or share(before) > 0, "nothing begins before routers know it"
            goes_on = before.candidate is not None and before.candidate.revision == raised.revision
            if before.phase is Phase.PROGRESSING and goes_on:
                self.check_raise(before, world)
        breached = any(found.verdict is Verdict.FAIL and found.rolls_back for found in world.findings or ())
        same = before.candidate is not None and world.latest in (None, before.candidate.revision)
        if breached and same and share(before) > 0:
            assert after.candidate is None
            assert after.phase is Phase.ROLLED_BACK
            assert after.weights == {before.stable: 100}
        self.check_history(before, after)

    def check_raise(self, before: Rollout, world: World) -> None:
        assert {name: weight for name, weight in world.acknowledged.items() if weight} == {
            name: weight for name, weight in before.weights.items() if weight
        }
        if world.judged:
            assert world.findings is not None
            held = [found for found in world.findings if share(before) < 100 or not found.needs_stable]
            assert not {found.verdict for found in held} & {Verdict.FAIL, Verdict.NO_DATA, Verdict.ERROR}

    def check_history(self, before: Rollout, after: Rollout | None = None) -> None:
        """Each trial has one end: an entry comes only when a candidate goes, and one at a time."""
        after = after or self.rollout
        added = [entry for entry in after.history if entry not in before.history]
        assert len(added) <= 1
        for entry in added:
            assert before.candidate is not None
            assert entry.revision == before.candidate.revision
            assert entry.started_at == before.candidate.started_at
            assert after.candidate is None or after.candidate.started_at == self.now
        if before.candidate is not None and after.candidate is None:
            assert added or before.history[:1] == after.history[:1]

    @invariant()
    def the_weights_are_whole(self) -> None:
        if not hasattr(self, "rollout"):
            return
        weights = self.rollout.weights
        assert all(0 <= weight <= 100 for weight in weights.values())
        assert sum(weights.values()) == (100 if weights else 0)

    @invariant()
    def what_was_rejected_has_no_part(self) -> None:
        if hasattr(self, "rollout") and self.rollout.candidate is not None:
            assert not self.rollout.is_rejected(self.rollout.candidate.revision)
            assert self.rollout.candidate.revision != self.rollout.stable

    @invariant()
    def there_is_a_candidate_just_in_the_phases_that_have_one(self) -> None:
        if hasattr(self, "rollout"):
            assert (self.rollout.candidate is not None) == (self.rollout.phase in WITH_CANDIDATE)
            assert not (self.rollout.phase in {Phase.WAITING, Phase.FAILED} and share(self.rollout) > 0)

    @invariant()
    def a_restart_loses_nothing(self) -> None:
        if hasattr(self, "rollout"):
            assert crashed(self.rollout) == self.rollout


def share(rollout: Rollout) -> int:
    return rollout.candidate.weight if rollout.candidate else 0


def place(rollout: Rollout) -> object:
    at = rollout.candidate
    return (at.revision, at.step, at.weight) if at else None


def crashed(rollout: Rollout) -> Rollout:
    """Return what a new process reads from the API server."""
    return parse_rollout(json.loads(json.dumps(rollout_to_wire(rollout))))


TestRolloutInAnyWorld = RolloutInAnyWorld.TestCase
TestRolloutInAnyWorld.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
