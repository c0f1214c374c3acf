"""Brings what trainings have published into the ModelDeployment that a policy names."""

import logging
from dataclasses import replace

from penstock_operator.api.v1alpha1.drift_policy import ModelUpdate
from penstock_operator.core.action_state import Training, TrainingState
from penstock_operator.core.conditions import Reason
from penstock_operator.core.model_update import NotPublished, is_in_force, published, refusal, update_of
from penstock_operator.core.plan import EventRecord
from penstock_operator.ports import RequestRejected, Trainer
from penstock_operator.reconcile.policy_case import Round

#: Where the operator tells who did what, whatever the log level is.
_AUDIT = logging.getLogger("penstock.audit")
_OBSTACLE_SECONDS = 15.0
#: A model that could not be brought in by then is old news.
_TRIED_SECONDS = 86_400.0
_FORBIDDEN = 403
_CONDITION = "ModelUpdated"


class Updates:
    """One step for the last training that has succeeded: its words are read, and what they name is applied.

    Applying them twice changes nothing, so nothing is lost or repeated if the process dies in between.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    async def advance(self, turn: Round, trainings: tuple[Training, ...]) -> tuple[Training, ...]:
        """Return the trainings with what came of their models."""
        retrain = turn.case.spec.retrain
        update = retrain.update if retrain is not None else None
        if update is None or turn.case.spec.dry_run:
            return trainings
        _keep_condition(turn)
        latest = next((one for one in trainings if one.state is TrainingState.SUCCEEDED), None)
        if latest is None or latest.updated:
            return trainings
        after = await self._updated(turn, latest, update)
        return tuple(after if one is latest else one for one in trainings)

    async def _updated(self, turn: Round, training: Training, update: ModelUpdate) -> Training:
        namespace = turn.case.ref.namespace
        if turn.case.now - training.at > _TRIED_SECONDS:
            return training
        try:
            model = published(await self._trainer.said(namespace, training.name))
        except NotPublished as error:
            _tell(turn, Reason.NOTHING_PUBLISHED, f"{training.name}: {error}")
            return replace(training, updated=f"Refused: {error}")
        except RequestRejected as error:
            return self._obstructed(turn, training, error)
        try:
            deployment = await self._trainer.model_deployment(namespace, update.model_deployment)
            if deployment is None:
                words = f"there is no ModelDeployment {update.model_deployment}; correct spec.retrain.update"
                _tell(turn, Reason.TARGET_NOT_FOUND, words)
                turn.again.append(_OBSTACLE_SECONDS)
                return training
            if not is_in_force(deployment, model):
                if (why := refusal(deployment, model, update)) is not None:
                    _tell(turn, Reason.FIELD_OWNED if why.owned else Reason.NOTHING_PUBLISHED, why.message)
                    turn.again.append(_OBSTACLE_SECONDS)
                    return training
                await self._trainer.update(update_of(deployment, model))
        except RequestRejected as error:
            return self._obstructed(turn, training, error)
        words = f"{update.model_deployment} asks for {model['uri']}"
        words += f", version {model['version']}" if "version" in model else ""
        turn.conditions.set(_CONDITION, status=True, reason=Reason.MODEL_UPDATED, message=f"{training.name}: {words}")
        turn.events.append(EventRecord(type="Normal", reason="ModelUpdated", message=f"{training.name}: {words}"))
        _AUDIT.info("audit", extra=_entry(turn, training, words))
        return replace(training, updated=words)

    def _obstructed(self, turn: Round, training: Training, error: RequestRejected) -> Training:
        if error.status == _FORBIDDEN:
            fix = "install the chart with modelUpdates.enabled=true, which lets the operator patch ModelDeployments"
            _tell(turn, Reason.UPDATE_NOT_ALLOWED, f"{error}; {fix}")
            turn.again.append(_OBSTACLE_SECONDS)
            return training
        _tell(turn, Reason.REJECTED_BY_SERVER, str(error))
        return replace(training, updated=f"Refused: {error}")


def _tell(turn: Round, reason: Reason, message: str) -> None:
    turn.conditions.set(_CONDITION, status=False, reason=reason, message=message)


def _keep_condition(turn: Round) -> None:
    """Say again what was said last: it holds until the next training."""
    for one in (turn.case.policy.get("status") or {}).get("conditions", ()):
        if one["type"] == _CONDITION and one["status"] in {"True", "False"}:
            held = one["status"] == "True"
            turn.conditions.set(_CONDITION, status=held, reason=Reason(one["reason"]), message=one["message"])


def _entry(turn: Round, training: Training, words: str) -> dict[str, str]:
    ref = turn.case.ref
    return {
        "namespace": ref.namespace,
        "policy": ref.name,
        "verb": "update",
        "id": training.window_id,
        "by": f"policy/{ref.name}",
        "outcome": words,
    }
