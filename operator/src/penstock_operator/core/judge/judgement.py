"""What the judge says of one metric at one tick."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The five answers; only Fail takes a candidate back, only Pass promotes it."""

    PASS = "Pass"  # noqa: S105 - a verdict, no password
    FAIL = "Fail"
    UNDECIDED = "Undecided"
    NO_DATA = "NoData"
    ERROR = "Error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """What was seen of one arm since the evidence began: ``n`` requests, ``value`` a share of errors or seconds."""

    n: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One metric at one tick, with the numbers that decided.

    ``evidence`` against the candidate decides at ``limit``; ``acceptance`` is the evidence for it and decides at
    ``acceptance_limit``. Both start at 1 and are capped at 1e12 for display. ``message`` is one sentence for status,
    events and people.
    """

    metric: str
    verdict: Verdict
    evidence: float
    limit: float
    acceptance: float
    acceptance_limit: float
    stable: ArmSummary | None
    candidate: ArmSummary | None
    message: str
