"""What holds of a rollout in every world: a machine tries random ones, with a crash after every decision."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.commands import VERBS, Command, carry_out
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.phases import MOVING, ON_TRIAL, RESTING, Phase
from penstock_operator.core.rollout import advance
from penstock_operator.core.rollout_moves import Decision
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.rollout_status import parse_rollout, rollout_to_wire
from penstock_operator.core.tactics import Tactics, Undecided
from penstock_operator.core.world import Finding, RevisionState, Wanted, World

REVISIONS = ["fraud-aaaaaaaa", "xgb-bbbbbbbb", "mlp-cccccccc", "fraud-dddddddd"]
STABLE = REVISIONS[0]
NAMES = ["candidate", "xgb", "mlp"]
FAILED = Finding(
    policy="guard", metric="errors", verdict=Verdict.FAIL, message="3%", rolls_back=True, needs_stable=False
)
PASSED = Finding(policy="guard", metric="errors", verdict=Verdict.PASS, message="", rolls_back=True, needs_stable=True)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Step, ...]:
    """Steps as the API server admits them: rising weights with pauses between, 100 at the end."""
    weights = [*sorted(draw(st.lists(st.integers(0, 99), max_size=4))), 100]
    wire: list[dict[str, Any]] = []
    for weight in weights:
        if draw(st.integers(0, 4)) == 0:
            wire.append({"pause": {}})
        step: dict[str, Any] = {"weight": weight, "hold": draw(st.sampled_from(["0s", "500ms", "10s"]))}
        if draw(st.booleans()):
            step["require"] = "Pass"
        wire.append(step)
    return tuple(Step.parse(step) for step in wire)


@st.composite
def some_tactics(draw: st.DrawFn) -> Tactics:
    """What a spec may ask: rising weights, fixed ones with or without a winner by evidence, or copies only."""
    common: dict[str, Any] = {
        "watch_seconds": draw(st.sampled_from([0.0, 30.0])),
        "progress_deadline_seconds": draw(st.sampled_from([None, 20.0])),
        "match_reaches": draw(st.frozensets(st.sampled_from(NAMES))),
        "undecided": draw(st.none() | st.builds(Undecided, after_seconds=st.just(60.0), then=st.just("Rollback"))),
    }
    match draw(st.sampled_from(["steps", "steps", "fixed", "copies"])):
        case "steps":
            return Tactics(steps=draw(schedules()), **common)
        case "copies":
            return Tactics(steps=(Step(weight=0),), open_ended=True, mirrored=True, **common)
        case _:
            winner = draw(st.booleans())
            asked = "Pass" if winner else None
            own = {name: (Step(weight=draw(st.integers(1, 33)), require=asked),) for name in NAMES}
            return Tactics(steps=(Step(weight=0),), own=own, open_ended=not winner, **common)


def findings() -> st.SearchStrategy[dict[str, tuple[Finding, ...]]]:
    said = st.lists(
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
    return st.dictionaries(st.sampled_from(REVISIONS), said, max_size=3)


def asked_of(tactics: Tactics) -> list[str]:
    return NAMES if tactics.own or tactics.mirrored else NAMES[:1]


class RolloutInAnyWorld(RuleBasedStateMachine):
    """Looks at the world again and again; everything that is not in the status is forgotten in between."""

    @initialize(tactics=some_tactics())
    def begin(self, tactics: Tactics) -> None:
        self.now = 1_700_000_000.0
        self.tactics = tactics
        self.rollout = Rollout()
        self.asked: dict[str, str | None] = dict(zip(asked_of(tactics), REVISIONS[1:], strict=False))
        self.revisions = dict.fromkeys(REVISIONS, RevisionState(ready=2, wanted=2))
        self.warm = frozenset(REVISIONS)
        self.acknowledged: dict[str, int] = {}
        self.findings: dict[str, tuple[Finding, ...]] = {}
        self.judged = False
        self.frozen = ""
        self.mismatch = ""
        self.number = 0

    @rule(seconds=st.sampled_from([0.001, 0.5, 9.999, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)

    @rule(name=st.sampled_from(NAMES), revision=st.sampled_from([None, *REVISIONS]))
    def a_person_changes_the_spec(self, name: str, revision: str | None) -> None:
        if name in self.asked:
            self.asked[name] = revision

    @rule(name=st.sampled_from(NAMES))
    def a_person_takes_a_candidate_out(self, name: str) -> None:
        if len(self.asked) > 1:
            self.asked.pop(name, None)

    @rule(tactics=some_tactics())
    def a_person_changes_the_strategy(self, tactics: Tactics) -> None:
        self.tactics = tactics
        old = self.asked
        fallback = dict(zip(NAMES, REVISIONS[1:], strict=True))
        self.asked = {name: old.get(name, fallback[name]) for name in asked_of(tactics)}

    @rule(
        revision=st.sampled_from(REVISIONS),
        ready=st.integers(0, 2),
        failure=st.sampled_from([None, None, "NotOnnx: no"]),
    )
    def pods_come_and_go(self, revision: str, ready: int, failure: str | None) -> None:
        told = failure if ready == 0 else None
        self.revisions[revision] = RevisionState(ready=ready, wanted=2, failure=told)

    @rule(looks=st.integers(1, 8))
    def all_goes_well_for_a_while(self, looks: int) -> None:
        self.revisions = dict.fromkeys(REVISIONS, RevisionState(ready=2, wanted=2))
        self.warm, self.frozen, self.mismatch = frozenset(REVISIONS), "", ""
        for _ in range(looks):
            self.look()
            self.acknowledged = self.rollout.weights
            self.now = round(self.now + 10.0, 3)
            self.findings = dict.fromkeys(REVISIONS, (PASSED,))

    @rule(looks=st.integers(1, 4))
    def all_goes_well_in_a_freeze(self, looks: int) -> None:
        self.all_goes_well_for_a_while(1)
        self.frozen = "frozen until Monday"
        for _ in range(looks):
            self.look()
            self.acknowledged = self.rollout.weights
            self.now = round(self.now + 10.0, 3)
            self.findings = dict.fromkeys(REVISIONS, (PASSED,))

    @rule(revision=st.sampled_from(REVISIONS))
    def a_promotion_is_watched(self, revision: str) -> None:
        self.tactics = Tactics(steps=(Step(weight=50), Step(weight=100)), watch_seconds=300.0)
        self.asked, self.judged = {"candidate": revision}, False
        self.all_goes_well_for_a_while(8)

    @rule(which=st.integers(0, 3))
    def a_policy_fails_somebody(self, which: int) -> None:
        """Whoever has traffic, or was promoted last."""
        seen = [*(one.revision for one in self.rollout.candidates), self.rollout.stable]
        failed = seen[which % len(seen)]
        if failed is not None:
            self.judged = True
            self.findings = {failed: (FAILED,)}
            self.look()

    @rule(warm=st.frozensets(st.sampled_from(REVISIONS)))
    def routers_find_pods(self, warm: frozenset[str]) -> None:
        self.warm = warm

    @rule()
    def routers_acknowledge(self) -> None:
        self.acknowledged = self.rollout.weights

    @rule(frozen=st.sampled_from(["", "frozen until Monday"]), mismatch=st.sampled_from(["", "", "30% of 1000"]))
    def other_reasons_to_hold(self, frozen: str, mismatch: str) -> None:
        self.frozen, self.mismatch = frozen, mismatch

    @rule(found=findings(), judged=st.booleans())
    def the_judge_speaks(self, found: dict[str, tuple[Finding, ...]], *, judged: bool) -> None:
        self.findings, self.judged = found, judged

    @rule(
        verb=st.sampled_from(VERBS),
        full=st.booleans(),
        candidate=st.sampled_from([None, None, *NAMES]),
        revision=st.sampled_from([None, *REVISIONS]),
    )
    def a_person_commands(self, verb: str, *, full: bool, candidate: str | None, revision: str | None) -> None:
        before = self.rollout
        self.a_moment_passes()
        self.number += 1
        command = Command(id=str(self.number), verb=verb, by="ada", full=full, candidate=candidate, revision=revision)
        outcome = carry_out(command, before, self.tactics, self.world())
        self.rollout = outcome.rollout
        assert outcome.answer
        assert outcome.events[-1].message == f"{verb} by ada: {outcome.answer}"
        if outcome.refused:
            assert self.rollout == before
        if self.rollout.stable != before.stable:
            assert verb == "promote"
            assert self.rollout.stable in {one.revision for one in before.candidates}
            assert not self.frozen
        if verb != "promote":
            assert not risen(before, self.rollout)
        if verb in {"abort", "rollback"} and before.candidates and candidate is None:
            assert not outcome.refused or revision not in (None, *self.revisions)
        self.check_history(before)

    @rule(looks=st.integers(1, 6))
    def the_operator_looks(self, looks: int) -> None:
        for _ in range(looks):
            self.look()

    def a_moment_passes(self) -> None:
        """No two things happen at the same moment, so two ends of the same kind are told apart."""
        self.now = round(self.now + 0.001, 3)

    def world(self) -> World:
        return World(
            now=self.now,
            wanted=tuple(Wanted(name=name, revision=revision) for name, revision in self.asked.items()),
            deployment_stable=STABLE,
            revisions=self.revisions,
            acknowledged=self.acknowledged,
            warm=self.warm,
            findings=self.findings,
            judged=self.judged,
            frozen=self.frozen,
            mismatch=self.mismatch,
        )

    def look(self) -> None:
        self.a_moment_passes()
        world = self.world()
        before = self.rollout
        decision = advance(before, self.tactics, world)
        assert decision == advance(crashed(before), self.tactics, world), "a crash before the look changes it"
        self.check_look(before, decision, world)
        self.rollout = crashed(decision.rollout)
        assert self.rollout == decision.rollout, "a crash after the look loses something"
        moved = {name for name in REVISIONS if place(before, name) != place(self.rollout, name)}
        # What was judged was judged at another weight or step.
        self.findings = {name: found for name, found in self.findings.items() if name not in moved}

    def check_look(self, before: Rollout, decision: Decision, world: World) -> None:
        after = decision.rollout
        if before.stable is not None and after.stable != before.stable:
            self.check_new_stable(before, after, world)
        for candidate in after.candidates:
            if candidate.weight > 0:
                assert world.state_of(candidate.revision).ready > 0
            if candidate.phase in ON_TRIAL:
                reached = [step.weight or 0 for step in self.tactics.steps_for(candidate.name)[: candidate.step + 1]]
                known = {one.revision: one.weight for one in before.candidates}
                allowed = max([*reached, known.get(candidate.revision, 0)])
                assert candidate.weight <= allowed, "no candidate above its step"
        for revision in risen(before, after):
            assert not world.frozen
            assert revision in world.warm or weight_of(before, revision) > 0, "nothing begins before routers know it"
            self.check_raise(before, after, revision, world)
        self.check_breaches(before, after, world)
        self.check_history(before, after)

    def check_new_stable(self, before: Rollout, after: Rollout, world: World) -> None:
        ways_back = [kept.revision for kept in (before.watch, before.returning) if kept is not None]
        if after.stable in ways_back:
            assert after.weights == {after.stable: 100}
            assert world.answers(after.stable or ""), "nobody goes back to what does not answer"
            return
        assert not self.frozen
        [won] = [one for one in before.candidates if one.revision == after.stable]
        steps = self.tactics.steps_for(won.name)
        assert after.history[0].outcome == "Promoted"
        assert after.candidates == (), "who has won has no rivals"
        assert not self.tactics.open_ended
        if not self.tactics.own:
            assert won.weight == 100 or steps[-1].weight == 0, "a schedule promotes only what has all the traffic"

    def check_raise(self, before: Rollout, after: Rollout, revision: str, world: World) -> None:
        """A step is left only where routers run what is meant and no verdict objects."""
        # Under another name the same revision is another candidate, which begins.
        [name] = [one.name for one in after.candidates if one.revision == revision]
        at = next((one for one in before.candidates if (one.name, one.revision) == (name, revision)), None)
        if at is None or at.phase is not Phase.PROGRESSING or at.name in self.tactics.own:
            return
        assert {name: weight for name, weight in world.acknowledged.items() if weight} == {
            name: weight for name, weight in before.weights.items() if weight
        }
        assert not world.mismatch
        if world.judged and at.weight > 0:
            found = world.findings[revision]
            held = [one for one in found if at.weight < 100 or not one.needs_stable]
            assert not {one.verdict for one in held} & {Verdict.FAIL, Verdict.NO_DATA, Verdict.ERROR}

    def check_breaches(self, before: Rollout, after: Rollout, world: World) -> None:
        failed = any(
            one.verdict is Verdict.FAIL and one.rolls_back for one in world.findings.get(before.stable or "", ())
        )
        if before.watch is not None and failed:
            going = after.returning.revision if after.returning is not None else None
            assert before.watch.revision in (after.stable, going), "a breach within the watch goes back"
        for candidate in before.candidates:
            found = world.findings.get(candidate.revision, ())
            breached = any(one.verdict is Verdict.FAIL and one.rolls_back for one in found)
            if breached and candidate.phase in ON_TRIAL and after.stable != candidate.revision:
                assert after.weights.get(candidate.revision, 0) == 0
                wanted = {want.name: want.revision for want in world.wanted}.get(candidate.name, "")
                if wanted in (None, candidate.revision) and after.history[0].outcome != "Promoted":
                    assert after.is_rejected(candidate.revision)

    def check_history(self, before: Rollout, after: Rollout | None = None) -> None:
        """Each trial has one end: entries come only for those that go."""
        after = after or self.rollout
        added = [entry for entry in after.history if entry not in before.history]
        gone = {one.revision for one in before.candidates} | {before.stable}
        assert {entry.revision for entry in added} <= gone
        assert len(added) <= len(before.candidates) + 1

    @invariant()
    def the_weights_are_whole(self) -> None:
        if hasattr(self, "rollout"):
            weights = self.rollout.weights
            assert all(0 <= weight <= 100 for weight in weights.values())
            assert sum(weights.values()) == (100 if weights else 0)

    @invariant()
    def what_was_rejected_has_no_part(self) -> None:
        if hasattr(self, "rollout"):
            for candidate in self.rollout.candidates:
                assert not self.rollout.is_rejected(candidate.revision)
                assert candidate.revision != self.rollout.stable

    @invariant()
    def there_are_candidates_just_in_the_phases_that_have_some(self) -> None:
        if hasattr(self, "rollout"):
            assert bool(self.rollout.candidates) == (self.rollout.phase in MOVING)
            assert self.rollout.rest in RESTING
            assert (self.rollout.returning is not None) == (self.rollout.rest is Phase.RETURNING)
            waiting = [one for one in self.rollout.candidates if one.phase not in ON_TRIAL]
            assert not any(one.weight for one in waiting)

    @invariant()
    def a_rollback_is_always_possible(self) -> None:
        """Whatever goes on: a person may go back to any kept revision, and comes there when its pods are up."""
        if not hasattr(self, "rollout") or self.rollout.stable is None:
            return
        target = REVISIONS[3] if self.rollout.stable != REVISIONS[3] else STABLE
        command = Command(id="back", verb="rollback", by="ada", revision=target)
        world = replace(self.world(), frozen="frozen until Monday")
        outcome = carry_out(command, self.rollout, self.tactics, world)
        assert not outcome.refused
        assert outcome.rollout.weights == {self.rollout.stable: 100, target: 0}
        up = replace(
            world, warm=frozenset(REVISIONS), revisions=dict.fromkeys(REVISIONS, RevisionState(ready=2, wanted=2))
        )
        there = advance(outcome.rollout, self.tactics, up).rollout
        assert (there.phase, there.weights) == (Phase.ROLLED_BACK, {target: 100})
        assert there.is_rejected(self.rollout.stable)

    @invariant()
    def a_restart_loses_nothing(self) -> None:
        if hasattr(self, "rollout"):
            assert crashed(self.rollout) == self.rollout


def weight_of(rollout: Rollout, revision: str) -> int:
    return next((one.weight for one in rollout.candidates if one.revision == revision), 0)


def risen(before: Rollout, after: Rollout) -> list[str]:
    return [one.revision for one in after.candidates if one.weight > weight_of(before, one.revision)]


def place(rollout: Rollout, revision: str) -> object:
    return next(((one.step, one.weight) for one in rollout.candidates if one.revision == revision), None)


def crashed(rollout: Rollout) -> Rollout:
    """Return what a new process reads from the API server."""
    return parse_rollout(json.loads(json.dumps(rollout_to_wire(rollout))))


TestRolloutInAnyWorld = RolloutInAnyWorld.TestCase
TestRolloutInAnyWorld.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
