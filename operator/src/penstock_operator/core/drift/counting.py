"""Counts the windows of rows that are all at hand: the same counts as serving pods publish, many windows at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_contract.profile import (
    CLIP,
    FIXED_POINT,
    PROBABILITY_EPSILON,
    SCORE_SCALE,
    Column,
    Kind,
    Transform,
)
from penstock_contract.waves import WAVE_SCALE, waves_of
from penstock_operator.core.drift.tally import (
    MISSING,
    NEGATIVE_INFINITY,
    POSITIVE_INFINITY,
    Floats,
    Frame,
    Places,
    Tallies,
)

Values = npt.NDArray[Any]

_SPECIAL = 3
_SINGLE = {"FP32": np.float32, "FP16": np.float16}


def count(frame: Frame, values: Mapping[str, Values], window_rows: int) -> Tallies:
    """Return the tallies of successive windows of ``window_rows`` rows.

    ``values`` holds an array per column name, all of the same length, a multiple of ``window_rows``. Numbers are
    compared in the data type of the profile; NaN is missing, also where the profile has whole numbers.
    """
    columns, width = frame.columns, frame.width
    rows = len(next(iter(values.values())))
    windows = rows // window_rows
    window_of = np.repeat(np.arange(windows) * (width + _SPECIAL), window_rows)
    slots = windows * (width + _SPECIAL)
    places = [_places(column, values[column.name], width) for column in columns]
    shifted = [one + window_of for one in places]
    counted = np.stack([np.bincount(one, minlength=slots).reshape(windows, -1) for one in shifted], axis=1).astype(
        np.float64
    )
    bins, special = counted[..., :width], counted[..., width:].transpose(0, 2, 1)
    fixed = {
        place: _fixed(column, values[column.name])
        for place, column in enumerate(columns)
        if column.kind is Kind.NUMERIC
    }
    scores = _scores(frame, places, windows)
    return Tallies(
        rows=np.full(windows, float(window_rows)),
        test_rows=np.full(windows, float(window_rows)),
        bins=bins,
        special=special,
        quality=_quality(columns, bins, special),
        sums=_sums(len(columns), fixed, windows),
        output_sums=_output_sums(frame, shifted, fixed, windows),
        cross=scores.transpose(0, 2, 1) @ scores,
        cross_sums=scores.sum(axis=1),
        waves=_waves(frame, scores),
    )


def _places(column: Column, values: Values, width: int) -> Places:
    """Return the bin of each value; behind ``width``, what has none."""
    if column.kind is Kind.CATEGORICAL:
        return _category_places(column, values, width)
    numbers = _compared(column, values)
    places = _edges(column, numbers.dtype).searchsorted(numbers)
    if numbers.dtype.kind == "f":
        places[np.isnan(numbers)] = width + MISSING
        places[np.isneginf(numbers)] = width + NEGATIVE_INFINITY
        places[np.isposinf(numbers)] = width + POSITIVE_INFINITY
    return places


def _compared(column: Column, values: Values) -> Values:
    """Return numbers in the type of the profile's wire; whole numbers with gaps stay fractions."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large for the wire: an infinity, as it is there
            return values.astype(_SINGLE.get(column.datatype, np.float64))
    if column.datatype.startswith("FP"):
        return values.astype(_SINGLE.get(column.datatype, np.float64))
    return values.astype(np.int64)


def _edges(column: Column, dtype: np.dtype[Any]) -> Values:
    return np.array(column.edges, dtype=dtype if dtype.kind == "f" else np.float64 if _fractional(column) else dtype)


def _fractional(column: Column) -> bool:
    return any(edge != int(edge) for edge in column.edges)


def _category_places(column: Column, values: Values, width: int) -> Places:
    known = len(column.categories)
    codes: dict[Any, int] = dict.fromkeys(column.others, known)
    codes |= {category: code for code, category in enumerate(column.categories)}
    unknown = known + 1 if column.others_complete else known
    if values.dtype.kind == "f":
        missing = np.isnan(values)
        names, back = np.unique(np.where(missing, 0.0, values), return_inverse=True)
        found = np.array([codes.get(name, unknown) for name in names.tolist()], dtype=np.intp)[back]
        return np.where(missing, width + MISSING, found)
    if values.dtype.kind == "O":
        words = [value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
                 for value in values.tolist()]  # fmt: skip
        return np.array([codes.get(word, unknown) if word else width + MISSING for word in words], dtype=np.intp)
    names, back = np.unique(values.astype(np.int64), return_inverse=True)
    return np.array([codes.get(name, unknown) for name in names.tolist()], dtype=np.intp)[back]


def _fixed(column: Column, values: Values) -> Floats:
    """Return standardised values in fixed point; 0 for what is not finite."""
    numbers = _compared(column, values).astype(np.float64)
    if column.transform is Transform.LOGIT:
        numbers = np.clip(numbers, PROBABILITY_EPSILON, 1 - PROBABILITY_EPSILON)
        numbers = np.log(numbers / (1 - numbers))
    numbers = np.where(np.isfinite(numbers), numbers, column.centre)
    with np.errstate(over="ignore"):  # cut off in the next line
        numbers = (numbers - column.centre) * (FIXED_POINT / column.scale)
    return np.rint(np.clip(numbers, -CLIP * FIXED_POINT, CLIP * FIXED_POINT))


def _sums(count: int, fixed: Mapping[int, Floats], windows: int) -> Floats:
    sums = np.zeros((windows, 2, count))
    for place, numbers in fixed.items():
        by_window = numbers.reshape(windows, -1)
        sums[:, 0, place] = by_window.sum(axis=1)
        sums[:, 1, place] = np.square(by_window).sum(axis=1)
    return sums


def _output_sums(frame: Frame, shifted: Sequence[Places], fixed: Mapping[int, Floats], windows: int) -> Floats:
    width = frame.width
    sums = np.zeros((windows, len(frame.contributing), frame.inputs, width))
    for k, place in enumerate(frame.contributing):
        for column in range(frame.inputs):
            line = np.bincount(shifted[column], weights=fixed[place], minlength=windows * (width + _SPECIAL))
            sums[:, k, column] = line.reshape(windows, -1)[:, :width]
    return sums


def _scores(frame: Frame, places: Sequence[Places], windows: int) -> Floats:
    """Return (windows, rows, crossed)."""
    crossed = frame.crossed
    if not crossed:
        return np.zeros((windows, 0, 0))
    return np.stack(
        [_score_table(frame.columns[place], frame.width)[places[place]].reshape(windows, -1) for place in crossed],
        axis=2,
    )


def _waves(frame: Frame, scores: Floats) -> Floats:
    """Return how many rows there are, and the sums of the waves: in single precision, as pods add them up."""
    if frame.sea is None:
        return np.zeros((len(scores), 0))
    waves = waves_of(frame.sea, scores.shape[2])
    weights = np.array([wave.weights for wave in waves], np.float32) / np.float32(SCORE_SCALE)
    phases = np.array([wave.phase for wave in waves], np.float32)
    sums = np.zeros((len(scores), frame.waves))
    for window, rows in zip(sums, scores, strict=True):  # all windows at once would need a hundred times the memory
        heights = np.cos(rows.astype(np.float32) @ weights.T + phases) * np.float32(WAVE_SCALE)
        window[0], window[1:] = len(rows), np.rint(heights).sum(axis=0, dtype=np.float64)
    return sums


def _score_table(column: Column, width: int) -> Floats:
    table = np.zeros(width + _SPECIAL)
    table[: column.bins] = column.scores
    table[width + NEGATIVE_INFINITY], table[width + POSITIVE_INFINITY] = column.scores[0], column.scores[-1]
    return table


def _quality(columns: Sequence[Column], bins: Floats, special: Floats) -> Floats:
    quality = np.zeros((len(bins), 6, len(columns)))
    quality[:, :3] = special
    for place, column in enumerate(columns):
        if column.kind is Kind.NUMERIC:
            quality[:, 3, place] = bins[:, place, 0]
            quality[:, 4, place] = bins[:, place, column.bins - 1]
        elif column.others_complete:
            quality[:, 5, place] = bins[:, place, column.bins - 1]
    return quality
