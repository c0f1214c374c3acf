"""What a split sees around it at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock_operator.core.autoscaling import Autoscaled
from penstock_operator.core.judge.judgement import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionState:
    """How a revision's pods are, and why it cannot load if that is certain."""

    ready: int
    wanted: int
    """Ready pods that make it complete."""
    failure: str | None = None
    scaled: Autoscaled | None = None
    """What its autoscaler says; None without one."""


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
class Wanted:
    """A candidate that spec asks for. ``revision`` is None while its ModelDeployment does not say which it is."""

    name: str
    revision: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a split sees around it at one moment."""

    now: float
    wanted: tuple[Wanted, ...]
    """The candidates that spec asks for, in its order."""
    deployment_stable: str | None
    revisions: Mapping[str, RevisionState]
    acknowledged: Mapping[str, int]
    """The weights that every router has acknowledged."""
    warm: frozenset[str]
    """Revisions that every router has resolved and found healthy."""
    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    """This tick's findings by revision; one that is not in it could not be judged yet."""
    judged: bool = False
    """Whether policies are asked at all."""
    frozen: str = ""
    """Why nothing may go forward now; empty while it may. Going back is never frozen."""
    mismatch: str = ""
    """Where requests do not go as the weights say; empty while they do."""

    shortage: str = ""
    """Which candidate has too few ready pods for its weight; empty where none has."""

    def state_of(self, revision: str) -> RevisionState:
        """Return how a revision is; one that no ModelDeployment knows has no pods."""
        return self.revisions.get(revision, RevisionState(ready=0, wanted=1))

    def is_up(self, revision: str) -> bool:
        """Return whether all pods of a revision are ready and every router knows them."""
        state = self.state_of(revision)
        return state.ready >= state.wanted > 0 and revision in self.warm

    def answers(self, revision: str) -> bool:
        """Return whether some pod of a revision is ready and every router knows it."""
        return self.state_of(revision).ready > 0 and revision in self.warm
