"""How delayed labels agree with predictions: counts that add up over pods and over time."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import add, sub
from typing import Any, ClassVar, Final

#: The name under which classes beyond the bound are counted together.
OTHER: Final = "(other)"
#: Scores are counted by their logit, in bins of an eighth from -8 to 8: whatever the model, pods add up.
SCORE_BINS: Final = 128
_LOGIT_MAX = 8.0
_NEAREST = 1e-12
#: Which rows a row of ``scores`` is about.
POSITIVE, NEGATIVE = "positive", "negative"


def score_bin(logit: float) -> int:
    """Return the bin of a score; what is no number is in the middle, where it says nothing.

    >>> score_bin(-100.0), score_bin(0.0), score_bin(0.13), score_bin(100.0), score_bin(float("nan"))
    (0, 64, 65, 127, 64)
    """
    if math.isnan(logit):
        return SCORE_BINS // 2
    place = (min(max(logit, -_LOGIT_MAX), _LOGIT_MAX) + _LOGIT_MAX) * SCORE_BINS / (2 * _LOGIT_MAX)
    return min(math.floor(place), SCORE_BINS - 1)


def logit_of(probability: float) -> float:
    """Return the logit of a probability, also of one that is a little outside 0 and 1."""
    inside = min(max(probability, _NEAREST), 1 - _NEAREST)
    return math.log(inside / (1 - inside))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackCounts:
    """What became of labels.

    ``matched``: joined with a prediction; ``unmatched``: no pod that was asked made it, or it was forgotten; ``late``:
    after its time; ``duplicate``: the prediction had a label; ``invalid``: a label of the wrong kind. Of matched ones:
    ``confusion[predicted][true]`` for classes, sums of (predicted - true) for numbers, with those of its absolute value
    and of its second and fourth power, and how late they were in all. Of two classes ``scores["positive"]`` and
    ``scores["negative"]`` hold how many rows of each had a score in which bin (``score_bin``).
    """

    OUTCOMES: ClassVar[tuple[str, ...]] = ("matched", "unmatched", "late", "duplicate", "invalid")

    matched: int = 0
    unmatched: int = 0
    late: int = 0
    duplicate: int = 0
    invalid: int = 0
    lag_milliseconds: int = 0
    error: float = 0.0
    absolute_error: float = 0.0
    squared_error: float = 0.0
    quartic_error: float = 0.0
    confusion: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __add__(self, other: "FeedbackCounts") -> "FeedbackCounts":
        return _each(add, self, other)

    def __sub__(self, other: "FeedbackCounts") -> "FeedbackCounts":
        return _each(sub, self, other)

    @property
    def accuracy(self) -> float | None:
        """The share of classes that were right, None without any."""
        total = sum(sum(row.values()) for row in self.confusion.values())
        right = sum(row.get(name, 0) for name, row in self.confusion.items() if name != OTHER)
        return right / total if total else None

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of these counts."""
        wire: dict[str, Any] = {key: getattr(self, attribute) for attribute, key in _WIRE.items()}
        wire["confusion"] = {said: dict(row) for said, row in self.confusion.items()}
        if self.scores:
            wire["scores"] = {side: dict(row) for side, row in self.scores.items()}
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "FeedbackCounts":
        """Return the counts in a JSON object; raise ValueError."""
        numbers = {attribute: wire.get(key, 0) for attribute, key in _WIRE.items()}
        confusion, scores = (_table(name, wire.get(name, {})) for name in ("confusion", "scores"))
        if not scores.keys() <= {POSITIVE, NEGATIVE} or not all(row.keys() <= _BINS for row in scores.values()):
            raise ValueError("scores is not a table of positive and negative by bin")
        for attribute, number in numbers.items():
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise ValueError(f"{_WIRE[attribute]!r} is not a number: {number!r}")  # noqa: TRY004 - of the message
        return cls(**numbers, confusion=confusion, scores=scores)


_WIRE = {
    "matched": "matched",
    "unmatched": "unmatched",
    "late": "late",
    "duplicate": "duplicate",
    "invalid": "invalid",
    "lag_milliseconds": "lagMilliseconds",
    "error": "error",
    "absolute_error": "absoluteError",
    "squared_error": "squaredError",
    "quartic_error": "quarticError",
}
_BINS = frozenset(map(str, range(SCORE_BINS)))


def _table(name: str, wire: Any) -> dict[str, dict[str, int]]:
    try:
        return {str(said): {str(true): int(count) for true, count in row.items()} for said, row in wire.items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{name} is not a table of counts: {error}") from None


def _each(operation: Callable[[Any, Any], Any], one: FeedbackCounts, other: FeedbackCounts) -> FeedbackCounts:
    numbers = {name: operation(getattr(one, name), getattr(other, name)) for name in _WIRE}
    return FeedbackCounts(
        **numbers,
        confusion=_each_row(operation, one.confusion, other.confusion),
        scores=_each_row(operation, one.scores, other.scores),
    )


def _each_row(
    operation: Callable[[Any, Any], Any], one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for said in sorted({*one, *other}):
        mine, theirs = one.get(said, {}), other.get(said, {})
        row = {true: operation(mine.get(true, 0), theirs.get(true, 0)) for true in sorted({*mine, *theirs})}
        if any(row.values()):
            table[said] = {true: count for true, count in row.items() if count}
    return table
