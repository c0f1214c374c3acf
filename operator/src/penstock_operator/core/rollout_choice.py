"""Which revisions take part in a rollout: the stable one, and the candidates that spec asks for."""

from dataclasses import replace

from penstock_operator.core.phases import Phase, Trigger, next_phase
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_moves import Decision, begin, end
from penstock_operator.core.rollout_state import Candidate, Ending, Rollout
from penstock_operator.core.world import Wanted, World


def settle_stable(rollout: Rollout, world: World) -> Decision:
    """Begin with the revision that the ModelDeployment serves; again if the stable one exists no more."""
    served = world.deployment_stable
    if rollout.stable is None:
        return Decision(rollout=replace(rollout, stable=served))
    if rollout.stable in world.revisions or served not in world.revisions:
        return Decision(rollout=rollout)
    message = f"{rollout.stable} exists no more; {served} serves"
    phase = next_phase(rollout.phase, Trigger.STABLE_LOST)
    for candidate in rollout.candidates:
        rollout = end(
            rollout,
            candidate.name,
            Trigger.STABLE_LOST,
            outcome="Superseded",
            by="spec",
            message=message,
            now=world.now,
        )
    return Decision(
        rollout=replace(rollout, rest=phase, stable=served, watch=None, returning=None),
        events=(EventRecord(type="Warning", reason="StableLost", message=message),),
    )


def choose_candidates(rollout: Rollout, world: World) -> Decision:
    """Follow spec: a new revision is a new candidate, a third one drops the second, stable takes it away."""
    asked = {want.name: want for want in world.wanted}
    events: list[EventRecord] = []
    for candidate in rollout.candidates:
        if (message := _dropped(candidate, asked.get(candidate.name), rollout)) is not None:
            outcome: Ending = "Superseded" if _may_try(asked.get(candidate.name), rollout) else "Withdrawn"
            rollout = end(
                rollout, candidate.name, Trigger.WITHDRAWN, outcome=outcome, by="spec", message=message, now=world.now
            )
            events.append(EventRecord(type="Normal", reason=outcome, message=f"{candidate.revision}: {message}"))
    for want in world.wanted:
        if want.revision is not None and _may_try(want, rollout) and not _takes_part(want, rollout):
            begun = begin(rollout, want.name, want.revision, now=world.now)
            rollout = begun.rollout
            events.extend(begun.events)
    return Decision(rollout=_rested(_ordered(rollout, world), world), events=tuple(events))


def _dropped(candidate: Candidate, want: Wanted | None, rollout: Rollout) -> str | None:
    """Return why a candidate is one no more, or None while it is."""
    if want is None:
        return f"spec names no candidate {candidate.name}"
    if want.revision is None or want.revision == candidate.revision:
        return None  # the ModelDeployment does not say yet what it is asked for, or still asks for this one
    asked = rollout.stable if rollout.is_rejected(want.revision) else want.revision
    return f"spec asks for {asked} instead"


def _may_try(want: Wanted | None, rollout: Rollout) -> bool:
    if want is None or want.revision is None or want.revision == rollout.stable:
        return False
    return not rollout.is_rejected(want.revision)


def _takes_part(want: Wanted, rollout: Rollout) -> bool:
    return any(candidate.name == want.name or candidate.revision == want.revision for candidate in rollout.candidates)


def _ordered(rollout: Rollout, world: World) -> Rollout:
    """Put the candidates into the order of spec."""
    order = {want.name: index for index, want in enumerate(world.wanted)}
    kept = sorted(rollout.candidates, key=lambda candidate: order.get(candidate.name, len(order)))
    return replace(rollout, candidates=tuple(kept))


def _rested(rollout: Rollout, world: World) -> Rollout:
    """A rejected spec that was changed leaves nothing to complain about."""
    if rollout.phase is not Phase.ROLLED_BACK or any(want.revision is None for want in world.wanted):
        return rollout
    if any(want.revision is not None and rollout.is_rejected(want.revision) for want in world.wanted):
        return rollout
    return replace(rollout, rest=next_phase(rollout.rest, Trigger.WITHDRAWN))
