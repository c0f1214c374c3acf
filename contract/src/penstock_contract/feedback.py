"""How delayed labels agree with predictions: counts that add up over pods and over time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import add, sub
from typing import Any, ClassVar, Final

#: The name under which classes beyond the bound are counted together.
OTHER: Final = "(other)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackCounts:
    """What became of labels.

    ``matched``: joined with a prediction; ``unmatched``: no pod that was asked made it, or it was forgotten; ``late``:
    after its time; ``duplicate``: the prediction had a label; ``invalid``: a label of the wrong kind. Of matched ones:
    ``confusion[predicted][true]`` for classes, sums of (predicted - true) for numbers, and how late they were in all.
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
    confusion: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

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
        return {key: getattr(self, attribute) for attribute, key in _WIRE.items()} | {
            "confusion": {said: dict(row) for said, row in self.confusion.items()}
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "FeedbackCounts":
        """Return the counts in a JSON object; raise ValueError."""
        numbers = {attribute: wire.get(key, 0) for attribute, key in _WIRE.items()}
        confusion = wire.get("confusion", {})
        try:
            rows = {
                str(said): {str(true): int(count) for true, count in row.items()} for said, row in confusion.items()
            }
        except (AttributeError, TypeError) as error:
            raise ValueError(f"confusion is not a table of counts: {error}") from None
        for attribute, number in numbers.items():
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise ValueError(f"{_WIRE[attribute]!r} is not a number: {number!r}")  # noqa: TRY004 - of the message
        return cls(**numbers, confusion=rows)


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
}


def _each(operation: Callable[[Any, Any], Any], one: FeedbackCounts, other: FeedbackCounts) -> FeedbackCounts:
    numbers = {name: operation(getattr(one, name), getattr(other, name)) for name in _WIRE}
    confusion: dict[str, dict[str, int]] = {}
    for said in sorted({*one.confusion, *other.confusion}):
        mine, theirs = one.confusion.get(said, {}), other.confusion.get(said, {})
        row = {true: operation(mine.get(true, 0), theirs.get(true, 0)) for true in sorted({*mine, *theirs})}
        if any(row.values()):
            confusion[said] = {true: count for true, count in row.items() if count}
    return FeedbackCounts(**numbers, confusion=confusion)
