"""What a person wants to know of an endpoint."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from penstock_cli.wire import Wire, name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The Ready condition of one object.

    ``status`` is True, False or Unknown; ``current`` says whether it speaks of the present spec, ``stalled`` whether
    it stays as it is until a person does something.
    """

    kind: str
    name: str
    status: str
    reason: str
    message: str
    current: bool
    stalled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionView:
    """One revision behind an endpoint. ``weight`` is the share in percent that the routers have acknowledged."""

    name: str
    role: str
    weight: int
    ready: int
    wanted: int
    phase: str
    reason: str
    message: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView:
    """What one metric of one policy says of a candidate."""

    revision: str
    policy: str
    metric: str
    verdict: str
    message: str
    evidence: float | None
    limit: float | None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateView:
    """Where one candidate is. ``step`` counts from 1; ``weight`` is what it should have, in percent."""

    name: str
    revision: str
    phase: str
    weight: int
    realised_share: float | None
    step: int
    steps: int
    doing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """Where a rollout is. ``step`` is the first candidate's, and 0 when none is under way."""

    phase: str
    step: int
    steps: int
    doing: str
    verdict: str
    candidates: tuple[CandidateView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PastView:
    """How one rollout ended."""

    revision: str
    outcome: str
    finished_at: str
    by: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandView:
    """The last command and what came of it."""

    verb: str
    by: str
    at: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """One endpoint: a TrafficSplit with its ModelDeployment, or a ModelDeployment alone."""

    namespace: str
    name: str
    url: str
    split: str
    model_deployment: str
    readiness: tuple[Readiness, ...]
    rollout: RolloutView | None
    revisions: tuple[RevisionView, ...]
    findings: tuple[FindingView, ...]
    last_command: CommandView | None
    history: tuple[PastView, ...]

    @property
    def ready(self) -> bool:
        """Whether every part of it is Ready for its present spec."""
        return all(part.status == "True" and part.current for part in self.readiness)

    @property
    def state(self) -> str:
        """``Ready``; ``Stalled``, which needs a person; or ``Reconciling``, which needs time."""
        if self.ready:
            return "Ready"
        return "Stalled" if any(part.stalled for part in self.readiness) else "Reconciling"

    def to_json(self) -> dict[str, Any]:
        """Return the form of ``-o json``."""
        fields = {**asdict(self), "ready": self.ready, "state": self.state}
        return {_camel_name(name): _camel(value) for name, value in fields.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All objects of Penstock in one namespace."""

    namespace: str
    splits: Sequence[Wire]
    deployments: Sequence[Wire]
    policies: Sequence[Wire]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that may be asked for."""
        return tuple(sorted({name_of(wire) for wire in (*self.splits, *self.deployments, *self.policies)}))


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel_name(key): _camel(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_camel(entry) for entry in value]
    return value


def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
