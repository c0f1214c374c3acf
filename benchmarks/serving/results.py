"""What a run of the benchmark found, as data: cells with their rounds, starts, memory; read and written as JSON."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.serving.figures import Cell, Figures, medians, ratios, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One cell: its quiet rounds, or the quietest that could be had, with who disturbed those."""

    rounds: Sequence[Figures]
    disturbed: Sequence[str] = ()
    repeated: int = 0

    @property
    def median(self) -> Figures:
        """The medians over the rounds."""
        return medians(self.rounds)


@dataclass(slots=True, kw_only=True)
class Results:
    """Everything that was found, filled while the benchmark runs."""

    cells: dict[Cell, Measured] = field(default_factory=dict)
    start_seconds: dict[str, list[float]] = field(default_factory=dict)
    resident_megabytes: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def rate(self, line: str, workload: str, connections: int) -> float | None:
        """Return requests per second, None where it was not measured."""
        figures = self.figures(line, workload, connections)
        return None if figures is None else figures.requests_per_second

    def figures(self, line: str, workload: str, connections: int) -> Figures | None:
        """Return the medians of a cell, None where it was not measured."""
        found = self.cells.get(Cell(line=line, workload=workload, connections=connections))
        return None if found is None else found.median

    def start(self, server: str) -> float | None:
        """Return the median seconds from process start to ready."""
        seconds = self.start_seconds.get(server)
        return statistics.median(seconds) if seconds else None

    def ratios_to(self, line: str) -> dict[Cell, float]:
        """Return each cell's requests per second over those of one line."""
        return ratios({cell: found.median.requests_per_second for cell, found in self.cells.items()}, line)

    def to_json(self, about: Mapping[str, Any], goals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what is written to the results file."""
        to_bare = self.ratios_to("bare")
        return {
            **about,
            "goals": list(goals),
            "servers": {
                name: {
                    "start_seconds": _rounded(statistics.median(seconds)),
                    "starts": [_rounded(each) for each in seconds],
                    "resident_megabytes": self.resident_megabytes.get(name),
                }
                for name, seconds in self.start_seconds.items()
            },
            "cells": [
                {
                    **asdict(cell),
                    **{name: _rounded(value) for name, value in asdict(found.median).items()},
                    "ratio_to_bare": _rounded(to_bare[cell]) if cell in to_bare else None,
                    "spread": _rounded(spread(found.rounds)),
                    "rounds": [
                        {name: _rounded(value) for name, value in asdict(each).items()} for each in found.rounds
                    ],
                    "repeated": found.repeated,
                    "disturbed": list(found.disturbed),
                }
                for cell, found in self.cells.items()
            ],
            "failures": self.failures,
        }


def _rounded(value: float) -> float:
    """Four significant digits: the rest is noise.

    >>> _rounded(12345.678), _rounded(0.00123456)
    (12350.0, 0.001235)
    """
    return float(f"{value:.4g}")
