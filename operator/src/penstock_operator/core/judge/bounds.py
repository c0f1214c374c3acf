"""Where a share lies, at any time: bounds for people to read beside the evidence that decides."""

import math

#: The bounds of one share are wrong at some moment of a whole rollout at most this often.
_CHANCE = 0.05
#: The prior weights of the mixture, Jeffreys'.
_PRIOR = 0.5
_HALVINGS = 24


def share_bounds(events: int, n: int) -> tuple[float, float]:
    """Return the lowest and highest share that ``events`` of ``n`` leave possible, however often one looks. n > 0.

    All p at which the mixture over shares has gained less than 20 times what p has: a confidence sequence (Robbins
    1970), wider than an interval that is looked at once.

    >>> low, high = share_bounds(6, 184)
    >>> round(low, 4), round(high, 4)
    (0.0054, 0.0979)
    """
    value = events / n
    # What the data say of p is compared with this: the mixture's logarithm, less the gain that is too much.
    least = _log_mixture(events, n) + math.log(_CHANCE)
    low = _edge(events, n, least, inside=value, outside=0.0) if events else 0.0
    high = _edge(events, n, least, inside=value, outside=1.0) if events < n else 1.0
    return low, high


def _edge(events: int, n: int, least: float, *, inside: float, outside: float) -> float:
    rest = n - events
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if 0 < middle < 1 and events * math.log(middle) + rest * math.log1p(-middle) > least:
            inside = middle
        else:
            outside = middle
    return inside


def _log_mixture(events: int, n: int) -> float:
    joint = math.lgamma(events + _PRIOR) + math.lgamma(n - events + _PRIOR) - math.lgamma(n + 2 * _PRIOR)
    return joint - 2 * math.lgamma(_PRIOR) + math.lgamma(2 * _PRIOR)
