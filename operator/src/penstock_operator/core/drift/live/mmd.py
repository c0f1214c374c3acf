"""When a change of how inputs go together is news: where nothing says it better, and whether it can be seen at all."""

from collections.abc import Iterable, Sequence

from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.engine import Alarm, Judge
from penstock_operator.core.drift.live.limits import Limits

#: Each of these names the columns, and moves the waves as well.
_BETTER = frozenset({Signal.INPUTS, Signal.CORRELATION})


def untold(alarms: Sequence[Alarm], going_on: Iterable[str]) -> list[Alarm]:
    """Return alarms without that of all inputs together where inputs or pairs are named that have moved.

    ``going_on``: the names of alarms of windows before.
    """
    named = any(one.kind in _BETTER for one in alarms) or any(_is_better(name) for name in going_on)
    return [one for one in alarms if one.kind is not Signal.MMD or not named]


def _is_better(name: str) -> bool:
    kind, _, rest = name.partition("/")
    return kind in _BETTER and rest != Signal.MMD


def blind(judge: Judge, limits: Limits) -> list[str]:
    """Return why it is not judged although it is asked for."""
    if Signal.MMD not in limits.kinds or Signal.MMD in judge.budget.kinds:
        return []
    why = "the profile has no waves of its rows"
    fix = "make one with this version's penstock-profile, of two numeric inputs or more and at most 64 inputs"
    return [f"spec.drift.mmd is not judged: {why}; {fix}"]
