"""Factors that one tick multiplies evidence by: each has a mean of at most 1 while the hypothesis it tests is true.

The proofs are in docs/adr/0004; tests enumerate the means. In all of them a factor below is
``A**x1 * R**x0 / norm`` for the candidate's x1 events of n1 and the stable's x0 of n0, and the mean of
``A**x1 * R**x0`` over independent requests is at most ``(1 + p1(A-1))**n1 * (1 + p0(R-1))**n0``, also where the
requests of one arm differ in their probabilities (p is then their mean; the logarithm is concave).
"""

import math
from dataclasses import dataclass

#: How many times beyond the tolerated rate the candidate might be; the evidence is the mean over these guesses. Few,
#: because each one more costs all others; measured by `make bench-judge`. Other guesses give kept
#: evidence another meaning: raise the schema in state.py with them.
WORSE_BY = (1.25, 2.0, 4.0, 10.0)
#: How much is bet on each: most on what is both common and worth finding soon. Ten times is found by the others' bets
#: nearly as soon, and 1.25 needs so much traffic that its share hardly matters; without it, it would never be found.
WORSE_WEIGHTS = (0.05, 0.45, 0.4, 0.1)
#: Which fraction of the accepted rate the candidate might have; the first is for candidates without any event.
BETTER_BY = (0.001, 0.1, 0.25, 0.45, 0.7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """``events`` of ``n`` requests. Of the stable, ``events`` may be a sum of fractions (each between 0 and 1)."""

    n: int
    events: float


def log_worse_than_stable(candidate: Events, stable: Events, *, ratio: float, difference: float) -> tuple[float, ...]:
    """Return log factors of evidence against "p1 <= ratio * p0 + difference", one for each of WORSE_BY. Both n > 0.

    A is the growth of the candidate's share of all events under the guess (conditional Poisson test, Lindon and Malek
    2022): A - 1 = n0 (guess - 1) / (n1 * ratio * guess + n0). With a = A - 1 the logarithm of the mean on the boundary
    p1 = ratio * p0 + difference is concave in p0; R = 1 - n1 * ratio * a / (n0 (1 + difference * a)) makes its slope 0
    at p0 = 0. So its maximum is there, n1 log(1 + difference * a): that is ``norm``. The mean factor is 1 at p0 = 0,
    and below 1 everywhere else in the hypothesis.

    >>> [round(factor, 3) for factor in log_worse_than_stable(
    ...     Events(n=60, events=3), Events(n=540, events=0), ratio=1.2, difference=0.001)]
    [0.57, 1.698, 3.135, 4.51]
    """
    weight = candidate.n * ratio
    factors = []
    for guess in WORSE_BY:
        step = (guess - 1) / (weight * guess + stable.n)
        gain = stable.n * step
        norm = 1 + difference * gain
        factors.append(
            candidate.events * math.log1p(gain)
            + stable.events * math.log1p(-weight * step / norm)
            - candidate.n * math.log(norm)
        )
    return tuple(factors)


def log_better_than_stable(candidate: Events, stable: Events, *, ratio: float, difference: float) -> tuple[float, ...]:
    """Return log factors of evidence against "p1 >= ratio * p0 + difference", one for each of BETTER_BY. Both n > 0.

    The mirror image of log_worse_than_stable: A < 1 < R, the mean falls with p1, and with b = 1 - A the slope at
    p0 = 0 on the boundary is 0 for R = 1 + n1 * ratio * b / (n0 (1 - difference * b)).
    """
    weight = candidate.n * ratio
    factors = []
    for guess in BETTER_BY:
        step = (1 - guess) / (weight * guess + stable.n)
        loss = stable.n * step
        norm = 1 - difference * loss
        factors.append(
            candidate.events * math.log1p(-loss)
            + stable.events * math.log1p(weight * step / norm)
            - candidate.n * math.log(norm)
        )
    return tuple(factors)


def log_worse_than_limit(candidate: Events, *, limit: float) -> tuple[float, ...]:
    """Return log factors of evidence against "p1 <= limit": likelihood ratios at WORSE_BY times the limit's odds."""
    return tuple(_log_likelihood_ratio(candidate, limit, guess) for guess in WORSE_BY)


def log_better_than_limit(candidate: Events, *, limit: float) -> tuple[float, ...]:
    """Return log factors of evidence against "p1 >= limit": likelihood ratios at BETTER_BY times the limit's odds."""
    return tuple(_log_likelihood_ratio(candidate, limit, guess) for guess in BETTER_BY)


def _log_likelihood_ratio(candidate: Events, limit: float, odds_ratio: float) -> float:
    # In odds, so that every guess is a probability, also for limits near 1.
    norm = 1 + limit * (odds_ratio - 1)
    return candidate.events * math.log(odds_ratio) - candidate.n * math.log(norm)
