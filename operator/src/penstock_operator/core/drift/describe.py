"""Describes each column of each window in the distances that people know; no alarm depends on them."""

from dataclasses import dataclass

import numpy as np

from penstock_contract.profile import Column, Kind
from penstock_operator.core.drift import contribution, distances
from penstock_operator.core.drift.engine import Judge, Judged
from penstock_operator.core.drift.tally import Floats, Frame, Tallies


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One column in one window; distances are None where it has no value there.

    ``psi_adjusted`` is PSI less what windows of this size show by chance. ``contribution`` is how far the column's
    drift alone moves the mean of the output that it moves most, in that output's standard deviations; ``rank`` 1 moves
    it most. ``wasserstein`` is in interquartile ranges of the reference.
    """

    name: str
    p: float
    psi: float | None
    psi_adjusted: float | None
    jensen_shannon: float | None
    kolmogorov: float | None
    hellinger: float | None
    wasserstein: float | None
    contribution: float | None
    rank: int | None


def describe(judge: Judge, tallies: Tallies, judged: Judged) -> list[tuple[Described, ...]]:
    """Return every column of every window."""
    pooled = judge.pooled(float(tallies.rows[0]))
    rows, reference_rows = tallies.bins.sum(axis=-1), np.maximum(judge.shapes.rows, 1.0)
    live = distances.shares(pooled.of(tallies.bins), pooled.used)
    known = distances.shares(pooled.reference, pooled.used)
    psi = distances.psi(live, known)
    chance = (pooled.groups - 1) * (1 / np.maximum(rows, 1.0) + 1 / reference_rows)
    raw = tallies.bins / np.maximum(rows, 1.0)[..., np.newaxis]
    raw_known = judge.shapes.bins / reference_rows[:, np.newaxis]
    steps = np.stack([_steps(column, judge.frame.width, raw_known[place]) for place, column in
                      enumerate(judge.frame.columns)])  # fmt: skip
    numbers = np.stack([
        psi, np.maximum(psi - chance, 0), distances.jensen_shannon(live, known), distances.kolmogorov(raw, raw_known),
        distances.hellinger(live, known), distances.wasserstein(raw, raw_known, steps),
    ], axis=-1)  # fmt: skip
    ordered = np.array([column.kind is Kind.NUMERIC for column in judge.frame.columns])
    present = np.repeat((rows > 0)[..., np.newaxis], numbers.shape[-1], axis=-1)
    present[..., 3] &= ordered
    present[..., 5] &= ordered & steps.any(axis=-1)
    moved = _moved(judge.frame, judge.reference, tallies)
    return [
        _window(judge.frame, numbers[window], present[window], judged.p[window], moved[window])
        for window in range(len(tallies))
    ]


def _window(frame: Frame, numbers: Floats, present: Floats, p: Floats, moved: Floats) -> tuple[Described, ...]:
    ranks = np.argsort(np.argsort(-np.abs(moved), kind="stable"), kind="stable") + 1
    described: list[Described] = []
    for place, column in enumerate(frame.columns):
        values = [float(number) if there and np.isfinite(number) else None
                  for number, there in zip(numbers[place], present[place], strict=True)]  # fmt: skip
        contributes = place < len(moved) and values[0] is not None
        described.append(
            Described(
                name=column.name,
                p=float(p[place]),
                psi=values[0],
                psi_adjusted=values[1],
                jensen_shannon=values[2],
                kolmogorov=values[3],
                hellinger=values[4],
                wasserstein=values[5],
                contribution=float(moved[place]) if contributes else None,
                rank=int(ranks[place]) if contributes else None,
            )
        )
    return tuple(described)


def _moved(frame: Frame, reference: Tallies, tallies: Tallies) -> Floats:
    """Return (windows, inputs): the largest explained shift over the outputs; no entries without outputs."""
    if not frame.contributing or not frame.inputs:
        return np.zeros((len(tallies), 0))
    shift = contribution.explained_shift(frame, reference, tallies)
    largest = np.abs(shift).argmax(axis=1)
    chosen: Floats = np.take_along_axis(shift, largest[:, np.newaxis], axis=1)[:, 0]
    return chosen


def _steps(column: Column, width: int, shares: Floats) -> Floats:
    """Return the distance from each inner edge to the next, in interquartile ranges; tails have no end and none."""
    steps = np.zeros(width)
    inner = np.array(column.edges[1:-1], dtype=np.float64)
    # The largest number less the smallest may be infinite; of a scale of 1 it is not.
    inner /= max(1.0, float(np.abs(inner).max(initial=0.0)))
    if column.kind is not Kind.NUMERIC or len(inner) < 2:  # noqa: PLR2004
        return steps
    upto = np.cumsum(shares)[1 : 1 + len(inner)]
    low, high = (inner[min(int(upto.searchsorted(share)), len(inner) - 1)] for share in (0.25, 0.75))
    steps[1 : len(inner)] = np.diff(inner) / (high - low if high > low else inner[-1] - inner[0])
    return steps
