"""What of an answer is the prediction, and how a label that comes later is compared with it."""

import math
from collections.abc import Sequence
from typing import Any

from penstock_contract.feedback import OTHER, FeedbackCounts
from penstock_contract.profile import Profile
from penstock_server.profile.groups import text_of
from penstock_server.profile.rows import matrix
from penstock_server.protocol import DTYPES, Array, TensorSpec
from penstock_server.scores import Scores, is_probability, scores_of, unpacked

Value = str | float | bool

#: Of a request with more rows, only the first ones can get labels.
ROWS_MAX = 1024
#: More classes are counted together: a label is a stranger's word.
_CLASSES_MAX = 64
#: And so is a name; all of them are told in each answer of /v1/profile.
_NAME_LENGTH_MAX = 256
#: The square of a larger number is infinite, and no sum would ever recover from it.
_LARGEST = 1e150
#: And its fourth power, of a larger one.
_LARGEST_SQUARE = 1e150
_HALF = 0.5


class Numbers:
    """A regression: labels are numbers, and what counts is the difference."""

    scores: Scores | None = None

    def __init__(self, output: str) -> None:
        self.output = output

    def read(self, array: Array, rows: int) -> list[float]:
        """Return the number that each row was answered with."""
        values = matrix(array, rows)
        return [] if values is None else list(map(float, values[:ROWS_MAX, 0].tolist()))

    def judge(self, predicted: float, label: Value) -> FeedbackCounts | None:
        """Return what one label counts, None where it is no number."""
        if isinstance(label, (str, bool)) or not math.isfinite(label) or not math.isfinite(predicted):
            return None
        error = min(max(predicted - label, -_LARGEST), _LARGEST)
        square = error * error
        quartic = min(square, _LARGEST_SQUARE) ** 2
        return FeedbackCounts(
            matched=1, error=error, absolute_error=abs(error), squared_error=square, quartic_error=quartic
        )


class Classes:
    """A classifier: ``rule`` tells the class from a row of the output, and what counts is which was taken for which.

    Of two classes ``scores`` reads how sure it was.
    """

    def __init__(self, output: str, rule: str, names: Sequence[str], scores: Scores | None = None) -> None:
        self.output = output
        self.scores = scores
        self._rule = rule
        self._names = list(names)[:_CLASSES_MAX]
        self._places = {name: place for place, name in enumerate(self._names)}

    def read(self, array: Array, rows: int) -> list[float]:
        """Return the class of each row, as a number that ``judge`` understands."""
        values = matrix(array, rows)
        if values is None or not values.shape[1]:
            return []
        values = values[:ROWS_MAX]
        if self._rule == "largest":
            return list(map(float, values.argmax(axis=1).tolist()))
        if self._rule == "half":
            return list(map(float, (values[:, 0] > _HALF).tolist()))
        return [self._place(class_name(value)) for value in values[:, 0].tolist()]

    def judge(self, predicted: float, label: Value) -> FeedbackCounts | None:
        """Return what one label counts, None where it names no class."""
        if isinstance(label, float) and not math.isfinite(label):
            return None
        place, score = unpacked(predicted)
        true = class_name(label)
        side = self.scores.side(true) if self.scores is not None and score is not None else None
        return FeedbackCounts(
            matched=1,
            confusion={self._said(place): {self._true(true): 1}},
            scores={side: {str(score): 1}} if side is not None else {},
        )

    def _said(self, place: int) -> str:
        if 0 <= place < len(self._names):
            return self._names[place]
        return str(place) if self._rule != "value" and place < _CLASSES_MAX else OTHER

    def _true(self, name: str) -> str:
        if self._rule == "value":
            return name if self._place(name) >= 0 else OTHER
        known = self._names or map(str, range(_CLASSES_MAX))
        return name if name in known else OTHER

    def _place(self, name: str) -> float:
        """Return the number of a class, a new one while there is room for it; -1 for others."""
        if len(name) > _NAME_LENGTH_MAX:
            return -1.0
        if name not in self._places and len(self._names) < _CLASSES_MAX:
            self._places[name] = len(self._names)
            self._names.append(name)
        return float(self._places.get(name, -1))


def class_name(value: Any) -> str:
    """Return 1, 1.0, "1" and True as the same name."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return text_of(value)


def reader_of(outputs: Sequence[TensorSpec], profile: Profile | None) -> Numbers | Classes | None:
    """Return how predictions are read: from the first output of classes, else of several numbers, else of one."""
    single = [spec for spec in outputs if all(size == 1 for size in spec.shape[1:]) and spec.shape]
    for spec in single:
        if DTYPES[spec.datatype].kind in "iubO":
            return Classes(spec.name, "value", (), scores_of(outputs, profile, spec.name))
    for spec in outputs:
        if spec not in single and DTYPES[spec.datatype].kind == "f" and len(spec.shape) == 2:  # noqa: PLR2004
            return Classes(spec.name, "largest", _class_names(profile, spec), scores_of((spec,), profile, spec.name))
    for spec in single:
        if profile is not None and is_probability(profile, spec):
            # Of one column there are two classes all the same.
            names = _class_names(profile, spec) if profile.classes or spec.classes else ("0", "1")
            return Classes(spec.name, "half", names, scores_of((spec,), profile, spec.name))
        return Numbers(spec.name)
    return None


def _class_names(profile: Profile | None, spec: TensorSpec) -> tuple[str, ...]:
    if profile is not None and profile.classes:
        return profile.classes
    if spec.classes:
        return tuple(map(str, spec.classes))
    return tuple(str(place) for place in range(min(spec.shape[-1], _CLASSES_MAX)))
