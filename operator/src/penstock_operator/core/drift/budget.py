"""Divides a budget of false alarms among lengths of look-back, kinds of signals and the tests of a kind."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from penstock_operator.core.drift.tally import Floats

#: The reference must have so many times the rows of a block: below that, its own chance errors raise alarms that
#: are no drift, again and again, because it is the same reference every time.
REFERENCE_PER_BLOCK = 10
_LEVELS_MAX = 16
_PARTS = 4


class Signal(StrEnum):
    """The kinds of signals."""

    INPUTS = "inputs"
    OUTPUTS = "outputs"
    CORRELATION = "correlation"
    CONTRIBUTION = "contribution"
    DATA_QUALITY = "dataQuality"
    MMD = "mmd"
    RANKING = "nDCG"


#: What each kind gets of the budget: most of it where small changes hide, little where a defect is loud.
_WEIGHTS = {
    Signal.INPUTS: 10,
    Signal.OUTPUTS: 4,
    Signal.CORRELATION: 3,
    Signal.CONTRIBUTION: 2,
    Signal.DATA_QUALITY: 1,
    Signal.MMD: 3,
    Signal.RANKING: 1,
}
#: The kinds that are judged where nobody says which: all that a budget is for without being asked.
USUAL = frozenset(_WEIGHTS) - {Signal.MMD, Signal.RANKING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most ``per_window`` false alarms are expected per window: over ``levels`` lengths and all kinds together.

    Level j looks at the last 2**j windows, each time that a quarter of them is new. The longer the step, the more
    often a level may be wrong per look; it costs the same per window.
    """

    per_window: float
    levels: int
    kinds: frozenset[Signal]

    @staticmethod
    def parts(level: int) -> int:
        """Return in how many parts of equal length a block of a level comes."""
        return int(min(2**level, _PARTS))

    @classmethod
    def step(cls, level: int) -> int:
        """Return after how many windows a level looks again."""
        return int(2**level) // cls.parts(level)

    def level(self, kind: Signal, level: int) -> float:
        """Return how likely a false alarm of one kind may be in one look at a level."""
        share = _WEIGHTS[kind] / sum(_WEIGHTS[one] for one in self.kinds)
        allowed = self.per_window * self.step(level) / self.levels
        return min(0.5, allowed) * share


def budget(*, false_alarm_every: float, window_rows: int, reference_rows: int, kinds: Collection[Signal]) -> Budget:
    """Return the budget of one window with a false alarm in ``false_alarm_every``.

    There are as many levels as the reference bears; the first always counts.
    """
    levels = 1
    while levels < _LEVELS_MAX and window_rows * 2**levels * REFERENCE_PER_BLOCK <= reference_rows:
        levels += 1
    # No more than one block is ever looked for in the whole time that the budget is about.
    while levels > 1 and 2 ** (levels - 1) > false_alarm_every:
        levels -= 1
    return Budget(per_window=1 / false_alarm_every, levels=levels, kinds=frozenset(kinds))


def holm(p: Floats) -> Floats:
    """Return p-values made good for their number, along the last dimension, after Holm (1979).

    A signal whose adjusted value is at most a level is named; the chance that any is named wrongly is then at most that
    level, whatever depends on what, and also where others have truly drifted.

    >>> holm(np.array([0.01, 0.5, 0.02])).tolist()
    [0.03, 0.5, 0.04]
    """
    count = p.shape[-1]
    if not count:
        return p
    order = np.argsort(p, axis=-1)
    raised = np.take_along_axis(p, order, axis=-1) * np.arange(count, 0, -1)
    raised = np.minimum(1.0, np.maximum.accumulate(raised, axis=-1))
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, raised, axis=-1)
    return adjusted
