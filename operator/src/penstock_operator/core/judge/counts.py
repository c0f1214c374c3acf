"""What one tick brought: requests, errors and latencies of each arm, and what other sources said."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


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
class Reading:
    """What a source said of one metric at one moment, or why it said nothing.

    ``absent`` tells why there is no value (nothing happened), ``problem`` why there can be none (an outage, a wrong
    query). The same reading may be shown to the judge many times: by ``at`` it counts once.
    """

    at: float
    stable: float | None = None
    candidate: float | None = None
    absent: str = ""
    problem: str = ""
    told: str = ""
    """What a source says of its value, where that is more than a number."""

    def __post_init__(self) -> None:
        """Refuse what is no number: in a mean it would make the whole one no number."""
        if not all(math.isfinite(value) for value in (self.at, self.stable or 0.0, self.candidate or 0.0)):
            raise ValueError(f"a reading must be finite, got {self.stable} and {self.candidate} at {self.at}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """What a tick's comparison of answers to the same requests found: ``n`` compared, ``disagreements`` of them.

    ``score_difference`` and ``latency_difference`` are means over them, candidate less stable: of scores, which count
    by their distance, and of seconds.
    """

    n: int
    disagreements: int
    score_difference: float = 0.0
    latency_difference: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no comparison can give."""
        if not 0 <= self.disagreements <= self.n:
            raise ValueError(f"disagreements must be between 0 and n ({self.n}), got {self.disagreements}")
        if not (math.isfinite(self.score_difference) and math.isfinite(self.latency_difference)):
            raise ValueError("differences must be finite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Counts of one tick alone, ``at`` in Unix seconds. An arm is None where nothing could be read of it.

    ``readings`` are the last ones of other sources by metric; ``shadowed`` is what was compared in this tick.
    """

    at: float
    stable: ArmCounts | None
    candidate: ArmCounts | None
    readings: Mapping[str, Reading] = field(default_factory=dict)
    shadowed: Shadowed | None = None

    def __post_init__(self) -> None:
        """Refuse a time that cannot be ordered."""
        if not math.isfinite(self.at):
            raise ValueError(f"at must be a finite time in seconds, got {self.at}")
