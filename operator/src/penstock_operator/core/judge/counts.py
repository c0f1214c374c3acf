"""What one tick counted: requests, errors and latencies of each arm."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyHistogram:
    """Latencies of one tick: ``counts[i]`` requests took at most ``le[i]`` seconds and more than ``le[i-1]``.

    ``counts`` has one entry more than ``le``: the requests slower than the last edge. Not cumulative, in neither sense.
    """

    le: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what is not a histogram."""
        if len(self.counts) != len(self.le) + 1:
            raise ValueError(
                f"counts must have one entry more than le (the last for slower ones): "
                f"got {len(self.counts)} counts for {len(self.le)} edges"
            )
        if not self.le:
            raise ValueError("le is empty: give at least one edge in seconds")
        if not all(math.isfinite(edge) and edge > 0 for edge in self.le):
            raise ValueError("every edge of le must be a finite number of seconds above 0; +Inf is implied")
        if any(low >= high for low, high in zip(self.le, self.le[1:], strict=False)):
            raise ValueError("the edges of le must rise")
        if not all(math.isfinite(count) and count >= 0 for count in self.counts):
            raise ValueError("counts must be whole numbers >= 0")

    @property
    def total(self) -> int:
        """All requests in the histogram."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCounts:
    """What one arm (the stable or the candidate) did in one tick. ``latency`` is None where it was not measured."""

    requests: int
    errors: int
    latency: LatencyHistogram | None = None

    def __post_init__(self) -> None:
        """Refuse counts that no run of requests can give."""
        if not (math.isfinite(self.requests) and self.requests >= 0):
            raise ValueError(f"requests must be a whole number >= 0, got {self.requests}")
        if not (math.isfinite(self.errors) and 0 <= self.errors <= self.requests):
            raise ValueError(f"errors must be between 0 and requests ({self.requests}), got {self.errors}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Counts of one tick alone, ``at`` in Unix seconds. An arm is None where nothing could be read of it."""

    at: float
    stable: ArmCounts | None
    candidate: ArmCounts | None

    def __post_init__(self) -> None:
        """Refuse a time that cannot be ordered."""
        if not math.isfinite(self.at):
            raise ValueError(f"at must be a finite time in seconds, got {self.at}")
