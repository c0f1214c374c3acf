"""Tests whether each input still goes with the outputs as it did: the feature contribution index, without a target."""

from dataclasses import dataclass

import numpy as np

from penstock_operator.core.drift.tally import Floats, Frame, Places, Tallies

#: Values scatter around a bin's mean more widely in some bins than in others; theory takes them for equal.
VARIANCE_MAX = 4.0
#: An input that explains less of the output has nothing to lose.
_SHARE_MIN = 0.01
#: Bins explain some of any output by chance: an input must explain so many times that.
_TIMES_CHANCE = 10.0
_ROWS_MIN = 50
#: An output has moved when its mean has, by so many errors.
_BEYOND_CHANCE = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The pairs of input and output that go together in the reference.

    ``profile`` (links, width): the mean output in each bin less that of all rows. ``index``: the share of the output's
    variance that the bins explain, adjusted for chance. ``slope``: what a regression of outputs on ``profile`` would
    find in fresh rows of the reference.
    """

    inputs: Places
    outputs: Places
    profile: Floats
    index: Floats
    slope: Floats
    error: Floats


def index_of(frame: Frame, tallies: Tallies) -> Floats:
    """Return (windows, outputs, inputs): the bias-adjusted share of variance explained, NaN where nothing varies."""
    rows, explained, total, _ = _moments(frame, tallies)
    bins = (tallies.bins[:, np.newaxis, : frame.inputs] > 0).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, explained / np.where(total > 0, total, 1.0), np.nan)
        adjusted = 1 - (1 - share) * (rows - 1) / (rows - bins)
    return np.where(rows > bins, adjusted, np.nan)


def links_of(frame: Frame, reference: Tallies) -> Links:
    """Return the links that can be told from chance."""
    rows, explained, total, means = _moments(frame, reference)
    index = index_of(frame, reference)[0]
    bins = (reference.bins[0, : frame.inputs] > 0).sum(axis=-1)
    chance = _TIMES_CHANCE * bins / np.maximum(rows[0], 1)
    with np.errstate(invalid="ignore"):
        outputs, inputs = np.nonzero(index > np.maximum(chance, _SHARE_MIN))
    share = (explained / np.where(total > 0, total, 1.0))[0, outputs, inputs]
    of_rows = np.maximum(rows[0, outputs, inputs], 1.0)
    return Links(
        inputs=inputs,
        outputs=outputs,
        profile=means[0, outputs, inputs],
        index=index[outputs, inputs],
        slope=index[outputs, inputs] / share,
        error=(1 - share) / (share * of_rows),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """(windows, links): slopes of the outputs on the reference's profile, less the expected, and their errors.

    A slope does not change where only the input's own distribution does, so a drift of inputs is not told twice. It is
    0 where a column has lost its link, as one of another table's rows does. NaN where too few rows say nothing.
    """

    difference: Floats
    error: Floats
    expected: Floats

    @property
    def z(self) -> Floats:
        """The difference over its error."""
        return self.difference / self.error

    @property
    def lost(self) -> Floats:
        """What share of the link is lost at least, give or take: of several, the column that was broken lost most."""
        surely: Floats = np.maximum(np.abs(self.difference) - 2 * self.error, 0) / self.expected
        return surely


def slopes_of(frame: Frame, links: Links, live: Tallies) -> Slopes:
    """Return what windows say of the links."""
    bins = live.bins[:, links.inputs]
    rows = bins.sum(axis=-1)
    safe = np.maximum(rows, 1.0)
    centred = links.profile - ((bins * links.profile).sum(axis=-1) / safe)[..., np.newaxis]
    spread = (bins * np.square(centred)).sum(axis=-1)
    sums = live.output_sums[:, links.outputs, links.inputs]
    along = (sums * centred).sum(axis=-1)
    slope = along / np.where(spread > 0, spread, 1.0)
    _, variance = _output_moments(frame, live)
    residual = np.maximum(variance[:, links.outputs] - np.square(slope) * spread / safe, 0)
    error = residual / np.where(spread > 0, spread, 1.0) + links.error
    usable = (spread > 0) & (error > 0) & (rows >= _ROWS_MIN)
    return Slopes(
        difference=np.where(usable, slope - links.slope, np.nan),
        error=np.sqrt(np.where(usable, error, 1.0)),
        expected=links.slope,
    )


def explained_shift(frame: Frame, reference: Tallies, live: Tallies) -> Floats:
    """Return (windows, outputs, inputs): how far each input's drift alone would move the mean output, in its sd."""
    _, _, _, means = _moments(frame, reference)
    moved = _shares(live.bins[:, : frame.inputs]) - _shares(reference.bins[:, : frame.inputs])
    _, variance = _output_moments(frame, reference)
    shift: Floats = np.einsum("wib,kib->wki", moved, means[0])
    return shift / np.sqrt(np.where(variance[0] > 0, variance[0], 1.0))[np.newaxis, :, np.newaxis]


def _shares(bins: Floats) -> Floats:
    share: Floats = bins / np.maximum(bins.sum(axis=-1, keepdims=True), 1.0)
    return share


def _output_moments(frame: Frame, tallies: Tallies) -> tuple[Floats, Floats]:
    """Return (windows, outputs) means and variances of the outputs."""
    places = list(frame.contributing)
    rows = np.maximum(tallies.bins[:, places].sum(axis=-1), 1.0)
    mean = tallies.sums[:, 0, places] / rows
    return mean, np.maximum(tallies.sums[:, 1, places] / rows - np.square(mean), 0.0)


def _moments(frame: Frame, tallies: Tallies) -> tuple[Floats, Floats, Floats, Floats]:
    """Return rows, explained and total sums of squares (windows, outputs, inputs), and centred means of bins."""
    bins = tallies.bins[:, np.newaxis, : frame.inputs]
    rows = np.broadcast_to(bins.sum(axis=-1), tallies.output_sums.shape[:3])
    mean = tallies.output_sums.sum(axis=-1) / np.maximum(rows, 1.0)
    means = np.where(bins > 0, tallies.output_sums / np.maximum(bins, 1.0) - mean[..., np.newaxis], 0.0)
    explained = (bins * np.square(means)).sum(axis=-1)
    _, variance = _output_moments(frame, tallies)
    return rows, explained, np.maximum(variance[..., np.newaxis] * rows, explained), means


def explained_share(frame: Frame, reference: Tallies, live: Tallies) -> Floats:
    """Return (windows, inputs): what share of the output's shift each input's drift alone explains.

    Of the output that the input moves most; NaN where that output's mean has not moved beyond chance. Shares of
    correlated inputs overlap, and may add up to more than 1.
    """
    if not frame.contributing or not frame.inputs:
        return np.full((len(live), frame.inputs), np.nan)
    shift = explained_shift(frame, reference, live)
    mean, _ = _output_moments(frame, live)
    known, variance = _output_moments(frame, reference)
    deviation = np.sqrt(np.where(variance > 0, variance, 1.0))
    observed = (mean - known) / deviation
    rows = np.maximum(live.bins[:, list(frame.contributing)].sum(axis=-1), 1.0)
    beyond_chance = np.abs(observed) * np.sqrt(rows) > _BEYOND_CHANCE
    most = np.abs(shift).argmax(axis=1)[:, np.newaxis]
    moved = np.take_along_axis(shift, most, axis=1)[:, 0]
    by = np.take_along_axis(np.where(beyond_chance, observed, np.nan), most[:, 0], axis=1)
    share: Floats = moved / by
    return share
