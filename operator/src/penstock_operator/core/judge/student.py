"""Evidence that a normal mean is above 0, its variance unknown: a likelihood ratio that may be looked at at any time.

A Bayes factor in which the variance has the right Haar prior (all scales alike) and the mean, in units of the standard
deviation, a half-normal one: the t-test of Jeffreys and Gönen, whose ratios form a martingale where the mean is 0,
whatever the variance is (Lai 1976; Wang and Ramdas 2024). Where the mean is below 0, shift every value up to mean 0:
t rises, the ratio rises with t, so the ratio was below that of the shifted values all along. The proof for a whole
process is this, path by path.
"""

import math

#: Squares of how far the mean might be from 0, in standard deviations; the evidence is the mean over them.
SPREADS = (0.3, 3.0)
_LOG_MAX = 300.0
_ITERATIONS_MAX = 200
_PRECISION = 1e-10
_TINY = 1e-300


def evidence_above_zero(n: float, mean: float, variance: float) -> float:
    """Return the evidence of ``n`` independent values with this mean and variance (divided by n); 1 says nothing.

    ``n`` may be a fraction: how many independent values a correlated series is worth.

    >>> round(evidence_above_zero(4, 3.0, 1.0), 1), round(evidence_above_zero(4, -3.0, 1.0), 2)
    (12.1, 0.21)
    """
    squares = n * (variance + mean * mean)
    if n <= 1 or not squares > 0:
        return 1.0
    total = n * mean
    return sum(_ratio(n, total, squares, spread) for spread in SPREADS) / len(SPREADS)


def _ratio(n: float, total: float, squares: float, spread: float) -> float:
    widened = 1 + n * spread
    # Never 0: the part of the squares that the mean explains is below n * spread / (1 + n * spread) of them.
    rest = squares - total * total * spread / widened
    two_sided = 0.5 * n * math.log(squares / rest) - 0.5 * math.log(widened)
    score = total * math.sqrt(spread * n / (widened * rest))
    # Half of the prior is on each side of 0; the posterior says how much of the ratio is on the upper one.
    return 2 * math.exp(min(two_sided, _LOG_MAX)) * student_cdf(score, n)


def student_cdf(t: float, freedom: float) -> float:
    """Return the chance that Student's t with this many degrees of freedom is at most ``t``.

    >>> round(student_cdf(2.0, 5.0), 6)
    0.94903
    """
    tail = 0.5 * _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))
    return 1 - tail if t > 0 else tail


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _ITERATIONS_MAX):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + term * d)
            c = _away(1 + term / c)
            value *= d * c
        if abs(d * c - 1) < _PRECISION:
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
