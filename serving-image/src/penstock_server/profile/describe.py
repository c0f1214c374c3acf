"""Decides how a column is counted: its edges or categories, its scale and its scores, from reference rows."""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_contract.bins import QUANTILE_BINS
from penstock_contract.profile import (
    PROBABILITY_EPSILON,
    SCORE_SCALE,
    Column,
    Kind,
    Transform,
)
from penstock_server.profile.groups import compared_as, text_of
from penstock_server.profile.table import UnusableData
from penstock_server.protocol import DTYPES, Array

#: The most frequent categories have a bin each.
CATEGORIES_MAX = 63
#: So many more are remembered, to tell a rare category from one that the reference never had.
OTHERS_MAX = 1000
#: Whole numbers with more different values are numeric.
_INTEGER_CATEGORIES_MAX = 32
#: Values beyond these quantiles of the reference do not move centre and scale.
_TAIL = 0.001


def kind_of(values: Array, datatype: str) -> Kind:
    """Return how values are counted unless somebody says otherwise."""
    if datatype in {"BYTES", "BOOL"}:
        return Kind.CATEGORICAL
    if DTYPES[datatype].kind == "f":
        return Kind.NUMERIC
    distinct = len(np.unique(values))
    return Kind.CATEGORICAL if distinct <= min(_INTEGER_CATEGORIES_MAX, len(values) // 20) else Kind.NUMERIC


def numeric(
    values: Array, *, transform: Transform, scored: bool, split_at: float | None = None, **identity: Any
) -> Column:
    """Return the column of numbers. One without any finite value has a single edge, at 0.

    ``split_at`` becomes an edge as well, so that what is above can be told from what is not.
    """
    compared = values.astype(compared_as(identity["datatype"]))
    finite = compared[np.isfinite(compared)] if compared.dtype.kind == "f" else compared
    if not len(finite):
        # Nothing to compare values with, but that they are missing is compared all the same.
        return Column(kind=Kind.NUMERIC, edges=(0.0,), scores=(0, 0) if scored else (), **identity)
    inner = quantile_edges(finite, QUANTILE_BINS)
    low, high = finite.min(), finite.max()
    edges = sorted({*_native([_below(low), *inner, high]), *_between(split_at, low, high)})
    places = np.array(edges, dtype=compared.dtype).searchsorted(finite)
    counts = np.bincount(places, minlength=len(edges) + 1)
    mean, sd = _moments(finite.astype(np.float64))
    centre, scale = _centre_and_scale(_transformed(finite.astype(np.float64), transform))
    return Column(
        kind=Kind.NUMERIC, edges=tuple(edges), transform=transform, centre=centre, scale=scale,
        minimum=_native([low])[0], maximum=_native([high])[0], mean=mean, sd=sd,
        scores=normal_scores(counts) if scored else (), **identity,
    )  # fmt: skip


def categorical(values: Array, **identity: Any) -> Column:
    """Return the column of categories, the most frequent first, then by name; missing is no category."""
    names, counts = np.unique(_categories(values), return_counts=True)
    ranked = sorted(zip((-counts).tolist(), names.tolist(), strict=True))
    known = [name for _, name in ranked if name != ""]
    if not known:
        raise UnusableData(f"column {identity['name']!r} has no value in {len(values)} rows")
    others = sorted(known[CATEGORIES_MAX:])
    complete = len(others) <= OTHERS_MAX
    return Column(
        kind=Kind.CATEGORICAL, categories=tuple(known[:CATEGORIES_MAX]), others=tuple(others) if complete else (),
        others_complete=complete, **identity,
    )  # fmt: skip


def quantile_edges(values: Array, bins: int) -> Array:
    """Return the inner edges of at most ``bins`` bins with about as many values each.

    Few different values get a bin each. A value that many rows share gets one of its own, and the others divide
    what is left, so that a column of mostly zeros is still seen in detail where it is not zero.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= bins:
        return distinct[:-1]
    below = np.cumsum(counts)
    total, done, chosen = int(below[-1]), 0, []
    for place in range(bins - 1):
        goal = done + (total - done) / (bins - place)
        at = int(below.searchsorted(goal))
        nearer_before = at > 0 and below[at - 1] > done and goal - below[at - 1] < below[at] - goal
        at -= int(nearer_before)
        if at >= len(distinct) - 1:
            break
        chosen.append(at)
        done = int(below[at])
    return distinct[chosen]


def normal_scores(counts: npt.NDArray[np.intp]) -> tuple[int, ...]:
    """Return the normal score of each bin's middle rank, times SCORE_SCALE; the outermost lie half a row outside."""
    total = int(counts.sum())
    upto = np.cumsum(counts)
    middle = (upto - counts / 2) / total
    nearest = 0.5 / (total + 1)
    normal = NormalDist()
    shares = np.clip(middle, nearest, 1 - nearest).tolist()
    return tuple(round(SCORE_SCALE * normal.inv_cdf(share)) for share in shares)


def _categories(values: Array) -> Array:
    if values.dtype.kind == "O":
        return np.array([text_of(value) for value in values.tolist()], dtype=np.str_)
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
        if not np.array_equal(values, np.rint(values)):
            raise UnusableData("only whole numbers and texts can be categories")
    return values.astype(np.int64)


def _below(low: Any) -> Any:
    """Return the next smaller number of the same type, or the same where there is none."""
    if np.issubdtype(type(low), np.integer):
        return int(low) - 1 if int(low) > np.iinfo(np.int64).min else int(low)
    with np.errstate(over="ignore"):
        step = np.nextafter(low, low.dtype.type(-np.inf))
    return step if np.isfinite(step) else low


def _between(split_at: float | None, low: Any, high: Any) -> list[float]:
    return [] if split_at is None or not low <= split_at < high else [split_at]


def _native(numbers: list[Any]) -> list[float]:
    return [number.item() if isinstance(number, np.generic) else number for number in numbers]


def _transformed(values: npt.NDArray[np.float64], transform: Transform) -> npt.NDArray[np.float64]:
    if transform is Transform.NONE:
        return values
    inside = np.clip(values, PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON)
    return np.log(inside / (1 - inside))


def _centre_and_scale(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [_TAIL, 1 - _TAIL], method="inverted_cdf")
    centre, scale = _moments(np.clip(values, low, high))
    if not scale:
        scale = _moments(values)[1]
    return centre, scale or abs(centre) or 1.0


def _moments(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation, also of numbers whose squares are infinite."""
    largest = float(np.abs(values).max()) or 1.0
    scaled = values / largest
    deviation = 0.0 if values.min() == values.max() else float(scaled.std())
    return float(scaled.mean()) * largest, min(deviation * largest, np.finfo(np.float64).max)


def identity_of(**fields: Any) -> Mapping[str, Any]:
    """Return what a column is of, as keyword arguments."""
    return fields
