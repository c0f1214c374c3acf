"""How parts of the traffic are asked for, and what a profile knows of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import sub
from typing import Any
from urllib.parse import parse_qsl, urlencode

from penstock_contract.counts import Counts, InvalidCounts, Layout

#: Each value is a profile's counters once more, in each pod: 66 kB for 100 features.
VALUES_MAX = 8
#: Of how many values a profile knows the rows.
PROFILE_VALUES_MAX = 16
#: Rows of every other value.
OTHER = "other"
_BY, _VALUE = "segmentBy", "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """An input by its name, and the values of it that are segments; all others are one more, ``OTHER``."""

    by: str
    values: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all segments."""
        return (*self.values, OTHER)

    def query(self) -> str:
        """Return what is asked behind the path of the counts.

        >>> Segmentation(by="country", values=("de", "at")).query()
        'segmentBy=country&value=de&value=at'
        """
        return urlencode([(_BY, self.by), *((_VALUE, value) for value in self.values)])

    @classmethod
    def of_query(cls, query: str) -> "Segmentation | None":
        """Return what a query asks for, None where it asks for no segments; raise ValueError.

        >>> Segmentation.of_query("segmentBy=country&value=de")
        Segmentation(by='country', values=('de',))
        """
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=VALUES_MAX + 2)
        named = [value for key, value in pairs if key == _BY]
        if not named:
            return None
        values = tuple(value for key, value in pairs if key == _VALUE)
        problem = _problem(named, values)
        if problem:
            raise ValueError(problem)
        return cls(by=named[0], values=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSegments:
    """The reference rows of the most frequent values of an input; those of all others are what is left."""

    by: str
    counts: Mapping[str, Counts]

    def of(self, value: str, values: Sequence[str], whole: Counts) -> Counts | None:
        """Return the rows of a segment where ``values`` are the others that have a name; None where there are none."""
        if value != OTHER:
            return self.counts.get(value)
        return reduce(sub, (self.counts[one] for one in values if one in self.counts), whole)

    def to_wire(self, layout: Layout) -> dict[str, Any]:
        """Return the JSON object of it."""
        return {"by": self.by, "counts": {value: counts.to_wire(layout) for value, counts in self.counts.items()}}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], layout: Layout) -> "ProfileSegments":
        """Return what a JSON object holds; raise InvalidCounts, KeyError or TypeError."""
        counts = wire["counts"]
        if not isinstance(counts, dict) or len(counts) > PROFILE_VALUES_MAX:
            raise InvalidCounts(f"its segments are not counts of at most {PROFILE_VALUES_MAX} values")
        return cls(
            by=str(wire["by"]),
            counts={str(value): Counts.from_wire(one, layout) for value, one in counts.items()},
        )


def _problem(named: Sequence[str], values: Sequence[str]) -> str | None:
    if len(named) > 1:
        return f"{_BY} is there twice"
    if not 1 <= len(values) <= VALUES_MAX:
        return f"there must be 1 to {VALUES_MAX} times {_VALUE}"
    if len(set(values)) < len(values) or OTHER in values:
        return f"each {_VALUE} must be another one, and none of them {OTHER!r}"
    return None


def of_wire(message: Mapping[str, object], by: str) -> Mapping[str, object] | None:
    """Return what a pod's counts say of segments by an input, None where they say nothing."""
    told = message.get("segments")
    if not isinstance(told, dict):
        return None
    found = told.get(by)
    return found if isinstance(found, dict) else None
