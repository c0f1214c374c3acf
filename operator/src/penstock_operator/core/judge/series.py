"""Readings of both arms in batches, and the evidence in their differences although they follow each other.

Readings of one source resemble the readings just before them: a rate over five minutes that is asked every minute
shares four of them. Two things keep that from looking like evidence. Readings are averaged in batches; and how much
batches still resemble their neighbours is measured, and the series counts for as many values as it is worth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from penstock_operator.core.judge.eprocess import DISPLAY_MAX, unstarted_mass
from penstock_operator.core.judge.student import evidence_above_zero

#: Readings in a batch at least.
BATCH = 2
#: Batches that are kept; what older ones won is thrown away, which only makes evidence smaller.
KEPT = 60
#: Significant digits of kept numbers.
_DIGITS = 9
#: A series that resembles itself more than this is worth hardly anything; more is not distinguished.
_RESEMBLANCE_MAX = 0.99
#: Below this part of the squares the spread is the rounding of numbers.
_ROUNDING = 1e-12

#: Stable and candidate; the stable's is 0 where there is none.
Pair = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The last readings: means of whole ``batches``, oldest first, and the batch under way.

    ``pending`` readings of that one have the sums ``sums``. ``forgotten``: how many batches there were before.
    """

    batches: tuple[Pair, ...] = ()
    pending: int = 0
    sums: Pair = (0.0, 0.0)
    forgotten: int = 0

    def __post_init__(self) -> None:
        """Refuse what no readings lead to."""
        if not all(math.isfinite(number) for pair in (self.sums, *self.batches) for number in pair):
            raise ValueError("readings must be finite numbers")
        if self.pending < 0 or len(self.batches) > KEPT or self.forgotten < 0:
            raise ValueError(f"a series has at most {KEPT} batches, and no count below 0")


NO_SERIES = Series()


def followed_by(series: Series, reading: Pair, *, batch: int) -> Series:
    """Return the series with one more reading; ``batch`` readings make a batch."""
    sums = (_rounded(series.sums[0] + reading[0]), _rounded(series.sums[1] + reading[1]))
    pending = series.pending + 1
    if pending < batch:
        return replace(series, pending=pending, sums=sums)
    batches = (*series.batches, (_rounded(sums[0] / pending), _rounded(sums[1] / pending)))
    gone = max(0, len(batches) - KEPT)
    return Series(batches=batches[gone:], forgotten=series.forgotten + gone)


def restarting_evidence(series: Series, difference: Callable[[Pair], float]) -> float:
    """Return the evidence that the mean of ``difference`` is above 0, mixed over the batches that it may have begun at.

    Each start has the mass that ``eprocess`` gives it, so a change after a long quiet time is found soon.
    """
    values = [difference(batch) for batch in series.batches]
    ends = _from_the_end(values)
    total = unstarted_mass(series.forgotten + len(values))
    for index, evidence in enumerate(reversed(ends)):
        start = series.forgotten + index
        total += (unstarted_mass(start) - unstarted_mass(start + 1)) * evidence
    return min(DISPLAY_MAX, total)


def detector_evidence(series: Series, difference: Callable[[Pair], float]) -> float:
    """Return the e-detector of the mean of ``difference``: the evidence from every kept start, added up."""
    return min(DISPLAY_MAX, sum(_from_the_end([difference(batch) for batch in series.batches])))


def evidence_of_all(series: Series, difference: Callable[[Pair], float]) -> float:
    """Return the evidence that the mean of ``difference`` over all kept batches is above 0."""
    ends = _from_the_end([difference(batch) for batch in series.batches])
    return min(DISPLAY_MAX, ends[-1]) if ends else 1.0


def _from_the_end(values: Sequence[float]) -> list[float]:
    """Return the evidence of the last value, of the last two, and so on up to all."""
    found = []
    total = squares = products = 0.0
    for n, value in enumerate(reversed(values), 1):
        total += value
        squares += value * value
        products += value * values[-n + 1] if n > 1 else 0.0
        mean = total / n
        deviations = max(0.0, squares - n * mean * mean)
        worth = float(n)
        if n > 2 and deviations > _ROUNDING * squares:  # noqa: PLR2004 - two values always lie on both sides
            neighbours = products - mean * (2 * total - value - values[-1]) + (n - 1) * mean * mean
            worth *= _independent_part(neighbours / deviations, n)
        found.append(evidence_above_zero(worth, mean, deviations / n))
    return found


def _independent_part(resemblance: float, n: int) -> float:
    """Return which part of n values counts: (1 - r) / (1 + r), exact for values that each forget at the same rate.

    The resemblance measured in a short series is too small by about (1 + 3 r) / n (Kendall 1954); that is put back.
    """
    mended = resemblance + (1 + 3 * max(0.0, resemblance)) / n
    r = min(max(0.0, mended), _RESEMBLANCE_MAX)
    return (1 - r) / (1 + r)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
