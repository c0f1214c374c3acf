"""What a report shows of live traffic: each column's counts beside the reference's, and what they say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from penstock_contract.counts import Counts
from penstock_contract.profile import Column, Kind, Profile
from penstock_operator.core.drift import contribution, quality
from penstock_operator.core.drift.describe import Described, describe
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.tally import Frame, Tallies

#: Of a column with more categories than this, the most frequent are drawn.
_BARS_MAX = 24
#: Nothing is judged here, so the budget does not matter; the judge wants one.
_FALSE_ALARM_EVERY = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bin: the shares of reference and live rows in it."""

    label: str
    reference: float
    live: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What was wrong with values, as shares of rows."""

    what: str
    reference: float
    live: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column: the distances between reference and live, its histogram, and the state of its values.

    ``index``: of an input, the share of the output that goes with it most, in the reference and live; None where
    nothing can be said of it.
    """

    name: str
    kind: str
    described: Described
    bars: tuple[Bar, ...]
    quality: tuple[Quality, ...]
    index: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodCounts:
    """What one pod has counted since it began."""

    name: str
    rows: int
    dropped_rows: int
    first_ts: float | None
    last_ts: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Live traffic of one revision against its reference. ``trouble`` says what could not be read, and why."""

    revision: str
    model_deployment: str
    reference_rows: int = 0
    rows: int = 0
    features: tuple[Feature, ...] = ()
    pods: tuple[PodCounts, ...] = ()
    trouble: tuple[str, ...] = ()


def features(profile: Profile, counts: Counts) -> tuple[Feature, ...]:
    """Return all columns of a profile, with live counts beside those of the reference."""
    frame = Frame(columns=profile.columns)
    rows = max(2, counts.test_rows)
    judge = Judge(profile, window_rows=rows, false_alarm_every=_FALSE_ALARM_EVERY)
    tallies = Tallies.of([counts], frame)
    judged, _ = judge.judge(tallies, judge.start())
    (described,) = describe(judge, tallies, judged)
    reference = Tallies.of([profile.counts], frame)
    wrong, indices = _quality(frame, reference, tallies), _indices(frame, reference, tallies)
    return tuple(
        Feature(
            name=column.name,
            kind=column.kind.value,
            described=described[place],
            bars=bars(column, profile.counts.columns[place].bins, counts.columns[place].bins),
            quality=tuple(wrong.get(place, ())),
            index=indices.get(place),
        )
        for place, column in enumerate(profile.columns)
    )


def _indices(frame: Frame, reference: Tallies, live: Tallies) -> Mapping[int, tuple[float, float]]:
    """Return the feature contribution index of each input for the output that it goes with most."""
    if not frame.contributing or not frame.inputs:
        return {}
    known, seen = contribution.index_of(frame, reference)[0], contribution.index_of(frame, live)[0]
    found = {}
    for place in range(frame.inputs):
        usable = np.isfinite(known[:, place]) & np.isfinite(seen[:, place])
        if usable.any():
            output = int(np.where(usable, known[:, place], -np.inf).argmax())
            found[place] = (float(known[output, place]), float(seen[output, place]))
    return found


def _quality(frame: Frame, reference: Tallies, live: Tallies) -> Mapping[int, Sequence[Quality]]:
    found: dict[int, list[Quality]] = {}
    for check in quality.checks(frame):
        entry = Quality(what=check.what, reference=quality.share(check, reference), live=quality.share(check, live))
        found.setdefault(check.place, []).append(entry)
    return found


def bars(column: Column, reference: Sequence[int], live: Sequence[int]) -> tuple[Bar, ...]:
    """Return the bins of a column that hold anything, in order; of many categories the most frequent."""
    known, seen = max(1, sum(reference)), max(1, sum(live))
    labels = _labels(column)
    drawn = [
        Bar(label=label, reference=before / known, live=now / seen)
        for label, before, now in zip(labels, reference, live, strict=True)
        if before or now
    ]
    if column.kind is Kind.CATEGORICAL and len(drawn) > _BARS_MAX:
        most = sorted(drawn, key=lambda bar: -max(bar.reference, bar.live))
        rest = most[_BARS_MAX - 1 :]
        others = Bar(
            label=f"{len(rest)} more", reference=sum(bar.reference for bar in rest), live=sum(bar.live for bar in rest)
        )
        return (*most[: _BARS_MAX - 1], others)
    return tuple(drawn)


def _labels(column: Column) -> list[str]:
    if column.kind is Kind.CATEGORICAL:
        return [*map(str, column.categories), "other", "never seen before"]
    edges = [f"{edge:.4g}" for edge in column.edges]
    inner = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"at most {edges[0]}", *inner, f"above {edges[-1]}"]
