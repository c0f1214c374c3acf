"""Whether requests go where the weights say: a sequential test of the realised shares (sample-ratio test)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

#: Of 10,000 steps behind honest routers at most one is held for a while.
_ALPHA = 1e-4
_ALL = 100
#: A share that is off by less than a tenth is no reason to hold anything up. It also covers requests under way, which
#: are counted when they end: a slow revision's come later.
_TOLERATED_RATIO = 0.1
#: Where nothing is meant to go, or everything, a tenth of it would be nothing.
_TOLERATED_SHARE = 0.002
#: By how much the odds of a share might be off beyond what is tolerated, up and down.
_GUESSES = (1.05, 1.15, 1.4, 2.0, 5.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """What was seen of the shares since the weights are what they are. Immutable; kept between two ticks.

    ``counts``: requests by revision. ``mismatch``: the numbers in a sentence while the shares are wrong, else empty.
    ``logs``: log evidence against each share, one number for each guess, out of the last ``tested`` requests.
    ``owed``: how many requests must be spread right before a mismatch is over.
    """

    intended: Mapping[str, int]
    counts: Mapping[str, int]
    logs: Mapping[str, tuple[float, ...]]
    tested: int = 0
    settled: bool = False
    mismatch: str = ""
    owed: int = 0

    @property
    def realised(self) -> dict[str, float]:
        """The share of each revision, between 0 and 1; empty before the first request."""
        total = sum(self.counts.values())
        return {name: count / total for name, count in self.counts.items()} if total else {}


def judge_shares(
    before: SampleRatio | None, intended: Mapping[str, int], ticks: Iterable[Mapping[str, int]]
) -> SampleRatio:
    """Return what is known of the shares after more ticks, each the requests of one tick by revision.

    ``intended``: the weights in percent that every router has acknowledged. Other weights than before begin the test
    afresh, without the ticks that come with them: requests of the time before are in those. Leave out what weights do
    not decide: do not ask while sticky keys choose, nor about revisions that only get copies.

    The evidence is an e-process: however often one looks, and whatever the traffic does, honest routers are blamed in
    at most one of 10,000 cases. It is against "the share is off by at most a tenth": likelihood ratios, multiplied over
    ticks, averaged over the revisions, both directions and a few guesses.
    After a mismatch the test begins anew, and twice as many requests that are spread right end it.

    >>> step = {"old": 75, "new": 25}
    >>> begun = judge_shares(None, step, [{"old": 190, "new": 10}])
    >>> honest = judge_shares(begun, step, [{"old": 77, "new": 23}, {"old": 74, "new": 26}])
    >>> honest.mismatch, honest.realised["new"]
    ('', 0.245)
    >>> judge_shares(begun, step, [{"old": 95, "new": 5}]).mismatch
    'new should have 25% and has 5.0% (5 of 100 requests)'
    """
    state = before if before is not None and before.intended == intended else _fresh(intended)
    if not state.settled:
        return replace(state, settled=any(True for _ in ticks))
    for tick in ticks:
        state = _after(state, tick)
    return state


def _fresh(intended: Mapping[str, int]) -> SampleRatio:
    return SampleRatio(intended=dict(intended), counts=dict.fromkeys(intended, 0), logs={})


def _after(state: SampleRatio, tick: Mapping[str, int]) -> SampleRatio:
    counted = {name: tick.get(name, 0) for name in state.intended}
    total = sum(counted.values())
    if total == 0:
        return state
    logs = {
        name: _added(state.logs.get(name, ()), _log_factors(counted[name], total, weight / _ALL))
        for name, weight in state.intended.items()
    }
    counts = {name: state.counts[name] + counted[name] for name in counted}
    after = replace(state, counts=counts, logs=logs, tested=state.tested + total)
    if _evidence(logs) >= 1 / _ALPHA:
        return replace(after, logs={}, tested=0, mismatch=_told(after), owed=2 * after.tested)
    if after.tested >= after.owed:
        return replace(after, mismatch="", owed=0)
    return after


def _log_factors(seen: int, total: int, share: float) -> tuple[float, ...]:
    """Return log likelihood ratios against "the share is about right", one for each guess in each direction."""
    tolerated = max(_TOLERATED_SHARE, _TOLERATED_RATIO * min(share, 1 - share))
    factors = []
    for guess in _GUESSES:
        if share + tolerated < 1:
            factors.append(_log_likelihood_ratio(seen, total, share + tolerated, guess))
        if share - tolerated > 0:
            factors.append(_log_likelihood_ratio(seen, total, share - tolerated, 1 / guess))
    return tuple(factors)


def _log_likelihood_ratio(seen: int, total: int, limit: float, odds_ratio: float) -> float:
    # Monotone in what was seen: at most 1 on average for every share on the tolerated side of the limit.
    return seen * math.log(odds_ratio) - total * math.log1p(limit * (odds_ratio - 1))


def _added(logs: Sequence[float], factors: Sequence[float]) -> tuple[float, ...]:
    return tuple(log + factor for log, factor in zip(logs or (0.0,) * len(factors), factors, strict=True))


def _evidence(logs: Mapping[str, Sequence[float]]) -> float:
    """Return the mean wealth; each guess's is at most 1 on average while the shares are right, so the mean is too."""
    every = [log for guesses in logs.values() for log in guesses]
    # exp overflows beyond 709; what is far above the limit need not be told apart.
    return sum(math.exp(min(log, 300.0)) for log in every) / len(every)


def _told(state: SampleRatio) -> str:
    total = sum(state.counts.values())
    # In hundredths of requests, so that it is exact: of two the smaller one is told, where a deviation says more.
    off = {name: abs(state.counts[name] * _ALL - weight * total) for name, weight in state.intended.items()}
    worst = min(off, key=lambda name: (-off[name], state.intended[name]))
    seen = state.counts[worst]
    return f"{worst} should have {state.intended[worst]}% and has {seen / total:.1%} ({seen} of {total} requests)"
