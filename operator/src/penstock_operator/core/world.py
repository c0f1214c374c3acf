"""What a split sees around it at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock_operator.core.judge.judgement import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionState:
    """How a revision's pods are, and why it cannot load if that is certain."""

    ready: int
    wanted: int
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one metric of one policy says at this tick."""

    policy: str
    metric: str
    verdict: Verdict
    message: str
    rolls_back: bool
    needs_stable: bool
    """Whether it compares with concurrent stable traffic, of which there is none at 100 %."""

    @property
    def source(self) -> str:
        """``policy/metric``."""
        return f"{self.policy}/{self.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a split sees around it at one moment."""

    now: float
    latest: str | None
    deployment_stable: str | None
    revisions: Mapping[str, RevisionState]
    acknowledged: Mapping[str, int]
    """The weights that every router has acknowledged."""
    warm: frozenset[str]
    """Revisions that every router has resolved and found healthy."""
    findings: tuple[Finding, ...] | None = None
    """This tick's findings; None when nothing could be judged yet."""
    judged: bool = False
    """Whether policies are asked at all."""
