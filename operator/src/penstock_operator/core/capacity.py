"""How much of the traffic the ready pods of each revision can carry, so that no weight asks for more."""

from collections.abc import Mapping

_ALL = 100
#: A revision that lacks fewer of its pods than this share carries everything, as a Deployment in a rolling update does
#: (its maxUnavailable is 25% too). Otherwise one pod that is moved to another node would hold a rollback up.
_MAY_LACK = 0.25


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


def within_capacity(
    intended: Mapping[str, int], *, running: Mapping[str, int], ready: Mapping[str, int], full: int, stable: str
) -> dict[str, int]:
    """Return the weights nearest to ``intended`` that ready pods can carry. They sum to 100 as well.

    ``running`` are the weights that the routers run now, ``ready`` the ready pods by revision. What one revision
    cannot carry stays where it is, as long as it is carried there: on the way up with stable, on the way back with
    the candidate, which never gets more than it has. Where all pods together are too few, stable takes the rest,
    unless it has no ready pod at all: an overloaded pod answers some requests, an absent one answers none.

    >>> up = {"old": 50, "new": 50}
    >>> within_capacity(up, running={"old": 95, "new": 5}, ready={"old": 4, "new": 1}, full=4, stable="old")
    {'new': 25, 'old': 75}
    >>> back = {"old": 100, "new": 0}
    >>> within_capacity(back, running={"old": 10, "new": 90}, ready={"old": 2, "new": 4}, full=4, stable="old")
    {'new': 50, 'old': 50}
    """
    carried = {name: carried_percent(ready=ready.get(name, 0), full=full) for name in {*intended, *running, stable}}
    given = {name: min(weight, carried[name]) for name, weight in sorted(intended.items())}
    rest = _ALL - sum(given.values())
    # Stable first: what is taken back must not wait longer than it has to.
    for name in (stable, *sorted(running.keys() - {stable})):
        most = carried[name] if name == stable else min(carried[name], max(running[name], intended.get(name, 0)))
        more = min(rest, max(0, most - given.get(name, 0)))
        if more:
            given[name] = given.get(name, 0) + more
            rest -= more
    if rest:
        given[_last_resort(ready, stable)] = given.get(_last_resort(ready, stable), 0) + rest
    return dict(sorted(given.items()))


def _last_resort(ready: Mapping[str, int], stable: str) -> str:
    """Return who gets what nobody can carry."""
    if ready.get(stable, 0) > 0:
        return stable
    return max(sorted(ready), key=lambda name: ready[name], default=stable)
