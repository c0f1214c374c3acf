"""Live rows that become a reference: gathered in few parts that are kept for good, one after the other."""

from dataclasses import dataclass, replace

from penstock_operator.core.drift.live.against import Against, Source
from penstock_operator.core.drift.live.flat import Ints
from penstock_operator.core.drift.live.places import ROWS, TEST_ROWS
from penstock_operator.core.drift.live.words import span

#: A restart loses the part that was not full: at most one in so many of all rows.
PARTS = 4
#: Restarts make parts shorter, so there may be more; beyond, what is there has to do.
PARTS_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """``kept``: the sum of ``parts`` that are safe. ``waiting``: rows that a restart would lose."""

    kept: Ints
    waiting: Ints
    parts: int = 0

    @property
    def rows(self) -> int:
        """Rows that tests may take for independent, of all parts and of what waits."""
        return int(self.kept[TEST_ROWS]) + int(self.waiting[TEST_ROWS])

    def with_rows(self, numbers: Ints) -> "Gathering":
        """Return it with more rows."""
        return replace(self, waiting=self.waiting + numbers)

    def with_part(self) -> "Gathering":
        """Return it after what waits was kept."""
        return replace(self, kept=self.kept + self.waiting, waiting=self.waiting * 0, parts=self.parts + 1)

    def takes(self, against: Against, since: float, until: float) -> bool:
        """Return whether rows of this time belong into the reference."""
        if against.source is Source.FIRST_ROWS:
            return True
        return against.start <= since and until <= against.until

    def is_part(self, against: Against, now: float) -> bool:
        """Return whether what waits is to be kept now."""
        if not self.waiting[ROWS]:
            return False
        if against.source is Source.FIRST_ROWS:
            part = -(-against.rows // PARTS)
            return self.rows >= against.rows or (self.waiting[TEST_ROWS] >= part and self.parts < PARTS_MAX - 1)
        whole = against.until - against.start
        ends = against.start + whole * (self.parts + 1) / PARTS
        return now >= against.until or (now >= ends and self.parts < PARTS_MAX - 1)

    def is_complete(self, against: Against, now: float) -> bool:
        """Return whether the reference is whole; it never changes then."""
        if not self.kept[TEST_ROWS]:
            return False
        if against.source is Source.FIRST_ROWS:
            return bool(self.kept[TEST_ROWS] >= against.rows)
        return now >= against.until and not self.waiting[ROWS]

    def progress(self, against: Against, now: float) -> str:
        """Return how far it has come."""
        if against.source is Source.FIRST_ROWS:
            return f"{self.rows} of the first {against.rows} rows that will be the reference; nothing is judged before"
        if now < against.start:
            return f"the window that will be the reference begins in {span(against.start - now)}"
        return f"{self.rows} rows of the window that will be the reference, which ends in {span(against.until - now)}"
