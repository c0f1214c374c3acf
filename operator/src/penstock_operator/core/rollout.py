"""One look at a rollout: which candidates there are, and whether each goes forward, back or stays."""

from penstock_operator.core.phases import Phase
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_choice import choose_candidates, settle_stable
from penstock_operator.core.rollout_moves import Decision
from penstock_operator.core.rollout_return import arrive, keep_watch
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.rollout_step import go_on
from penstock_operator.core.tactics import Tactics
from penstock_operator.core.world import World


def advance(rollout: Rollout, tactics: Tactics, world: World) -> Decision:
    """Return the rollout after one look: each candidate at most one step forward, and all the way back at once."""
    settled = settle_stable(rollout, world)
    if settled.rollout.stable is None:
        return Decision(rollout=settled.rollout, events=settled.events, holding="no revision is ready yet")
    if settled.rollout.phase is Phase.RETURNING:
        return arrive(settled.rollout, world).after(*settled.events)
    watched = keep_watch(settled.rollout, tactics, world)
    events = (*settled.events, *watched.events)
    moved = watched.rollout.stable != settled.rollout.stable or watched.rollout.phase is Phase.RETURNING
    if moved or watched.holding:
        return Decision(rollout=watched.rollout, events=events, holding=watched.holding)
    chosen = choose_candidates(watched.rollout, world)
    return _each(chosen.rollout, tactics, world).after(*events, *chosen.events)


def _each(rollout: Rollout, tactics: Tactics, world: World) -> Decision:
    """Look at one candidate after the other, in the order of spec: what one loses, none of them gets."""
    told: list[str] = []
    events: list[EventRecord] = []
    several = len(rollout.candidates) > 1
    for candidate in rollout.candidates:
        if all(left.name != candidate.name for left in rollout.candidates):
            continue  # another one has won
        decision = go_on(rollout, candidate.name, tactics, world)
        rollout = decision.rollout
        events.extend(decision.events)
        if decision.holding:
            told.append(f"{candidate.name}: {decision.holding}" if several else decision.holding)
    return Decision(rollout=rollout, events=tuple(events), holding="; ".join(told))
