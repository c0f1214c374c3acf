"""Adds up the waves of rows: in whole numbers that no order of adding changes."""

import numpy as np
import numpy.typing as npt

from penstock_contract.profile import SCORE_SCALE
from penstock_contract.waves import WAVE_SCALE, WAVES, Sea, waves_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: So many rows at a time: what they need stays in the processor's second cache.
_ROWS = 256
#: Eigenvalues below this share of the largest say nothing.
_SMALLEST = 1e-3
_DIGITS = 4


class Waves:
    """The sums of waves over the scores of crossed columns; one thread at a time.

    Single precision computes cosines several times as fast, and is a thousand times finer than what is kept of them.
    """

    def __init__(self, profile_hash: str, columns: int) -> None:
        waves = waves_of(profile_hash, columns)
        self._weights = np.array([wave.weights for wave in waves], np.float32) / np.float32(SCORE_SCALE)
        self._phases = np.array([[wave.phase] for wave in waves], np.float32)
        #: First how many rows there were.
        self._sums: Ints = np.zeros(1 + WAVES, np.int64)

    @property
    def nbytes(self) -> int:
        """The memory of weights and sums."""
        return self._weights.nbytes + self._phases.nbytes + self._sums.nbytes

    def of(self, scores: Floats) -> Ints:
        """Return how many rows there are, and the sum of each wave; takes scores as (columns, rows)."""
        rows = scores.shape[1]
        found: Ints = np.zeros(1 + WAVES, np.int64)
        found[0] = rows
        for start in range(0, rows, _ROWS):
            found[1:] += self.heights(scores[:, start : start + _ROWS]).sum(axis=1, dtype=np.int64)
        return found

    def heights(self, scores: Floats) -> npt.NDArray[np.int16]:
        """Return (waves, rows), in whole numbers."""
        heights = self._weights @ scores.astype(np.float32)
        heights += self._phases
        np.cos(heights, out=heights)
        heights *= np.float32(WAVE_SCALE)
        rounded: npt.NDArray[np.int16] = np.rint(heights, out=heights).astype(np.int16)
        return rounded

    def add(self, sums: Ints) -> None:
        """Add what ``of`` returned."""
        self._sums += sums

    def counts(self) -> tuple[int, ...]:
        """Return everything added so far."""
        return tuple(self._sums.tolist())


class Scatter:
    """How waves scatter around their means, learned while the reference is counted."""

    def __init__(self, waves: Waves) -> None:
        self._waves = waves
        self._rows = 0
        self._squares: Floats = np.zeros((WAVES, WAVES))
        self._sums: Floats = np.zeros(WAVES)
        self._cubes: Floats = np.zeros(WAVES)

    def add(self, scores: Floats) -> None:
        """Take in rows; takes scores as (columns, rows)."""
        for start in range(0, scores.shape[1], _ROWS):
            heights = self._waves.heights(scores[:, start : start + _ROWS]).astype(np.float64) / WAVE_SCALE
            self._rows += heights.shape[1]
            self._sums += heights.sum(axis=1)
            self._squares += heights @ heights.T
            self._cubes += (heights**3).sum(axis=1)

    def sea(self) -> Sea | None:
        """Return what was learned; None where no wave moves."""
        rows = max(self._rows, 1)
        means = self._sums / rows
        covariance = self._squares / rows - np.outer(means, means)
        variances = np.maximum(np.diag(covariance), 0.0)
        third = self._cubes / rows - 3 * means * self._squares.diagonal() / rows + 2 * means**3
        safe = np.where(variances > 0, variances, 1.0)
        spectrum = np.linalg.eigvalsh(covariance)[::-1]
        if spectrum[0] <= 0:
            return None
        return Sea(
            variances=_short(variances),
            skews=_short(np.where(variances > 0, third / safe**1.5, 0.0)),
            spectrum=_short(spectrum[spectrum > spectrum[0] * _SMALLEST]),
        )


def _short(numbers: Floats) -> tuple[float, ...]:
    return tuple(float(f"{number:.{_DIGITS}g}") for number in numbers.tolist())
