"""How sure a model of two classes was, in the bins that the ROC curve is made of when labels come."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from penstock_contract.feedback import NEGATIVE, POSITIVE, logit_of, score_bin
from penstock_contract.profile import Kind, Profile, Role, Transform
from penstock_server.probabilities import are_probabilities
from penstock_server.profile.rows import matrix
from penstock_server.protocol import DTYPES, Array, TensorSpec

_BINARY = 2
#: In a remembered number: the class before the point, behind it the bin, from 1 on.
_FRACTION = 1 << 10


class Scores:
    """Reads the score of the second of two classes from an output of one or of two columns."""

    def __init__(self, output: str, classes: Sequence[str]) -> None:
        self.output = output
        self._negative, self._positive = classes

    def read(self, array: Array, rows: int) -> list[int]:
        """Return the bin of each row's score; none where the output is not what it was said to be."""
        values = matrix(array, rows)
        if values is None or values.dtype.kind != "f" or values.shape[1] > _BINARY:
            return []
        return [score_bin(score) for score in _scores(values.astype(np.float64))]

    def side(self, true: str) -> str | None:
        """Return which side of the curve a true class is on; None for a class that is neither."""
        return {self._positive: POSITIVE, self._negative: NEGATIVE}.get(true)


def packed(place: float, place_of_score: int) -> float:
    """Return class and bin as the one number that is remembered of a prediction.

    >>> unpacked(packed(1.0, 64)), unpacked(packed(-1.0, 0)), unpacked(3.0)
    ((1, 64), (-1, 0), (3, None))
    """
    return place + (place_of_score + 1) / _FRACTION


def unpacked(value: float) -> tuple[int, int | None]:
    """Return class and bin of a number that is remembered of a prediction; None for the bin where it has none."""
    place = math.floor(value)
    fraction = round((value - place) * _FRACTION)
    return place, fraction - 1 if fraction else None


def scores_of(outputs: Sequence[TensorSpec], profile: Profile | None, chosen: str) -> Scores | None:
    """Return what reads the scores beside the output that says the class; None without two classes and a score."""
    for spec in sorted(outputs, key=lambda spec: spec.name != chosen):
        width = spec.shape[-1] if spec.shape else 0
        floating = DTYPES[spec.datatype].kind == "f" and len(spec.shape) <= _BINARY
        known = _classes(profile, spec)
        if floating and (width == _BINARY or (width == 1 and is_probability(profile, spec))) and len(known) == _BINARY:
            return Scores(spec.name, known)
        if floating and width < 0 and len(spec.classes) == _BINARY:  # ONNX-ML's maps do not say how many there are
            return Scores(spec.name, known)
    return None


def is_probability(profile: Profile | None, spec: TensorSpec) -> bool:
    """Return whether the profile says that an output holds probabilities."""
    return profile is not None and any(
        column.role is Role.OUTPUT
        and column.tensor == spec.name
        and column.kind is Kind.NUMERIC
        and column.transform is Transform.LOGIT
        for column in profile.columns
    )


def _classes(profile: Profile | None, spec: TensorSpec) -> tuple[str, ...]:
    if profile is not None and profile.classes:
        return profile.classes
    return tuple(map(str, spec.classes)) if spec.classes else ("0", "1")


def _scores(values: npt.NDArray[np.float64]) -> list[float]:
    """Return scores that rise with the second class: logits, whatever the model answers."""
    if values.shape[1] == 1:
        return [logit_of(value) for value in values[:, 0].tolist()]
    if are_probabilities(values):
        return [logit_of(value) for value in values[:, 1].tolist()]
    return [float(score) for score in (values[:, 1] - values[:, 0]).tolist()]
