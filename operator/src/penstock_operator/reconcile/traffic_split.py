"""Reconciles a TrafficSplit: observe, judge, decide, publish, report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock_operator.api.v1alpha1.traffic_split import COMMAND_ANNOTATION
from penstock_operator.core.audit import audit_entries
from penstock_operator.core.capacity import Pods, shortage
from penstock_operator.core.commands import InvalidCommand, carry_out, parse_command
from penstock_operator.core.conditions import Reason, timestamp
from penstock_operator.core.demands import with_demands
from penstock_operator.core.freeze import Freeze, freeze_at
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.phases import ON_TRIAL, Phase
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout import advance
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.router_choice import changes_router
from penstock_operator.core.routes import Acknowledgement
from penstock_operator.core.sample_ratio import SampleRatio
from penstock_operator.core.traffic_split import Problem
from penstock_operator.core.trial import Trial
from penstock_operator.core.world import World
from penstock_operator.ports import AuditLog, Clock, Cluster, RolloutObserver
from penstock_operator.reconcile.comparing import Comparing
from penstock_operator.reconcile.measuring import Measuring
from penstock_operator.reconcile.resting import STEADY_SECONDS, Resting
from penstock_operator.reconcile.routers import Routers
from penstock_operator.reconcile.split_look import Look, look_at
from penstock_operator.reconcile.split_publish import Published, Publisher
from penstock_operator.reconcile.split_report import Reporter, Turn
from penstock_operator.reconcile.split_shares import Shares
from penstock_operator.reconcile.split_trials import Trials, on_trial

#: While routers resolve a revision, look often: each look is one small read.
_WARMING_SECONDS = 0.5
#: So many of these looks there are, for all splits together.
_WARMING_LOOKS_PER_SECOND = 100.0
#: While somebody has to mend something, look again even if no event comes.
_OBSTACLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the routers' counters have shown at one look: trials by revision, and where requests really went."""

    trials: dict[str, Trial]
    shares: SampleRatio | None


class TrafficSplitReconciler:
    """Moves traffic as specs and verdicts say, and takes it back on the tick that decides."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        router: Routers,
        observer: RolloutObserver,
        comparing: Comparing,
        measuring: Measuring,
        audit: AuditLog,
        tick_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._router = router
        self._publisher = Publisher(cluster=cluster, router=router, observer=observer, monotonic=monotonic)
        self._reporter = Reporter(cluster=cluster, router=router)
        self._trials = Trials(comparing, measuring)
        self._resting = Resting(measuring, monotonic)
        self._shares = Shares()
        self._audit = audit
        self._tick_seconds = tick_seconds
        self._warming: set[ObjectRef] = set()

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Look at one TrafficSplit; return after how many seconds to look again without an event."""
        manifest = self._cluster.get(ref)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            return await self._leave(ref)
        match look_at(ref, manifest, self._cluster):
            case Problem() as problem:
                await self._block(ref, manifest, problem)
                return None
            case Look() as look:
                return await self._act(ref, look)

    async def _act(self, ref: ObjectRef, look: Look) -> float | None:
        now = self._clock.now()
        obstacle = await self._router.prepare(look.manifest)
        freeze = freeze_at(look.spec.freeze, now)
        world = _world(look, freeze, now)
        commanded, command, events = _command(look, world)
        seen, world = await self._observe(ref, replace(look, rollout=commanded), world)
        decision = advance(commanded, look.tactics, world).after(*events)
        obstacle = obstacle or _unreadable(freeze)
        turn = Turn(
            look=look,
            decision=decision,
            trials=seen.trials,
            shares=seen.shares,
            command=command,
            now=now,
            obstacle=obstacle,
        )
        published = await self._publish(ref, turn)
        told, weights, stable = published.told, look.weights, decision.rollout.stable
        if told is not None and told.complete and (weights or stable in self._router.warm(ref)):
            # The first time, the endpoint moves to the routers with this write: not before they can answer.
            weights = dict(published.weights)
        if weights and stable is not None and look.deployment["metadata"]["name"] != ref.name:
            obstacle = await self._publisher.ensure_endpoint(look, stable) or obstacle
        turn = replace(turn, obstacle=obstacle or published.problem)
        # Before it is written down who leads now: a crash between the two repeats it.
        leaving = await self._router.hand_over(look.manifest) if weights else None
        await self._write(ref, turn, told, weights)
        if weights and changes_router(look.manifest):
            self._trials.forget(ref)  # the status has no evidence any more either
            self._resting.forget(ref)
        self._account(turn)
        again = self._paced(ref, self._again(decision.rollout, world, told, weights))
        if again is None and self._resting.wants(replace(look, rollout=decision.rollout)):
            again = STEADY_SECONDS
        # Nothing tells of changes of Gateways and their routes.
        polled = _OBSTACLE_SECONDS if turn.obstacle or look.port is None else None
        return min((pause for pause in (again, polled, leaving) if pause is not None), default=None)

    async def _observe(self, ref: ObjectRef, look: Look, world: World) -> tuple[_Seen, World]:
        """Read the routers where that can decide something, and judge what they counted."""
        rollout = look.rollout
        judged = on_trial(rollout)
        if judged or rollout.candidates or rollout.returning is not None or not look.weights:
            age = self._tick_seconds * 0.9 if judged else _WARMING_SECONDS * 0.9
            await self._router.refresh(ref, max_age_seconds=age)
        ticks = self._router.take(ref) if judged else ()
        trials = self._trials.judge(ref, look, ticks) if judged else await self._rest(ref, look)
        shares = self._shares.judge(ref, look, ticks, judged=judged)
        found = {name: trial.findings for name, trial in trials.items() if trial.findings is not None}
        if look.spec.policies and judged:
            at_stake = [candidate.revision for candidate in rollout.candidates]
            at_stake += [rollout.stable] if rollout.watch is not None and rollout.stable is not None else []
            policies = self._cluster.list(Kind.DRIFT_POLICY, ref.namespace)
            found = with_demands(found, policies, look.spec.policies, at_stake)
        told = f"requests do not go as the weights say: {shares.mismatch}" if shares and shares.mismatch else ""
        seen = _Seen(trials=trials, shares=shares)
        return seen, replace(world, warm=self._router.warm(ref), findings=found, mismatch=told)

    async def _rest(self, ref: ObjectRef, look: Look) -> dict[str, Trial]:
        """Judge the stable revision of a split that has nothing under way, where policies have limits."""
        if not self._resting.wants(look):
            self._resting.forget(ref)
            return {}
        await self._router.refresh(ref, max_age_seconds=STEADY_SECONDS * 0.9)
        return self._resting.judge(ref, look, self._router.take(ref))

    async def _publish(self, ref: ObjectRef, turn: Turn) -> Published:
        """Bring the weights to the routers.

        More traffic for a candidate is written down first, so that a crash never leaves routers ahead of the status.
        Taking it back goes to the routers first: that must not wait for the API server.
        """
        look, decision = turn.look, turn.decision
        if _raises(look.rollout, decision.rollout):
            unsaid = replace(turn, decision=replace(decision, events=()))
            await self._write(ref, unsaid, None, look.weights)
        return await self._publisher.publish(look, decision.rollout, now=turn.now)

    async def _write(
        self, ref: ObjectRef, turn: Turn, told: Acknowledgement | None, weights: Mapping[str, int]
    ) -> None:
        await self._reporter.write(turn, told, weights, self._publisher.address(turn.look))
        # Not before it is written down: until then the next look must come to the same decision.
        self._trials.forget_moved(ref, turn.look.rollout, turn.decision.rollout)

    def _again(
        self, rollout: Rollout, world: World, told: Acknowledgement | None, weights: Mapping[str, int]
    ) -> float | None:
        if rollout.stable is None:
            return None  # an event of the ModelDeployment comes when it is ready
        if told is None or not told.complete or not weights or rollout.phase is Phase.RETURNING:
            return _WARMING_SECONDS
        if any(weights.get(name, 0) != weight for name, weight in rollout.weights.items()):
            return self._tick_seconds  # ready pods carry no more yet
        phases = {candidate.phase for candidate in rollout.candidates}
        if Phase.WAITING in phases and not world.frozen:
            return _WARMING_SECONDS
        return self._tick_seconds if phases & {Phase.WAITING, *ON_TRIAL} or rollout.watch else None

    def _paced(self, ref: ObjectRef, again: float | None) -> float | None:
        """Return when to look again; where hundreds warm up at once, each is looked at less often, but at each tick."""
        if again != _WARMING_SECONDS:
            self._warming.discard(ref)
            return again
        self._warming.add(ref)
        return max(again, min(self._tick_seconds, len(self._warming) / _WARMING_LOOKS_PER_SECOND))

    async def _block(self, ref: ObjectRef, manifest: Manifest, problem: Problem) -> None:
        """Leave traffic as it is and say why nothing moves."""
        await self._router.prepare(manifest)
        await self._publisher.publish_as_it_was(ref, manifest)
        await self._reporter.write_blocked(manifest, problem, now=self._clock.now())

    async def _leave(self, ref: ObjectRef) -> float | None:
        """Let the routers go on for a deleted split until nobody is led to them any more."""
        self._trials.forget(ref)
        self._resting.forget(ref)
        self._shares.forget(ref)
        self._reporter.forget(ref)
        self._warming.discard(ref)
        return await self._router.withdraw(ref)

    def _account(self, turn: Turn) -> None:
        """Tell the audit log what is in status now: a look that is done again has nothing to tell."""
        look = turn.look
        for entry in audit_entries(
            look.rollout,
            turn.decision.rollout,
            namespace=look.namespace,
            split=look.name,
            now=turn.now,
            command=turn.answered,
        ):
            self._audit.record(entry)


def _unreadable(freeze: Freeze | None) -> Problem | None:
    """Return what somebody has to mend of the freeze windows."""
    return Problem(reason=Reason.INVALID_FREEZE, message=freeze.error) if freeze is not None and freeze.error else None


def _world(look: Look, freeze: Freeze | None, now: float) -> World:
    """Return what is seen without asking the routers."""
    stable = look.rollout.stable
    pods = Pods.seen(look.revisions, stable, look.weights) if stable is not None else None
    return World(
        now=now,
        wanted=look.competition.wanted,
        deployment_stable=look.deployment.get("status", {}).get("stableRevision"),
        revisions=look.revisions,
        acknowledged=look.weights,
        warm=frozenset(),
        judged=bool(look.spec.policies),
        frozen=freeze.message if freeze is not None else "",
        shortage=shortage(look.rollout.weights, pods=pods, stable=stable) if pods is not None and stable else "",
    )


def _command(look: Look, world: World) -> tuple[Rollout, Mapping[str, Any] | None, tuple[EventRecord, ...]]:
    """Carry out the annotation's command, once per id."""
    last = look.status.get("lastCommand")
    text = look.manifest["metadata"].get("annotations", {}).get(COMMAND_ANNOTATION)
    if text is None:
        return look.rollout, last, ()
    try:
        command = parse_command(text)
    except InvalidCommand as error:
        answer = f"Refused: {error}"
        if last and last.get("outcome") == answer:
            return look.rollout, last, ()
        # With the id of the last one that was a command, which must not be carried out again.
        done = last.get("id", "") if last else ""
        refusal = {"id": done, "verb": "", "by": "", "at": timestamp(world.now), "outcome": answer}
        return look.rollout, refusal, (EventRecord(type="Warning", reason="CommandRefused", message=answer),)
    if command.id in {last.get("id") if last else None, *(entry["id"] for entry in look.status.get("commands", ()))}:
        return look.rollout, last, ()
    outcome = carry_out(command, look.rollout, look.tactics, world)
    answered = {
        "id": command.id,
        "verb": command.verb,
        "by": command.by,
        "at": timestamp(world.now),
        "outcome": outcome.answer,
    }
    return outcome.rollout, answered, outcome.events


def _raises(before: Rollout, after: Rollout) -> bool:
    """Return whether some candidate gets more traffic, or becomes stable. Going back is no such thing."""
    if after.stable != before.stable:
        return after.phase is not Phase.ROLLED_BACK
    shares = {candidate.revision: candidate.weight for candidate in before.candidates}
    return any(candidate.weight > shares.get(candidate.revision, 0) for candidate in after.candidates)
