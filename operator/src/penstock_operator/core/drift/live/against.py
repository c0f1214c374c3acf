"""What a policy compares live rows with."""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Where the rows of a reference come from."""

    PROFILE = "Profile"
    STABLE = "Stable"
    FIRST_ROWS = "FirstRows"
    WINDOW = "Window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """``rows``: of FirstRows, how many make a reference. ``start``, ``until``: of Window, its times in Unix seconds."""

    source: Source = Source.PROFILE
    rows: int = 0
    start: float = 0.0
    until: float = 0.0

    @property
    def gathered(self) -> bool:
        """Whether the reference is gathered from live rows and kept."""
        return self.source in (Source.FIRST_ROWS, Source.WINDOW)

    def __str__(self) -> str:
        """Return what two references must have in common to be the same one."""
        match self.source:
            case Source.FIRST_ROWS:
                return f"{self.source} {self.rows}"
            case Source.WINDOW:
                return f"{self.source} {self.start:.3f} {self.until:.3f}"
            case _:
                return str(self.source)
