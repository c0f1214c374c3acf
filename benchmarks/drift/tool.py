"""What a tool has to be to be compared, and what it is asked. Needs numpy alone."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from benchmarks.drift.streams import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was said at the end of so many more rows: the columns named, or ``SOMETHING`` where a tool names none."""

    rows: int
    named: frozenset[str]


SOMETHING = "?"


class Tool(Protocol):
    """One tool with its settings."""

    def fit(self, reference: Values, categorical: Collection[str]) -> None:
        """Learn what is normal; ``categorical`` columns hold the numbers of categories."""

    def warm(self, before: Values) -> None:
        """See rows like the reference's; ``windows`` goes on from here. Nothing to do for what forgets."""

    def windows(self, values: Values) -> Iterator[Window]:
        """Yield what is said after each window of rows; the tool is afterwards as it was before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A tool that can be made for windows of so many rows, with a false alarm in so many of them where it takes that.

    ``budgeted``: whether it does. ``names``: whether it says which column it is.
    ``patience``: how many times as long as others it may take. ``thorough``: so many times as many
    windows without drift, where they cost little. ``parts``: of the benchmark, that it takes part in.
    """

    name: str
    make: Callable[[int, float], Tool]
    budgeted: bool = False
    names: bool = True
    sizes: tuple[int, ...] = (100, 500)
    patience: float = 1.0
    thorough: int = 1
    parts: tuple[str, ...] = ("compare", "data", "cost")


def cut(values: Values, start: int, end: int) -> Values:
    """Return some of the rows."""
    return {name: array[start:end] for name, array in values.items()}


def length(values: Values) -> int:
    """Return how many rows there are."""
    return len(next(iter(values.values())))
