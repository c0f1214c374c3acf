"""The waves over several inputs at once whose sums show a change of how inputs go together: random Fourier features.

The maximum mean discrepancy (Gretton and others 2012) between live and reference rows is, with a kernel that is a mean
of cosines (Rahimi and Recht 2007), the distance between two vectors of means. Sums of cosines add up over pods and over
time, as counts do.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, count
from math import pi, sqrt
from statistics import NormalDist

#: How many waves there are; every second one is the one before, a quarter of its length further, so that no change
#: can hide where a wave crosses 0.
WAVES = 256
#: A cosine is kept in whole numbers, times this, so that sums are exact and add up in any order.
WAVE_SCALE = 1024
#: Fewer inputs than this have nothing to do with each other.
COLUMNS_MIN = 2
#: Along how many inputs successive waves run, 0 being all of them: what changes between two of thirty inputs is a
#: hundredth of what a wave along all thirty sees.
_CYCLE = (0, 2, 3, 2)
#: Lengths in standard deviations of normal scores: about the distance of two rows.
_ALONG_ALL = sqrt(2.0)
_SHORTEST, _LONGEST = 0.7, 1.7
_WORD_BYTES = 8
_FEW = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """cos(weights · scores + phase); a weight for each crossed column, scores being normal ones of variance 1."""

    weights: tuple[float, ...]
    phase: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sea:
    """How the waves of the reference rows scatter: what chance makes of their means.

    ``variances`` and ``skews`` of each wave, and ``spectrum``: the eigenvalues of the covariance of all, the largest
    first, those that matter.
    """

    variances: tuple[float, ...]
    skews: tuple[float, ...]
    spectrum: tuple[float, ...]


def waves_of(profile_hash: str, columns: int) -> tuple[Wave, ...]:
    """Return the waves over so many crossed columns, the same wherever the profile's hash is; none of too few columns.

    Drawn from SHA-256 and not from a library's generator, whose numbers may change from version to version.
    """
    if columns < COLUMNS_MIN:
        return ()
    draws = _uniform(profile_hash)
    groups = {along: _endlessly(_shuffled(list(combinations(range(columns), along)), draws)) for along in _FEW}
    waves: list[Wave] = []
    for place in range(WAVES // 2):
        along = _CYCLE[place % len(_CYCLE)]
        weights = _everywhere(draws, columns) if not along or along > columns else _few(draws, columns, groups[along])
        phase = 2 * pi * next(draws)
        waves += [Wave(weights=weights, phase=phase), Wave(weights=weights, phase=phase + pi / 2)]
    return tuple(waves)


def _everywhere(draws: Iterator[float], columns: int) -> tuple[float, ...]:
    normal = NormalDist(0.0, _ALONG_ALL / sqrt(columns))
    return tuple(normal.inv_cdf(next(draws)) for _ in range(columns))


def _few(draws: Iterator[float], columns: int, groups: Iterator[tuple[int, ...]]) -> tuple[float, ...]:
    weights = [0.0] * columns
    for column in next(groups):
        size = _SHORTEST + (_LONGEST - _SHORTEST) * next(draws)
        weights[column] = size if next(draws) < 0.5 else -size  # noqa: PLR2004 - either direction
    return tuple(weights)


def _shuffled(groups: Sequence[tuple[int, ...]], draws: Iterator[float]) -> list[tuple[int, ...]]:
    """Return them in an order by chance: as many as there are waves at most, for there may be 40,000."""
    left = list(groups)
    return [left.pop(int(next(draws) * len(left))) for _ in range(min(len(left), WAVES))]


def _endlessly(groups: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    while groups:
        yield from groups


def _uniform(seed: str) -> Iterator[float]:
    """Yield numbers between 0 and 1, neither of them ever."""
    return chain.from_iterable(map(_words, (f"{seed}/waves/{block}" for block in count())))


def _words(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    return [
        # The upper 52 bits: with the half they are as many as a float has.
        ((int.from_bytes(digest[at : at + _WORD_BYTES], "big") >> 12) + 0.5) / 2**52
        for at in range(0, len(digest), _WORD_BYTES)
    ]
