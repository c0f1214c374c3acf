"""Whether a candidate is less often right than the stable revision, by labels of the same time: sequentially.

The evidence may be looked at after every label; it is that of a candidate's errors (docs/adr/0004), played on labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log10
from typing import Any

from penstock_contract.feedback import OTHER, FeedbackCounts
from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.drift.live.episodes import Open
from penstock_operator.core.drift.live.words import share
from penstock_operator.core.judge import eprocess
from penstock_operator.core.judge.likelihood import WORSE_WEIGHTS, Events, log_worse_than_stable

NAME = "performance/againstStable"
#: So many labels of each are played together: fewer say little, and cost a digit of the state each time.
_PLAYED = 20
#: Up to so many times as many wrong answers a candidate is not worse; the difference that a policy names decides.
_RATIO = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Labels of one revision: ``wrong`` of ``labels``."""

    labels: int = 0
    wrong: int = 0

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(labels=self.labels + other.labels, wrong=self.wrong + other.wrong)

    def __sub__(self, other: "Counted") -> "Counted":
        return Counted(labels=self.labels - other.labels, wrong=self.wrong - other.wrong)

    @property
    def accuracy(self) -> float:
        """The share that was right; 0 of none."""
        return (self.labels - self.wrong) / self.labels if self.labels else 0.0

    @property
    def events(self) -> Events:
        """The judge's form."""
        return Events(n=self.labels, events=self.wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """The evidence so far, against one stable revision. ``logs`` and ``ticks`` are the e-process's.

    ``seen`` are the totals of both watches up to which labels are in ``waiting`` or were played; they begin at 0 with
    every process, and what waited then is lost: some labels, never counted twice.
    """

    stable_revision: str
    ticks: int = 0
    logs: tuple[float, ...] = ()
    candidate: Counted = Counted()
    stable: Counted = Counted()
    waiting: tuple[Counted, Counted] = (Counted(), Counted())
    seen: tuple[Counted, Counted] = (Counted(), Counted())

    @property
    def evidence(self) -> float:
        """How strong the evidence is that the candidate is worse; 1: none."""
        return eprocess.restarting_evidence((self.logs,), self.ticks, weights=WORSE_WEIGHTS) if self.logs else 1.0

    def to_wire(self) -> dict[str, Any]:
        """Return what status keeps."""
        return {
            "revision": self.stable_revision,
            "evidence": float(f"{self.evidence:.6g}"),
            "labels": self.candidate.labels,
            "wrong": self.candidate.wrong,
            "stableLabels": self.stable.labels,
            "stableWrong": self.stable.wrong,
            "ticks": self.ticks,
            "logs": list(self.logs),
        }

    @classmethod
    def from_wire(cls, wire: Any) -> "Versus | None":
        """Return what a status keeps; None where it cannot be read, and the evidence begins anew."""
        try:
            logs = tuple(float(one) for one in wire["logs"])
            if len(logs) not in (0, len(WORSE_WEIGHTS)):
                return None
            return cls(
                stable_revision=str(wire["revision"]),
                ticks=int(wire["ticks"]),
                logs=logs,
                candidate=Counted(labels=int(wire["labels"]), wrong=int(wire["wrong"])),
                stable=Counted(labels=int(wire["stableLabels"]), wrong=int(wire["stableWrong"])),
            )
        except (KeyError, TypeError, ValueError):
            return None


def counted(total: FeedbackCounts) -> Counted:
    """Return the labels of classes in counts."""
    labels = sum(sum(row.values()) for row in total.confusion.values())
    right = sum(row.get(name, 0) for name, row in total.confusion.items() if name != OTHER)
    return Counted(labels=labels, wrong=labels - right)


def after(known: Versus, candidate: FeedbackCounts, stable: FeedbackCounts, *, tolerated: float) -> Versus:
    """Return the evidence after both watches have all of these labels. ``tolerated``: so much less accurate is none."""
    totals = counted(candidate), counted(stable)
    fresh = tuple(waits + (total - seen) for waits, total, seen in zip(known.waiting, totals, known.seen, strict=True))
    here, there = fresh
    known = replace(known, seen=totals, waiting=(here, there))
    if min(here.labels, there.labels) < _PLAYED:
        return known
    factors = log_worse_than_stable(here.events, there.events, ratio=_RATIO, difference=tolerated)
    return replace(
        known,
        logs=eprocess.advance_with_restarts(known.logs, factors, known.ticks),
        ticks=known.ticks + 1,
        candidate=known.candidate + here,
        stable=known.stable + there,
        waiting=(Counted(), Counted()),
    )


def alarm(known: Versus, *, limit: float, now: float) -> list[Open]:
    """Return the alarm that the candidate is worse, where the evidence is beyond ``limit``."""
    if known.evidence < limit:
        return []
    here, there = known.candidate, known.stable
    text = f"accuracy {share(here.accuracy)} of {here.labels} labels against {share(there.accuracy)} of {there.labels} "
    text += f"of {known.stable_revision} (evidence {known.evidence:.3g} > {limit:.3g})"
    numbers: Mapping[str, float] = {
        "accuracy": here.accuracy,
        "labels": float(here.labels),
        "stableAccuracy": there.accuracy,
        "stableLabels": float(there.labels),
        "evidence": log10(known.evidence) - log10(limit),
    }
    return [Open(signal=SignalClass.PERFORMANCE, name=NAME, since=now, message=text, evidence=numbers)]
