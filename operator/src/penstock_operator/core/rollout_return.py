"""The way back after a promotion: to the revision that is watched over, or to any kept one."""

from dataclasses import replace

from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.phases import Phase, Trigger, next_phase
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_moves import Decision, reject, remember
from penstock_operator.core.rollout_state import HistoryEntry, RejectedFor, Returning, Rollout, Watch
from penstock_operator.core.tactics import Tactics
from penstock_operator.core.world import Finding, World


def breach_of(revision: str, world: World) -> Finding | None:
    """Return the finding that takes a revision back, or None."""
    found = world.findings.get(revision, ())
    return next((finding for finding in found if finding.verdict is Verdict.FAIL and finding.rolls_back), None)


def keep_watch(rollout: Rollout, tactics: Tactics, world: World) -> Decision:
    """Return to the old revision where a policy fails or spec asks for it; let it go when its time is over."""
    watch, stable = rollout.watch, rollout.stable
    if watch is None or stable is None:
        return Decision(rollout=rollout)
    if watch.revision not in world.revisions:
        return Decision(rollout=replace(rollout, watch=None))
    if breach := breach_of(stable, world):
        return _back(rollout, watch, world, by=breach.source, reason="PolicyBreached", message=breach.message)
    if [want.revision for want in world.wanted] == [watch.revision]:
        return _spec_back(rollout, watch, world)
    if world.now >= watch.started_at + tactics.watch_seconds:
        text = f"{stable} stood the watch; {watch.revision} is kept no longer"
        return Decision(
            rollout=replace(rollout, watch=None),
            events=(EventRecord(type="Normal", reason="WatchEnded", message=text),),
        )
    return Decision(rollout=rollout)


def go_back(rollout: Rollout, revision: str, *, by: str, reason: RejectedFor, message: str, now: float) -> Rollout:
    """Return the rollout on its way back to a revision. Whatever is on trial must have ended before."""
    returning = Returning(revision=revision, by=by, reason=reason, message=message, asked_at=now)
    rest = next_phase(rollout.rest, Trigger.RETURN)
    forgiven = tuple(entry for entry in rollout.rejected if entry.revision != revision)
    return replace(rollout, rest=rest, returning=returning, watch=None, rejected=forgiven)


def arrive(rollout: Rollout, world: World) -> Decision:
    """Return the rollout with all traffic on the revision that it returns to, once all its pods are there."""
    returning = rollout.returning
    if returning is None or rollout.stable is None:
        return Decision(rollout=rollout)
    revision, left = returning.revision, rollout.stable
    if revision not in world.revisions:
        message = f"{revision} exists no more; {left} goes on serving"
        return Decision(
            rollout=replace(rollout, rest=next_phase(rollout.rest, Trigger.WITHDRAWN), returning=None),
            events=(EventRecord(type="Warning", reason="ReturnFailed", message=message),),
        )
    if not _may_arrive(returning, world):
        state = world.state_of(revision)
        why = f": {state.failure}" if state.failure else ""
        holding = f"going back to {revision} when its pods are ready ({state.ready} of {state.wanted}{why})"
        return Decision(rollout=rollout, holding=holding)
    gone = remember(
        replace(rollout, rest=next_phase(rollout.rest, Trigger.RETURNED), stable=revision, returning=None, watch=None),
        HistoryEntry(
            revision=left,
            outcome="RolledBack",
            started_at=returning.asked_at,
            finished_at=world.now,
            by=returning.by,
            message=returning.message,
            stable=revision,
        ),
    )
    text = f"{left} taken back after its promotion by {returning.by}: {returning.message}; {revision} serves"
    return Decision(
        rollout=reject(gone, left, by=returning.by, reason=returning.reason, message=returning.message, now=world.now),
        events=(EventRecord(type="Warning", reason="RolledBack", message=text),),
    )


def _may_arrive(returning: Returning, world: World) -> bool:
    """What fails is left as soon as anything else answers; else pods that have only begun to start are waited for."""
    if returning.reason == "PolicyBreached":
        return world.answers(returning.revision)
    return world.is_up(returning.revision)


def stop_return(rollout: Rollout) -> Rollout:
    """Return the rollout that stays with the revision that it has."""
    return replace(rollout, rest=next_phase(rollout.rest, Trigger.WITHDRAWN), returning=None)


def before_last_promotion(rollout: Rollout) -> str | None:
    """Return the revision that the stable one replaced, as far as history remembers."""
    if rollout.watch is not None:
        return rollout.watch.revision
    promoted = (entry for entry in rollout.history if entry.outcome == "Promoted" and entry.stable)
    return next((entry.stable for entry in promoted if entry.revision == rollout.stable), None)


def _back(rollout: Rollout, watch: Watch, world: World, *, by: str, reason: RejectedFor, message: str) -> Decision:
    """Return at once: the old revision is warm. If none of its pods is, as soon as one is."""
    going = go_back(rollout, watch.revision, by=by, reason=reason, message=message, now=world.now)
    return arrive(going, world)


def _spec_back(rollout: Rollout, watch: Watch, world: World) -> Decision:
    """Spec asks for the old revision again while it is warm: nobody is to blame, nothing is rejected."""
    message = f"spec asks for {watch.revision} again"
    if not world.answers(watch.revision):
        return Decision(rollout=rollout, holding=f"{message}; none of its pods is ready")
    entry = HistoryEntry(
        revision=rollout.stable or "",
        outcome="Withdrawn",
        started_at=watch.started_at,
        finished_at=world.now,
        by="spec",
        message=message,
        stable=watch.revision,
    )
    back = replace(rollout, rest=next_phase(Phase.PROMOTED, Trigger.WITHDRAWN), stable=watch.revision, watch=None)
    return Decision(
        rollout=remember(back, entry),
        events=(EventRecord(type="Normal", reason="Withdrawn", message=f"{rollout.stable}: {message}"),),
    )
