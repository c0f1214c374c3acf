"""How many pods autoscalers must leave the revisions of a split, so that no weight waits for a load to be seen."""

from collections.abc import Mapping

from penstock_operator.core.capacity import demand, pods_needed
from penstock_operator.core.phases import ON_TRIAL, Phase
from penstock_operator.core.rollout_state import Candidate, Rollout
from penstock_operator.core.tactics import Tactics
from penstock_operator.core.world import RevisionState

_ALL = 100


def least_pods(
    rollout: Rollout, *, tactics: Tactics, states: Mapping[str, RevisionState], running: Mapping[str, int]
) -> dict[str, int]:
    """Return the fewest pods of each revision that has an autoscaler; one that is not named has none to keep.

    A candidate has what its next step needs, before it comes. Stable keeps what it has while others have its requests,
    and what is kept to return to has what stable has: the way back waits for nothing. ``running``: the weights that
    routers run now.
    """
    if rollout.stable is None:
        return {}
    full = demand(states, rollout.stable, running)
    return {
        name: pods_needed(weight_percent=share, full=full)
        for name, share in sorted(_shares(rollout, tactics, running).items())
        if share and name in states and states[name].scaled is not None
    }


def _shares(rollout: Rollout, tactics: Tactics, running: Mapping[str, int]) -> dict[str, int]:
    """Return the share of all requests that each revision must be able to take, in percent."""
    shares = {name: max(running.get(name, 0), rollout.weights.get(name, 0)) for name in {*running, *rollout.weights}}
    for candidate in rollout.candidates:
        shares[candidate.revision] = max(shares[candidate.revision], _next_weight(candidate, tactics))
    for kept in (rollout.watch, rollout.returning):
        if kept is not None:
            shares[kept.revision] = _ALL
    shared = any(weight for name, weight in running.items() if name != rollout.stable)
    if shared or any(candidate.phase in ON_TRIAL for candidate in rollout.candidates):
        shares[rollout.stable or ""] = _ALL
    elif rollout.stable is not None:
        del shares[rollout.stable]  # it serves all requests, so its autoscaler sees all that there is to see
    return shares


def _next_weight(candidate: Candidate, tactics: Tactics) -> int:
    if candidate.phase is Phase.FAILED:
        return 0
    steps = tactics.steps_for(candidate.name)
    upcoming = candidate.step if candidate.phase is Phase.WAITING else candidate.step + 1
    return max((step.weight or 0 for step in steps[: upcoming + 1]), default=0)
