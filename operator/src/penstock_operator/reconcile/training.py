"""Begins the trainings that status says are to be begun, and watches how they go."""

from collections.abc import Mapping
from dataclasses import replace

from penstock_operator.api.v1alpha1.drift_policy import Retrain
from penstock_operator.core.action_state import ActionState, Standing, Training, TrainingState
from penstock_operator.core.conditions import Reason
from penstock_operator.core.letters import Delivery, Letter
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.retraining import environment, job_of, progressed, report, report_map, report_text
from penstock_operator.ports import Cluster, RequestRejected, Trainer
from penstock_operator.reconcile.policy_case import Case, Round

#: How soon to look again while an answer is awaited, and while something is in the way or under way.
_AWAITING_SECONDS = 2.0
_OBSTACLE_SECONDS = 15.0
#: A policy is looked at with every tick of a rollout; what was read so long ago is read again.
_RECENT_SECONDS = 10.0
#: A training that has not ended by then is watched no longer.
_WATCHED_SECONDS = 7 * 86_400.0


class Trainings:
    """Takes two strides: what is to be begun is in status before it is begun, so it is begun under one name."""

    def __init__(self, *, cluster: Cluster, trainer: Trainer) -> None:
        self._cluster = cluster
        self._trainer = trainer
        self._read: dict[tuple[ObjectRef, str], tuple[float, Manifest | None]] = {}

    def forget(self, ref: ObjectRef) -> None:
        """Drop what was read for a policy that is gone."""
        self._read = {key: read for key, read in self._read.items() if key[0] != ref}

    async def advance(self, turn: Round, state: ActionState, stored: ActionState) -> tuple[Training, ...]:
        """Return all trainings after one look: begun, watched, or dropped."""
        retrain = turn.case.spec.retrain
        if retrain is None:
            return tuple(_dropped(one, "spec.retrain is gone") for one in state.trainings)
        known = {one.name for one in stored.trainings if one.state is TrainingState.STARTING}
        cron_job = await self._cron_job(turn, retrain, anew=bool(known))
        trainings = []
        for one in state.trainings:
            if one.state is TrainingState.STARTED and retrain.cron_job is not None:
                trainings.append(await self._watched(turn, one))
            elif one.name in known and one.state is TrainingState.STARTING:
                trainings.append(await self._begin(turn, one, state, cron_job))
            else:
                trainings.append(one)
        return tuple(trainings)

    async def _cron_job(self, turn: Round, retrain: Retrain, *, anew: bool) -> Manifest | None:
        """Return the CronJob; that there is none is told before it is needed."""
        if retrain.cron_job is None:
            return None
        name = retrain.cron_job
        try:
            found = None if anew else self._recent(turn.case, name)
            if found is None:
                found = await self._trainer.cron_job(turn.case.ref.namespace, name)
                self._read[turn.case.ref, name] = (turn.case.now, found)
        except RequestRejected as error:
            _cannot_train(turn, Reason.REJECTED_BY_SERVER, str(error))
            return None
        if found is None:
            words = f"there is no CronJob {name} in this namespace; create it, or correct spec.retrain.cronJob"
            _cannot_train(turn, Reason.CRON_JOB_NOT_FOUND, words)
        else:
            turn.conditions.set("RetrainReady", status=True, reason=Reason.READY, message=f"by CronJob {name}")
        return found

    async def _begin(self, turn: Round, training: Training, state: ActionState, cron_job: Manifest | None) -> Training:
        """Begin what status says is to be begun; what cannot be begun yet stays so."""
        standing = (Standing.FIRING, Standing.ACKNOWLEDGED)
        alarm = next(
            (
                entry.alarm
                for entry in state.alarms
                if entry.alarm.window_id == training.window_id
                and entry.alarm.model_deployment == training.model_deployment
                and entry.standing in standing
            ),
            None,
        )
        if alarm is None:
            return _dropped(training, "the alarm ended before the training was begun")
        policy = turn.case.policy
        reference = self._reference(turn.case.ref.namespace, training.model_deployment)
        document = report(policy, training, alarm, reference)
        webhook = turn.case.spec.retrain.webhook if turn.case.spec.retrain else None
        if webhook is not None:
            turn.letters[training.name] = Letter(
                namespace=turn.case.ref.namespace,
                url=webhook.url,
                id=training.name,
                secret_name=webhook.secret_name,
                document=document,
            )
            turn.again.append(_AWAITING_SECONDS)
            return training
        if cron_job is None:
            return training
        job = job_of(policy, training, cron_job, environment(policy, training, alarm, reference))
        try:
            ours = await self._trainer.start(job, report_map(policy, training, report_text(document)))
        except RequestRejected as error:
            _cannot_train(turn, Reason.REJECTED_BY_SERVER, str(error))
            return training
        if not ours:
            _cannot_train(turn, Reason.NOT_OWNED, f"Job {training.name} exists and belongs to somebody else; delete it")
            return training
        turn.again.append(_OBSTACLE_SECONDS)
        return replace(training, state=TrainingState.STARTED)

    async def _watched(self, turn: Round, training: Training) -> Training:
        if turn.case.now - training.at > _WATCHED_SECONDS:
            return training
        turn.again.append(_OBSTACLE_SECONDS)
        if self._recent(turn.case, training.name) is not None:
            return training
        try:
            job = await self._trainer.job(turn.case.ref.namespace, training.name)
        except RequestRejected:
            return training
        self._read[turn.case.ref, training.name] = (turn.case.now, job)
        after = progressed(training, job)
        if after is not training:
            self._read.pop((turn.case.ref, training.name), None)
        return after

    def _recent(self, case: Case, name: str) -> Manifest | None:
        """Return what was read of a name less than a moment ago, or None."""
        at, read = self._read.get((case.ref, name), (-_RECENT_SECONDS, None))
        return read if case.now - at < _RECENT_SECONDS else None

    def _reference(self, namespace: str, model_deployment: str) -> Mapping[str, str]:
        """Return what the ModelDeployment says of its reference profile."""
        ref = ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=namespace, name=model_deployment)
        model = ((self._cluster.get(ref) or {}).get("spec") or {}).get("model") or {}
        profile = model.get("profile") or {}
        uri = profile.get("uri") or f"{str(model.get('uri', '')).rpartition('/')[0]}/profile.json"
        return {"uri": str(uri), "sha256": str(profile.get("sha256", "")), "model": str(model.get("uri", ""))}


def delivered(trainings: tuple[Training, ...], deliveries: Mapping[str, Delivery]) -> tuple[Training, ...]:
    """Return the trainings with what came of those that somebody else was asked for."""
    told = []
    for one in trainings:
        delivery = deliveries.get(one.name)
        if delivery is None or one.state is not TrainingState.STARTING:
            told.append(one)
        elif delivery.arrived:
            told.append(replace(one, state=TrainingState.STARTED, message=""))
        else:
            told.append(replace(one, message=f"spec.retrain.webhook: {delivery.message}; it is tried again"))
    return tuple(told)


def _cannot_train(turn: Round, reason: Reason, message: str) -> None:
    turn.conditions.set("RetrainReady", status=False, reason=reason, message=message)
    turn.again.append(_OBSTACLE_SECONDS)


def _dropped(training: Training, why: str) -> Training:
    if training.state is not TrainingState.STARTING:
        return training
    return replace(training, state=TrainingState.DROPPED, message=why)
