"""Simulated rows: twenty features that go together, one output that follows them, and what may happen to one feature.

Needs numpy alone: other tools read it in environments of their own. The same seeds give the same rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FEATURES = 20
REFERENCE_ROWS = 50_000
#: As long after a change is looked for it.
AFTER_ROWS = 8_000
NAME = "f3"
SCORE = "score"
#: Far outside what was ever seen.
OUTLIER = 1e4
OUTLIER_EVERY = 100
_WEIGHTS = np.linspace(1, 0.1, FEATURES)

Values = Mapping[str, npt.NDArray[Any]]
Change = Callable[[Values, np.random.Generator], Values]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What happens to ``NAME``; ``alarm``: whether it is to be found and named, or nothing is to be said."""

    name: str
    change: Change
    alarm: bool = True


def rows(rng: np.random.Generator, size: int) -> dict[str, npt.NDArray[Any]]:
    """Return features of standard deviation 1 that correlate at 0.5, and the output of each row."""
    shared = rng.normal(size=(size, 1))
    features = np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.normal(size=(size, FEATURES))
    return _answered({f"f{place}": features[:, place] for place in range(FEATURES)}, rng)


def reference(number: int) -> Values:
    """Return one of any number of references."""
    return rows(np.random.default_rng([1, number]), REFERENCE_ROWS)


def healthy(number: int, size: int) -> Values:
    """Return rows like the reference's."""
    return rows(np.random.default_rng([2, number]), size)


def changed(scenario: Scenario, seed: int) -> Values:
    """Return the rows after the change."""
    rng = np.random.default_rng([3, seed])
    return scenario.change(rows(rng, AFTER_ROWS), rng)


def _answered(features: Values, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Return the rows with the output that the model gives to them as they are now."""
    matrix = np.stack([features[f"f{place}"] for place in range(FEATURES)], axis=1)
    return {**features, SCORE: matrix @ _WEIGHTS + 0.3 * rng.normal(size=len(matrix))}


def _moved(by: float) -> Change:
    return lambda values, rng: _answered({**values, NAME: values[NAME] + by}, rng)


def _wider(values: Values, rng: np.random.Generator) -> Values:
    return _answered({**values, NAME: values[NAME] * 1.25}, rng)


def _two_humps(values: Values, rng: np.random.Generator) -> Values:
    size = len(values[NAME])
    humps = rng.choice([-0.9, 0.9], size) + rng.normal(scale=np.sqrt(1 - 0.81), size=size)
    return _answered({**values, NAME: humps}, rng)


def _shuffled(values: Values, rng: np.random.Generator) -> Values:
    return _answered({**values, NAME: rng.permutation(values[NAME])}, rng)


def _moved_with_outliers(values: Values, rng: np.random.Generator) -> Values:
    column = values[NAME] + 0.5
    column[::OUTLIER_EVERY] = OUTLIER
    return _with(values, column, rng)


def _one_outlier(values: Values, rng: np.random.Generator) -> Values:
    column = values[NAME].copy()
    column[10] = OUTLIER
    return _with(values, column, rng)


def _with(values: Values, column: npt.NDArray[Any], rng: np.random.Generator) -> Values:
    # The model answers to a value that it can take for one: outputs are not what this is about.
    usual = np.where(np.abs(column) < OUTLIER, column, 0.0)
    return {**_answered({**values, NAME: usual}, rng), NAME: column}


SCENARIOS = (
    Scenario(name="mean + 0.1 sd", change=_moved(0.1)),
    Scenario(name="mean + 0.5 sd", change=_moved(0.5)),
    Scenario(name="sd x 1.25", change=_wider),
    Scenario(name="two humps, same mean and variance", change=_two_humps),
    Scenario(name="shuffled", change=_shuffled),
    Scenario(name="mean + 0.5 sd, 1 in 100 rows an outlier", change=_moved_with_outliers),
    Scenario(name="one outlier", change=_one_outlier, alarm=False),
)
