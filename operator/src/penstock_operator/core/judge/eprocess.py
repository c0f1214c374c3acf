"""Evidence that may be looked at after every tick: products of factors, mixed over guesses and over starting times.

Ville's inequality: while the tested hypothesis is true, the chance that such evidence ever reaches L is at most 1/L.
"""

import math
from collections.abc import Sequence

#: Evidence for a candidate that makes it pass: at most one bad candidate in 20 gets so far.
ACCEPTANCE_LIMIT = 20.0
#: What people are shown at most; beyond it more digits say nothing.
DISPLAY_MAX = 1e12

#: How fast the mass of starting times is given out. At 0.1, 87% of it start with the first tick (it costs the search
#: for a candidate that is bad from the beginning a factor 1.15), and after 1000 healthy ticks a start has 2e-6 of it.
_START_SCALE = 0.1
#: Old evidence for a candidate is kept up to this many times what passes, so that it cannot outvote what comes later.
_ACCEPTANCE_HEADROOM = 50.0
#: What a detector shows at most. Healthy traffic brings it down from there below any limit within minutes.
_DETECTOR_CAP = 1e9
#: Digits after the point of kept logarithms. The state is rounded when it is made, so that what is written into
#: status and read back is the very same state.
_DIGITS = 6


def unstarted_mass(ticks: int) -> float:
    """Return the share of starting times later than the first ``ticks`` ticks; 1 at 0, falling towards 0.

    >>> [round(unstarted_mass(ticks), 3) for ticks in (0, 1, 60, 1000)]
    [1.0, 0.126, 0.024, 0.014]
    """
    return _START_SCALE / (_START_SCALE + math.log1p(ticks))


def advance_with_restarts(logs: Sequence[float], log_factors: Sequence[float], ticks: int) -> tuple[float, ...]:
    """Return the log wealth of each guess after one more tick; ``ticks`` were counted before, ``logs`` is () at 0.

    The wealth is the sum over starting times s of mass(s) times the product of the factors since s. It needs no more
    than the recursion M' = (M + mass(ticks)) * factor, and finds a regression after a long healthy history as if it
    had begun to look just then, at the price of that start's mass.
    """
    starting = math.log(unstarted_mass(ticks) - unstarted_mass(ticks + 1))
    started = (starting,) * len(log_factors) if not logs else tuple(_log_add(log, starting) for log in logs)
    return tuple(round(log + factor, _DIGITS) for log, factor in zip(started, log_factors, strict=True))


def restarting_evidence(logs: Sequence[Sequence[float]], ticks: int, *, weights: Sequence[float]) -> float:
    """Return the evidence: the mean wealth over all guesses of all ``logs``, plus the mass that has not started yet.

    ``weights``: how much is bet on each guess; they sum to 1. With several ``logs`` the tested hypothesis is that all
    of theirs are true.
    """
    return min(DISPLAY_MAX, _mean_wealth(logs, weights) + unstarted_mass(ticks)) if logs else 1.0


def advance_detector(logs: Sequence[float], log_factors: Sequence[float]) -> tuple[float, ...]:
    """Return the log of each guess's e-detector after one more tick; ``logs`` is () before the first.

    M' = (M + 1) * factor: a bet of 1 begins at every tick, and all of them are added up (Shiryaev-Roberts; Shin, Ramdas
    and Rinaldo 2024). While nothing is wrong, M less the number of ticks gains nothing on average, so the mean time
    until M reaches A is at least A ticks, for ever. It is cut at a cap, so that it comes down soon after the cause is
    gone.
    """
    cap = round(math.log(_DETECTOR_CAP), _DIGITS)
    before = tuple(_log_add(log, 0.0) for log in logs) or (0.0,) * len(log_factors)
    return tuple(round(min(cap, log + factor), _DIGITS) for log, factor in zip(before, log_factors, strict=True))


def detector_evidence(logs: Sequence[Sequence[float]], *, weights: Sequence[float]) -> float:
    """Return the mean over all guesses of all ``logs``, weighted as above; 0 before the first tick."""
    return min(DISPLAY_MAX, _mean_wealth(logs, weights)) if logs else 0.0


def kept_evidence(log: float) -> float:
    """Return evidence that is kept as one logarithm."""
    return min(DISPLAY_MAX, _bounded_exp(log))


def advance_capped(logs: Sequence[float], log_factors: Sequence[float]) -> tuple[float, ...]:
    """Return the log wealth of each guess after one more tick, cut at a cap; ``logs`` is () before the first.

    To throw wealth away keeps an e-process one. It keeps acceptance recent: a candidate that turns bad loses its Pass
    after a few ticks, however long it was good.
    """
    cap = round(math.log(ACCEPTANCE_LIMIT * _ACCEPTANCE_HEADROOM), _DIGITS)
    before = logs or (0.0,) * len(log_factors)
    return tuple(round(min(cap, log + factor), _DIGITS) for log, factor in zip(before, log_factors, strict=True))


def capped_evidence(logs: Sequence[float]) -> float:
    """Return the mean wealth over the guesses; 1 before the first tick."""
    return sum(_bounded_exp(log) for log in logs) / len(logs) if logs else 1.0


def _mean_wealth(logs: Sequence[Sequence[float]], weights: Sequence[float]) -> float:
    total = sum(weight * _bounded_exp(log) for guesses in logs for weight, log in zip(weights, guesses, strict=True))
    return total / len(logs)


def _log_add(first: float, second: float) -> float:
    high, low = max(first, second), min(first, second)
    return high + math.log1p(math.exp(low - high))


def _bounded_exp(log: float) -> float:
    # exp overflows beyond 709.
    return math.exp(min(log, 700.0))
