"""How much of the traffic the ready pods of each revision can carry, so that no weight asks for more."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock_operator.core.names import model_deployment_of
from penstock_operator.core.world import RevisionState

_ALL = 100
#: A revision that lacks fewer of its pods than this share carries everything, as a Deployment in a rolling update does
#: (its maxUnavailable is 25% too). Otherwise one pod that is moved to another node would hold a rollback up.
_MAY_LACK = 0.25
#: Who has so much of the traffic gets the rest too: it is a third more at most.
_NEARLY_ALL = 75
#: How long a candidate that was taken back may keep traffic because stable has too few pods.
_PATIENCE_SECONDS = 30.0


def carried_percent(*, ready: int, full: int) -> int:
    """Return the largest weight that ``ready`` pods carry, where ``full`` pods served all requests so far.

    >>> [carried_percent(ready=ready, full=4) for ready in range(6)]
    [0, 25, 50, 100, 100, 100]
    """
    if ready <= 0:
        return 0
    if ready >= full * (1 - _MAY_LACK):
        return _ALL
    return ready * _ALL // full


def pods_needed(*, weight_percent: int, full: int) -> int:
    """Return how many ready pods a revision needs before it gets a weight; at least one for any.

    An autoscaler's minimum follows this on the way up: it sees load only after the weight has come. What has
    ``spec.replicas`` runs all of them from the start, so that no step waits for pods.

    >>> [pods_needed(weight_percent=weight, full=10) for weight in (0, 1, 25, 71, 100)]
    [0, 1, 3, 8, 10]
    """
    return -(-weight_percent * full // _ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """The ready pods by revision; ``full`` of them served all requests so far, and can go on doing so."""

    ready: Mapping[str, int]
    full: int
    settled: frozenset[str] = frozenset()
    """Revisions that have what their autoscalers ask for: what they carry now, they go on carrying."""
    at_most: frozenset[str] = frozenset()
    """Those that have as many as their autoscalers ever give them."""

    @classmethod
    def seen(cls, states: Mapping[str, RevisionState], stable: str, running: Mapping[str, int]) -> "Pods":
        """Return the pods as they are seen.

        All requests need as many as stable wants, or as any revision has where that is less: then somebody has asked
        for more pods only now.
        """
        ready = {name: state.ready for name, state in states.items()}
        scaled = {name: state.scaled for name, state in states.items() if state.scaled is not None}
        return cls(
            ready=ready,
            full=min(demand(states, stable, running), max(ready.values(), default=0)),
            settled=frozenset(name for name, told in scaled.items() if _is_there(ready[name], told.asked)),
            at_most=frozenset(name for name, told in scaled.items() if _is_there(ready[name], told.most)),
        )

    def carry(self, revision: str) -> int:
        """Return the largest weight that the pods of a revision carry, in percent."""
        return carried_percent(ready=self.ready.get(revision, 0), full=self.full)


def _is_there(ready: int, asked: int) -> bool:
    return ready > 0 and ready >= asked * (1 - _MAY_LACK)


def demand(states: Mapping[str, RevisionState], stable: str, running: Mapping[str, int]) -> int:
    """Return how many pods all requests need.

    With ``spec.replicas`` a person has said so. Autoscalers have not: they ask for what a share of the requests needs.
    None of those that share them asks for more than all need (least_pods), and their loads add up.
    """
    state = states.get(stable)
    if state is None or state.scaled is None:
        return state.wanted if state is not None else 0
    busy = [other.scaled for name, other in states.items() if other.scaled and (name == stable or running.get(name))]
    return min(state.scaled.most, max(sum(one.load or 0 for one in busy), *(one.asked for one in busy), 0))


def within_capacity(
    intended: Mapping[str, int], *, running: Mapping[str, int], pods: Pods, stable: str, waited_seconds: float = 0.0
) -> dict[str, int]:
    """Return the weights nearest to ``intended`` that ready pods can carry. They sum to 100 as well.

    ``running`` are the weights that the routers run now.

    On the way up stable keeps what a candidate cannot carry. On the way back the candidate keeps what stable cannot
    carry, but not for long: ``waited_seconds`` after the decision stable gets more and more all the same, and all of it
    after 30, wherever it has any ready pod. A revision on its way back never gets more than it has.

    >>> up = {"old": 50, "new": 50}
    >>> within_capacity(up, running={"old": 95, "new": 5}, pods=Pods(ready={"old": 4, "new": 1}, full=4), stable="old")
    {'new': 25, 'old': 75}
    >>> back = {"old": 100, "new": 0}
    >>> half = Pods(ready={"old": 2, "new": 4}, full=4)
    >>> within_capacity(back, running={"old": 10, "new": 90}, pods=half, stable="old")
    {'new': 50, 'old': 50}
    """
    carried = {name: pods.carry(name) for name in {*intended, *running, stable}}
    for name in carried.keys() & pods.settled:
        carried[name] = max(carried[name], running.get(name, 0))
    if stable in pods.at_most:
        carried[stable] = _ALL  # waiting would give it no pod more
    if pods.ready.get(stable, 0) > 0:
        carried[stable] = _stretched(carried[stable], running=running.get(stable, 0), waited_seconds=waited_seconds)
    given = {name: min(weight, carried[name]) for name, weight in sorted(intended.items())}
    rest = _ALL - sum(given.values())
    # Stable first: what is taken back must not wait longer than it has to.
    for name in (stable, *sorted(running.keys() - {stable})):
        most = carried[name] if name == stable else min(carried[name], max(running[name], intended.get(name, 0)))
        more = min(rest, max(0, most - given.get(name, 0)))
        if more:
            given[name] = given.get(name, 0) + more
            rest -= more
    # Nobody can carry the rest; an overloaded pod of what is proven still answers some of it.
    given[stable] = given.get(stable, 0) + rest
    return dict(sorted(given.items()))


def _stretched(carried: int, *, running: int, waited_seconds: float) -> int:
    """Return what stable gets at most on the way back: errors of a bad candidate weigh more than a busy pod."""
    if running >= _NEARLY_ALL:
        return _ALL
    return min(_ALL, carried + round((_ALL - carried) * waited_seconds / _PATIENCE_SECONDS))


def shortage(intended: Mapping[str, int], *, pods: Pods, stable: str) -> str:
    """Return which candidate has too few ready pods for its weight, in a sentence; empty where none has.

    >>> shortage({"old": 50, "new": 50}, pods=Pods(ready={"old": 4, "new": 1}, full=4), stable="old")
    'new carries 25% with 1 ready pod; 50% needs 2'
    """
    for name, weight in sorted(intended.items()):
        ready = pods.ready.get(name, 0)
        if name != stable and pods.carry(name) < weight:
            needed = pods_needed(weight_percent=weight, full=pods.full)
            has = f"{ready} ready pod{'' if ready == 1 else 's'}"
            words = f"{name} carries {pods.carry(name)}% with {has}; {weight}% needs {needed}"
            raised = f"; raise spec.autoscaling.maxReplicas of ModelDeployment {model_deployment_of(name)}"
            return words + (raised if name in pods.at_most else "")
    return ""
