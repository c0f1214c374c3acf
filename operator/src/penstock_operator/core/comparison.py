"""What the answers of stable and of a shadow to the same requests have in common, and what not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from penstock_contract.outputs import Output, Sample
from penstock_operator.core.judge.counts import Shadowed

#: An answer whose counterpart does not come within this time has none: the copy was dropped, failed or is not noted.
_PATIENCE_SECONDS = 90.0
#: So many answers wait at each side; the oldest give way.
_WAITING_MAX = 2048
#: Scores that are nearer to each other than this part of them are as good as equal: which is larger is rounding.
_TIE = 1e-4
#: Numbers next to 0 that differ by so little agree, whatever part of them that is.
_ROUNDING = 1e-6
#: Larger differences count as this one: their squares must stay numbers.
_LARGEST = 1e100


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far single numbers may be apart and still agree: ``absolute``, or ``relative`` to the larger of the two."""

    absolute: float = _ROUNDING
    relative: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Tolerance":
        """Return what a spec says: percent of the larger number, or a number in the answers' own unit.

        >>> Tolerance.parse("5%").relative, Tolerance.parse("0.5").absolute
        (0.05, 0.5)
        """
        if text.endswith("%"):
            return cls(relative=float(text.removesuffix("%")) / 100)
        return cls(absolute=float(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Numbers that add up to their mean and variance."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, value: float) -> "Moments":
        """Return those of one value."""
        bounded = max(-_LARGEST, min(value, _LARGEST))
        return cls(n=1, total=bounded, squares=bounded * bounded)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(n=self.n + other.n, total=self.total + other.total, squares=self.squares + other.squares)

    @property
    def mean(self) -> float:
        """The mean; 0 of no values."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """The variance of the values, with n - 1; 0 of fewer than two."""
        return max(self.squares - self.n * self.mean**2, 0.0) / (self.n - 1) if self.n > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was compared: ``n`` pairs of answers, of which ``disagreements`` say something else.

    ``score``: the largest distance between scores of a pair, where both have scores. ``latency``: seconds that the
    shadow took longer. ``incomparable`` pairs have no output in common.
    """

    n: int = 0
    disagreements: int = 0
    score: Moments = Moments()
    latency: Moments = Moments()
    incomparable: int = 0

    def __add__(self, other: "Comparison") -> "Comparison":
        return Comparison(
            n=self.n + other.n,
            disagreements=self.disagreements + other.disagreements,
            score=self.score + other.score,
            latency=self.latency + other.latency,
            incomparable=self.incomparable + other.incomparable,
        )

    @property
    def shadowed(self) -> Shadowed | None:
        """The judge's form, or None where nothing could be compared."""
        if not self.n:
            return None
        return Shadowed(
            n=self.n,
            disagreements=self.disagreements,
            score_difference=self.score.mean,
            latency_difference=self.latency.mean,
        )


#: Answers by pair, with the time since which they wait.
_Side = Mapping[str, tuple[float, Sample]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Answers whose counterparts have not come yet."""

    stable: _Side = field(default_factory=dict)
    shadow: _Side = field(default_factory=dict)


def join(
    waiting: Waiting,
    stable: Iterable[Sample],
    shadow: Iterable[Sample],
    *,
    now: float,
    tolerance: Tolerance,
) -> tuple[Waiting, Comparison]:
    """Return who waits now, and what could be compared with the answers that have come.

    Of answers with one pair on one side (a request that the router sent again) the first counts.
    """
    left, right = _arrived(waiting.stable, stable, now), _arrived(waiting.shadow, shadow, now)
    compared = Comparison()
    for pair in [pair for pair in left if pair in right]:
        compared += compare(left.pop(pair)[1], right.pop(pair)[1], tolerance)
    return Waiting(stable=_newest(left), shadow=_newest(right)), compared


def compare(stable: Sample, shadow: Sample, tolerance: Tolerance) -> Comparison:
    """Return what one pair of answers tells.

    Answers disagree where a label does; without labels where the largest of several scores has another place, or a
    single one is beyond the tolerance. Rounding differs between two builds of one model, so scores beside labels count
    by their distance only.
    """
    other = {output.name: output for output in shadow.outputs}
    both = [(output, other[output.name]) for output in stable.outputs if output.name in other]
    both = [(one, two) for one, two in both if _alike(one, two)]
    if not both:
        return Comparison(incomparable=1)
    labelled = [(one, two) for one, two in both if one.labels]
    disagree = (
        any(one.labels != two.labels for one, two in labelled)
        if labelled
        else any(_differ(one.scores, two.scores, tolerance) for one, two in both)
    )
    distances = [
        abs(b - a) for one, two in both for a, b in zip(one.scores, two.scores, strict=True)
        if a is not None and b is not None
    ]  # fmt: skip
    return Comparison(
        n=1,
        disagreements=int(disagree),
        score=Moments.of(max(distances)) if distances else Moments(),
        latency=Moments.of(shadow.seconds - stable.seconds),
    )


def _arrived(side: _Side, samples: Iterable[Sample], now: float) -> dict[str, tuple[float, Sample]]:
    known = {pair: seen for pair, seen in side.items() if now - seen[0] <= _PATIENCE_SECONDS}
    for sample in samples:
        known.setdefault(sample.pair, (now, sample))
    return known


def _newest(side: _Side) -> _Side:
    return dict(islice(side.items(), max(len(side) - _WAITING_MAX, 0), None))


def _alike(one: Output, two: Output) -> bool:
    """Return whether two outputs of one name can be compared: they have as many labels and scores."""
    return (len(one.labels), len(one.scores)) == (len(two.labels), len(two.scores)) and bool(one.labels or one.scores)


def _differ(one: Sequence[float | None], two: Sequence[float | None], tolerance: Tolerance) -> bool:
    if [score is None for score in one] != [score is None for score in two]:
        return True
    left, right = ([score for score in scores if score is not None] for scores in (one, two))
    if len(one) > 1:
        return bool(left) and _other_winner(left, right)
    allowed = max(tolerance.absolute, tolerance.relative * max(map(abs, left + right), default=0.0))
    return any(abs(b - a) > allowed for a, b in zip(left, right, strict=True))


def _other_winner(left: Sequence[float], right: Sequence[float]) -> bool:
    here, there = left.index(max(left)), right.index(max(right))
    tie = _TIE * max(map(abs, (*left, *right)))
    return here != there and (left[here] - left[there] > tie or right[there] - right[here] > tie)
