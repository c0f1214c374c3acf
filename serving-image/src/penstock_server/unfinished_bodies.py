"""How many bytes of requests that have not all arrived are kept, over all connections."""

#: Eight bodies of the largest size; more of them at a time would be more than most pods have.
BYTES_MAX = 256 * 1024 * 1024
OVERLOADED = "overloaded: too many large requests arrive at the same time; try again later"


class TooManyBodies(Exception):  # noqa: N818 - what happened
    """No more can be kept until others have arrived, or have been given up."""


class UnfinishedBodies:
    """Counts what is kept, and refuses what would be too much."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self.kept_bytes = 0

    def keep(self, count: int) -> None:
        """Count bytes that are kept from now on; raise TooManyBodies instead of more than allowed."""
        if self.kept_bytes + count > self._bytes_max:
            raise TooManyBodies
        self.kept_bytes += count

    def give_back(self, count: int) -> None:
        """Count them no more."""
        self.kept_bytes -= count
