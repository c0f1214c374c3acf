"""The evidence so far of one metric, small enough for an object's status."""

import math
from dataclasses import dataclass
from typing import Any, Self

from penstock_operator.core.judge.histogram import Comparison
from penstock_operator.core.judge.likelihood import BETTER_BY, WORSE_BY
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstStable,
    MeanAgainstLimit,
    MeanAgainstStable,
    Metric,
    definition_of,
)
from penstock_operator.core.judge.series import NO_SERIES, Series

_SCHEMA = 2
_DIGITS = 6
#: A mean that looks very good has evidence against it of about nothing; its logarithm must stay a number.
_EVIDENCE_MIN = 1e-12


class EvidenceRefused(ValueError):  # noqa: N818
    """Kept evidence cannot be used: it is of another metric, of another schema or damaged. Begin afresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTotals:
    """All that was counted of one arm: requests, errors, and where latency is judged ``latency``, counts by bucket.

    Where a mean is judged, ``requests`` counts readings and ``total`` is their sum.
    """

    requests: int = 0
    errors: int = 0
    latency: tuple[int, ...] = ()
    total: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceState:
    """What must be kept between two ticks to judge one metric. Immutable; opaque to all but the judge.

    ``definition``: what it is evidence about, from ``metrics.definition_of``.
    ``last_at``: the last tick that counted, in Unix seconds; that tick and older ones never count again.
    ``ticks``: how many ticks the wealth below was played on.
    ``against``: log wealth against the candidate, for each comparison one number for each guess.
    ``in_favour``: log wealth for the candidate, one number for each guess.
    ``le`` and ``comparisons``: the histogram's edges in seconds and which of them are compared; frozen once chosen,
    so that no tick is judged by a choice that it had a part in.
    ``series``: the readings of a mean; its ``against`` and ``in_favour`` then hold one number each, what they come to.
    ``steady``: ``against`` is an e-detector's and not an e-process's.
    """

    definition: str
    last_at: float | None = None
    ticks: int = 0
    against: tuple[tuple[float, ...], ...] = ()
    in_favour: tuple[float, ...] = ()
    stable: ArmTotals = ArmTotals()
    candidate: ArmTotals = ArmTotals()
    le: tuple[float, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    series: Series = NO_SERIES
    steady: bool = False

    @classmethod
    def fresh(cls, metric: Metric, *, steady: bool = False) -> Self:
        """Return the state before the first tick; ``steady`` for what is watched over unbounded time."""
        return cls(definition=definition_of(metric), steady=steady)

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON types; ``from_json`` gives back an equal state."""
        wire: dict[str, Any] = {
            "schema": _SCHEMA,
            "definition": self.definition,
            "lastAt": self.last_at,
            "ticks": self.ticks,
            "against": [list(logs) for logs in self.against],
            "inFavour": list(self.in_favour),
            "stable": _totals_to_json(self.stable),
            "candidate": _totals_to_json(self.candidate),
            "le": list(self.le),
            "comparisons": [[each.candidate, each.stable, each.share] for each in self.comparisons],
        }
        if self.steady:
            wire["steady"] = True
        return wire | ({"series": _series_to_json(self.series)} if self.series != NO_SERIES else {})

    @classmethod
    def from_json(cls, data: object, metric: Metric) -> Self:
        """Return the state that ``to_json`` wrote, for the same metric.

        Raises EvidenceRefused if it is of another schema, of a metric with another definition, or damaged.
        """
        if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
            raise EvidenceRefused(f"{metric.name}: kept evidence is not of schema {_SCHEMA}; evidence begins afresh")
        if data.get("definition") != definition_of(metric):
            raise EvidenceRefused(
                f"{metric.name}: kept evidence is about {data.get('definition')}, "
                f"not {definition_of(metric)}; evidence begins afresh"
            )
        try:
            state = cls(
                definition=data["definition"],
                last_at=None if data["lastAt"] is None else _finite(data["lastAt"]),
                ticks=_count(data["ticks"]),
                against=tuple(_floats(logs) for logs in data["against"]),
                in_favour=_floats(data["inFavour"]),
                stable=_totals_from_json(data["stable"]),
                candidate=_totals_from_json(data["candidate"]),
                le=_floats(data["le"]),
                comparisons=tuple(
                    Comparison(candidate=_count(candidate), stable=_count(stable), share=_finite(share))
                    for candidate, stable, share in data["comparisons"]
                ),
                series=_series_from_json(data.get("series", {})),
                steady=data.get("steady") is True,
            )
            state._require_fitting_shapes(metric)
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceRefused(
                f"{metric.name}: kept evidence is damaged ({error}); evidence begins afresh"
            ) from error
        return state

    def _require_fitting_shapes(self, metric: Metric) -> None:
        is_mean = isinstance(metric, MeanAgainstStable | MeanAgainstLimit)
        guesses = (1 if is_mean else len(WORSE_BY),) * (max(1, len(self.comparisons)) if self.ticks else 0)
        if tuple(len(logs) for logs in self.against) != guesses:
            raise ValueError(f"against should hold {guesses} numbers")
        bounds = 2 if isinstance(metric, ErrorRateAgainstStable) else 1
        expected = 1 if is_mean else bounds * len(BETTER_BY)
        if len(self.in_favour) != (expected if self.ticks else 0):
            raise ValueError(f"inFavour should hold {expected} numbers")
        if self.series != NO_SERIES and not is_mean:
            raise ValueError("series belongs to a mean")
        buckets = len(self.le) + 1 if self.le else 0
        if any(len(totals.latency) not in {0, buckets} for totals in (self.stable, self.candidate)):
            raise ValueError(f"latency should hold {buckets} counts")
        if any(max(each.candidate, each.stable) >= len(self.le) for each in self.comparisons):
            raise ValueError("comparisons name edges that le does not have")


def _totals_to_json(totals: ArmTotals) -> dict[str, Any]:
    wire: dict[str, Any] = {"requests": totals.requests, "errors": totals.errors, "latency": list(totals.latency)}
    return wire | ({"total": totals.total} if totals.total else {})


def _totals_from_json(data: dict[str, Any]) -> ArmTotals:
    return ArmTotals(
        requests=_count(data["requests"]),
        errors=_count(data["errors"]),
        latency=tuple(_count(count) for count in data["latency"]),
        total=_finite(data.get("total", 0.0)),
    )


def kept_log(evidence: float) -> float:
    """Return evidence as a rounded logarithm, the form in which it is kept."""
    return round(math.log(max(evidence, _EVIDENCE_MIN)), _DIGITS)


def _series_to_json(series: Series) -> dict[str, Any]:
    return {
        "batches": [list(pair) for pair in series.batches],
        "pending": series.pending,
        "sums": list(series.sums),
        "forgotten": series.forgotten,
    }


def _series_from_json(data: dict[str, Any]) -> Series:
    stable_sum, candidate_sum = data.get("sums", (0.0, 0.0))
    return Series(
        pending=_count(data.get("pending", 0)),
        sums=(_finite(stable_sum), _finite(candidate_sum)),
        batches=tuple((_finite(stable), _finite(candidate)) for stable, candidate in data.get("batches", ())),
        forgotten=_count(data.get("forgotten", 0)),
    )


def _floats(values: list[Any]) -> tuple[float, ...]:
    return tuple(_finite(value) for value in values)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no finite number")
    return number


def _count(value: Any) -> int:
    # Through JSON of another writer a whole number may come back as 3.0.
    if int(value) != value or value < 0:
        raise ValueError(f"{value} is no count")
    return int(value)
