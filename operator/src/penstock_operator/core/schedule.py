"""The steps of a rollout, written out or by a rule."""

from collections.abc import Iterator

from penstock_operator.api.v1alpha1.traffic_split import Schedule, Step, Strategy

_ALL = 100


def steps_of(strategy: Strategy) -> tuple[Step, ...]:
    """Return the steps in order; the last one has weight 100.

    >>> from penstock_operator.api.v1alpha1.traffic_split import Strategy
    >>> rule = {"kind": "Exponential", "from": 5, "every": "1m"}
    >>> [step.weight for step in steps_of(Strategy.parse({"schedule": rule}))]
    [5, 10, 20, 40, 80, 100]
    """
    if strategy.steps:
        return tuple(strategy.steps)
    rule = strategy.schedule
    if rule is None:
        # The schema admits neither; without a step in between, all there is left is the last one.
        return (Step(weight=_ALL),)
    return tuple(Step(weight=weight, hold=rule.every, require=rule.require) for weight in _weights(rule))


def _weights(rule: Schedule) -> Iterator[int]:
    """Yield rising weights from ``start`` up to ``to``, and 100 at the end."""
    weight, last = max(1, rule.start), min(rule.to, _ALL)
    while weight < last:
        yield weight
        weight = weight + max(1, rule.by) if rule.kind == "Linear" else weight * 2
    yield last
    if last < _ALL:
        yield _ALL
