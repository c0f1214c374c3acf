"""Reconciles a TrafficSplit: observe, judge, decide, publish, report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.api.v1alpha1.traffic_split import COMMAND_ANNOTATION, Step, TrafficSplitSpec
from penstock_operator.core.commands import InvalidCommand, carry_out, parse_command
from penstock_operator.core.conditions import Reason, timestamp
from penstock_operator.core.difference import differs
from penstock_operator.core.manifests.endpoint import ToRouter, endpoint_address, endpoint_service, endpoint_write
from penstock_operator.core.names import served_model
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, kind_of, ref_of
from penstock_operator.core.phases import Phase
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.policy_view import policy_views
from penstock_operator.core.rollout import Undecided, advance
from penstock_operator.core.rollout_moves import Decision
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.rollout_status import parse_rollout
from penstock_operator.core.routes import Acknowledgement
from penstock_operator.core.schedule import steps_of
from penstock_operator.core.traffic_split import (
    Problem,
    Report,
    blocked_status,
    problem_of,
    revision_states,
    router_port,
    split_route,
    split_status,
)
from penstock_operator.core.trial import PolicyView, Trial, judge_trial, tick_of, unjudged_trial
from penstock_operator.core.world import World
from penstock_operator.ports import Clock, Cluster, RequestRejected, RolloutObserver
from penstock_operator.reconcile.execute import apply_own, in_the_way, report
from penstock_operator.reconcile.fleet import Fleet
from penstock_operator.reconcile.sampling import Sampler

#: How long a new weight may take to be acknowledged before the reconcile goes on without; usually milliseconds.
_ACKNOWLEDGE_SECONDS = 1.0
_ALL = 100
#: A deleted split's listener stays this long, until every node's Service rules lead elsewhere.
_LINGER_SECONDS = 30.0
#: While routers resolve a revision, look often: each look is one small read.
_WARMING_SECONDS = 0.5
#: While somebody has to mend something, look again even if no event comes.
_OBSTACLE_SECONDS = 30.0
_MOVING = frozenset({Phase.WAITING, Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED})
#: Phases in which the candidate may have traffic.
_ON_TRIAL = frozenset({Phase.PROGRESSING, Phase.PAUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What is known of a split before anything is decided."""

    manifest: Manifest
    spec: TrafficSplitSpec
    deployment: Manifest
    target: ModelDeploymentSpec
    policies: list[PolicyView]
    rollout: Rollout
    weights: dict[str, int]
    port: int

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def steps(self) -> tuple[Step, ...]:
        return steps_of(self.spec.strategy)

    @property
    def undecided(self) -> Undecided | None:
        strategy = self.spec.strategy
        if strategy.max_duration is None:
            return None
        return Undecided(after_seconds=strategy.max_duration.total_seconds(), then=strategy.on_undecided)

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.manifest.get("status", {})
        return status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """What was decided at one look, on its way to the routers and into the status."""

    look: _Look
    decision: Decision
    trial: Trial | None
    command: Mapping[str, Any] | None
    now: float
    obstacle: Problem | None


class TrafficSplitReconciler:
    """Moves traffic as specs and verdicts say, and takes it back on the tick that decides."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        fleet: Fleet,
        sampler: Sampler,
        observer: RolloutObserver,
        tick_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._fleet = fleet
        self._sampler = sampler
        self._observer = observer
        self._tick_seconds = tick_seconds
        self._monotonic = monotonic
        self._leaving: dict[ObjectRef, float] = {}
        self._trials: dict[ObjectRef, Trial] = {}

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Look at one TrafficSplit; return after how many seconds to look again without an event."""
        manifest = self._cluster.get(ref)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            return await self._leave(ref)
        self._leaving.pop(ref, None)
        try:
            spec = TrafficSplitSpec.parse(manifest["spec"])
        except ValidationError as error:
            await self._block(ref, manifest, Problem(reason=Reason.INVALID_SPEC, message=str(error)))
            return None
        deployments = {
            item["metadata"]["name"]: item for item in self._cluster.list(Kind.MODEL_DEPLOYMENT, ref.namespace)
        }
        splits = self._cluster.list(Kind.TRAFFIC_SPLIT, ref.namespace)
        if problem := problem_of(manifest, spec, deployments, splits):
            await self._block(ref, manifest, problem)
            return None
        deployment = deployments[spec.stable.model_deployment]
        try:
            target = ModelDeploymentSpec.parse(deployment["spec"])
        except ValidationError as error:
            words = f"ModelDeployment {spec.stable.model_deployment} is invalid: {error}"
            await self._block(ref, manifest, Problem(reason=Reason.INVALID_SPEC, message=words))
            return None
        look = _Look(
            manifest=manifest,
            spec=spec,
            deployment=deployment,
            target=target,
            policies=policy_views(spec, ref.name, self._cluster.list(Kind.DRIFT_POLICY, ref.namespace)),
            rollout=parse_rollout(manifest.get("status", {})),
            weights=_weights(manifest),
            port=_port(manifest, splits),
        )
        return await self._act(ref, look)

    async def _act(self, ref: ObjectRef, look: _Look) -> float | None:
        now = self._clock.now()
        obstacle = await self._obstacle(ref.namespace)
        commanded, command, events = self._command(look, now)
        trial, world = await self._observe(ref, replace(look, rollout=commanded), now)
        decision = advance(commanded, look.steps, world, look.undecided)
        decision = replace(decision, events=(*events, *decision.events))
        turn = _Turn(look=look, decision=decision, trial=trial, command=command, now=now, obstacle=obstacle)
        told = await self._publish(ref, turn)
        weights = look.weights
        stable = decision.rollout.stable
        if told is not None and told.complete and (weights or stable in self._sampler.warm(ref.namespace, ref.name)):
            # The first time, the endpoint moves to the routers with this write: not before they can answer.
            weights = decision.rollout.weights
        if weights and look.deployment["metadata"]["name"] != ref.name:
            turn = replace(turn, obstacle=await self._endpoint(look) or obstacle)
        await self._write(turn, told, weights)
        again = self._again(decision, told, weights)
        return min(again or _OBSTACLE_SECONDS, _OBSTACLE_SECONDS) if turn.obstacle else again

    async def _obstacle(self, namespace: str) -> Problem | None:
        """Make or mend the routers; what keeps us from it must not keep us from taking traffic back."""
        try:
            foreign = await self._fleet.ensure(namespace)
        except RequestRejected as error:
            return Problem(reason=Reason.REJECTED_BY_SERVER, message=str(error))
        return Problem(reason=Reason.NOT_OWNED, message=in_the_way(foreign)) if foreign else None

    async def _endpoint(self, look: _Look) -> Problem | None:
        """Make or mend the Service of a split that has a name of its own."""
        service = endpoint_service(look.manifest, ToRouter(port=look.port))
        ref = ref_of(kind_of(service), service)
        live = self._cluster.get(ref)
        write = endpoint_write(service, live, look.status.get("clusterIP"))
        try:
            if not differs(live, service) or await apply_own(self._cluster, write.manifest, write.otherwise):
                return None
        except RequestRejected as error:
            return Problem(reason=Reason.REJECTED_BY_SERVER, message=str(error))
        return Problem(reason=Reason.NOT_OWNED, message=in_the_way([ref]))

    def _command(self, look: _Look, now: float) -> tuple[Rollout, Mapping[str, Any] | None, tuple[EventRecord, ...]]:
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
            refusal = {"id": done, "verb": "", "by": "", "at": timestamp(now), "outcome": answer}
            return look.rollout, refusal, (EventRecord(type="Warning", reason="CommandRefused", message=answer),)
        if last and last.get("id") == command.id:
            return look.rollout, last, ()
        outcome = carry_out(command, look.rollout, look.steps, now=now)
        answered = {
            "id": command.id,
            "verb": command.verb,
            "by": command.by,
            "at": timestamp(now),
            "outcome": outcome.answer,
        }
        return outcome.rollout, answered, outcome.events

    async def _observe(self, ref: ObjectRef, look: _Look, now: float) -> tuple[Trial | None, World]:
        pods = self._fleet.pods(ref.namespace)
        on_trial = look.rollout.phase in _ON_TRIAL
        if look.rollout.phase in _MOVING or not look.weights:
            age = self._tick_seconds * 0.9 if on_trial else _WARMING_SECONDS * 0.9
            await self._sampler.refresh(ref.namespace, pods, max_age_seconds=age)
        trial = self._judge(ref, look) if on_trial else None
        status = look.deployment.get("status", {})
        world = World(
            now=now,
            latest=status.get("latestRevision"),
            deployment_stable=status.get("stableRevision"),
            revisions=revision_states(look.deployment),
            acknowledged=look.weights,
            warm=self._sampler.warm(ref.namespace, ref.name),
            findings=trial.findings if trial else None,
            judged=bool(look.spec.policies),
        )
        return trial, world

    def _judge(self, ref: ObjectRef, look: _Look) -> Trial | None:
        """Judge what is new; between two ticks the last findings stand."""
        candidate, stable = look.rollout.candidate, look.rollout.stable
        if candidate is None or stable is None or not look.spec.policies:
            return None
        policies = look.policies
        ticks = [
            tick_of(tick.at, tick.counts, stable=stable, candidate=candidate.revision)
            for tick in self._sampler.take(ref.namespace, ref.name)
        ]
        if candidate.step_started_at is None or candidate.weight == 0:
            ticks = []  # the weight of this step is not everywhere yet
        before = self._trials.get(ref)
        if before is not None and before.evidence.get("revision") != candidate.revision:
            before = None
        # The status may be behind when it could not be written.
        evidence = before.evidence if before else look.status.get("evidence", {})
        judged = judge_trial(
            policies,
            evidence,
            candidate=candidate.revision,
            ticks=ticks,
            alone_after=look.status.get("analysis", ()) if candidate.weight == _ALL else None,
        )
        if judged is not None:
            self._trials[ref] = before = judged
        if before is None:
            # After a restart the evidence so far is in status; findings come with the next tick.
            return Trial(
                findings=unjudged_trial(policies),
                analysis=tuple(look.status.get("analysis", ())),
                evidence=look.status.get("evidence", {}),
            )
        return before

    async def _publish(self, ref: ObjectRef, turn: _Turn) -> Acknowledgement | None:
        """Bring the weights to the routers.

        More traffic for a candidate is written down first, so that a crash never leaves routers ahead of the status.
        Taking it back goes to the routers first: that must not wait for the API server.
        """
        look, decision = turn.look, turn.decision
        if _raises(look.rollout, decision.rollout):
            unsaid = replace(turn, decision=replace(decision, events=()))
            await self._write(unsaid, None, look.weights)
        route = split_route(
            namespace=ref.namespace,
            split=ref.name,
            port=look.port,
            rollout=decision.rollout,
            ready=[name for name, state in revision_states(look.deployment).items() if state.ready],
            request_timeout_seconds=look.target.serving.timeout.total_seconds(),
        )
        self._fleet.publish(ref.namespace, ref.name, route)
        if route is None or not self._fleet.pods(ref.namespace):
            return None
        started = self._monotonic()
        told = await self._fleet.acknowledged(ref.namespace, ref.name, timeout_seconds=_ACKNOWLEDGE_SECONDS)
        if told.complete and look.weights and decision.rollout.weights != look.weights:
            self._observer.weights_acknowledged(self._monotonic() - started)
        return told

    def _address(self, look: _Look) -> str | None:
        """Return the ClusterIP of a split that has a name of its own; else the ModelDeployment tells it."""
        if look.deployment["metadata"]["name"] == look.manifest["metadata"]["name"]:
            return None
        ref = ObjectRef(kind=Kind.SERVICE, namespace=look.namespace, name=look.manifest["metadata"]["name"])
        return endpoint_address(self._cluster.get(ref), look.status.get("clusterIP"))

    async def _write(self, turn: _Turn, told: Acknowledgement | None, weights: dict[str, int]) -> None:
        look, decision, trial = turn.look, turn.decision, turn.trial
        ref = ref_of(Kind.TRAFFIC_SPLIT, look.manifest)
        live = self._cluster.get(ref) or look.manifest
        # What was decided was decided for the generation that was looked at.
        generation = look.manifest["metadata"]["generation"]
        manifest = {**live, "metadata": {**live["metadata"], "generation": generation}}
        same = not _restarted(look.rollout, decision.rollout)
        ended = decision.rollout.candidate is None
        # What decided stays to be read after a rollback or promotion, until the next candidate.
        told_last = trial.analysis if trial else tuple(look.status.get("analysis", ()))
        verdict = (trial.verdict if trial else None) or look.status.get("verdict")
        status = split_status(
            Report(
                split=manifest,
                spec=look.spec,
                model_name=served_model(look.spec.stable.model_deployment, look.target),
                decision=decision,
                port=look.port,
                address=self._address(look),
                weights=weights,
                acknowledgement=told,
                routers=len(self._fleet.pods(look.namespace)),
                policies=look.policies,
                router_trouble=self._fleet.trouble(look.namespace),
                analysis=told_last if same or ended else (),
                evidence=(trial.evidence if trial else look.status.get("evidence")) if same and not ended else None,
                verdict=verdict if same or ended else None,
                obstacle=turn.obstacle,
                command=turn.command,
            ),
            now=turn.now,
        )
        await report(self._cluster, live, status, decision.events)
        if _moved(look.rollout, decision.rollout):
            # A new weight is judged on what happens at that weight. Not before it is written down: until then the
            # next look must come to the same decision.
            self._trials.pop(ref, None)

    def _again(self, decision: Decision, told: Acknowledgement | None, weights: Mapping[str, int]) -> float | None:
        if decision.rollout.stable is None:
            return None  # an event of the ModelDeployment comes when it is ready
        if told is None or not told.complete or not weights:
            return _WARMING_SECONDS
        match decision.rollout.phase:
            case Phase.PROGRESSING | Phase.PAUSED:
                return self._tick_seconds
            case Phase.WAITING:
                return _WARMING_SECONDS
            case _:
                return None

    async def _block(self, ref: ObjectRef, manifest: Manifest, problem: Problem) -> None:
        """Leave traffic as it is and say why nothing moves."""
        await self._obstacle(ref.namespace)
        weights, port = _weights(manifest), manifest.get("status", {}).get("port")
        if weights and port is not None:
            rollout = parse_rollout(manifest["status"])
            route = split_route(
                namespace=ref.namespace,
                split=ref.name,
                port=port,
                rollout=rollout,
                ready=list(weights),
                request_timeout_seconds=60.0,
            )
            self._fleet.publish(ref.namespace, ref.name, route)
        live = manifest.get("status", {}).get("conditions", ())
        known = any(item["type"] == "Stalled" and item["reason"] == problem.reason for item in live)
        event = EventRecord(type="Warning", reason=problem.reason.value, message=problem.message)
        status = blocked_status(manifest, problem, now=self._clock.now())
        await report(self._cluster, manifest, status, () if known else (event,))

    async def _leave(self, ref: ObjectRef) -> float | None:
        """Let the routers go on for a deleted split until nobody is led to them any more."""
        self._trials.pop(ref, None)
        await self._obstacle(ref.namespace)
        left = self._leaving.setdefault(ref, self._monotonic() + _LINGER_SECONDS) - self._monotonic()
        if left > 0:
            return left
        self._leaving.pop(ref, None)
        self._sampler.forget(ref.namespace, ref.name)
        self._fleet.publish(ref.namespace, ref.name, None)
        return None


def _weights(manifest: Manifest) -> dict[str, int]:
    return {entry["revision"]: entry.get("weight", 0) for entry in manifest.get("status", {}).get("weights", ())}


def _port(manifest: Manifest, splits: Sequence[Manifest]) -> int:
    own = manifest.get("status", {}).get("port")
    if own is not None:
        return int(own)
    taken = {split.get("status", {}).get("port") for split in splits}
    return router_port(manifest["metadata"]["name"], {port for port in taken if port is not None})


def _raises(before: Rollout, after: Rollout) -> bool:
    """Return whether some candidate gets more traffic, or becomes stable."""
    if after.stable != before.stable:
        return True
    if after.candidate is None:
        return False
    known = before.candidate is not None and before.candidate.revision == after.candidate.revision
    weight = before.candidate.weight if known and before.candidate is not None else 0
    return after.candidate.weight > weight


def _moved(before: Rollout, after: Rollout) -> bool:
    """Return whether the candidate or its step is another one."""
    if before.candidate is None or after.candidate is None:
        return before.candidate is not after.candidate
    return (before.candidate.revision, before.candidate.step, before.candidate.weight) != (
        after.candidate.revision,
        after.candidate.step,
        after.candidate.weight,
    )


def _restarted(before: Rollout, after: Rollout) -> bool:
    old = before.candidate.revision if before.candidate else None
    new = after.candidate.revision if after.candidate else None
    return old != new
