"""What a policy asks of live traffic: which signals are watched, and how large a difference has to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.engine import Alarm
from penstock_operator.core.drift.live.against import Against
from penstock_operator.core.drift.live.rightness import Demands

#: What of the engine is which class of signals for actions.
CLASSES = {
    Signal.INPUTS: SignalClass.INPUTS,
    Signal.OUTPUTS: SignalClass.OUTPUTS,
    Signal.CORRELATION: SignalClass.CORRELATION,
    Signal.CONTRIBUTION: SignalClass.CONTRIBUTION,
    Signal.DATA_QUALITY: SignalClass.DATA_QUALITY,
    Signal.MMD: SignalClass.INPUTS,
    Signal.RANKING: SignalClass.CONTRIBUTION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """An alarm of the engine says that something differs; it counts where it differs by more than these.

    ``features``: patterns of the names of inputs that are watched. ``psi_max``: by class, of inputs and outputs;
    ``lost_min``: the share of an input's link to the output that must surely be gone. ``rates``: by what is wrong with
    values (``missing``, ``invalid``, ``outOfRange``, ``unseen``), the share of rows that may be. ``volume_ratio``: how
    many times more or fewer rows than usual there may be; ``silence_seconds``: how long there may be none.
    ``window_rows`` and ``per_30_days`` say how often is looked, and how often in vain.
    ``demands``: how often the model must be right. ``distance_max``: how far all inputs together may have moved;
    ``ndcg_min``: what the order of contributions must be worth. ``against``: what live rows are compared with.
    """

    kinds: frozenset[Signal]
    window_rows: int
    per_30_days: float
    features: tuple[str, ...] = ("*",)
    psi_max: Mapping[Signal, float] = field(default_factory=dict)
    lost_min: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)
    volume_ratio: float | None = None
    silence_seconds: float | None = None
    demands: Demands | None = None
    distance_max: float = 0.0
    ndcg_min: float | None = None
    against: Against = field(default_factory=Against)

    def count(self, alarm: Alarm) -> bool:
        """Return whether a difference is one that the policy wants to hear of."""
        match alarm.kind:
            case Signal.INPUTS:
                return self.watches(alarm.name) and _above(alarm.psi, self.psi_max.get(alarm.kind))
            case Signal.OUTPUTS:
                return _above(alarm.psi, self.psi_max.get(alarm.kind))
            case Signal.CONTRIBUTION:
                return self.watches(alarm.name) and alarm.lost >= self.lost_min
            case Signal.DATA_QUALITY:
                limit = self.rates.get(alarm.name.rpartition("/")[2])
                # Missing values that became rarer are an alarm of the engine, too; whoever sets a limit asks for more.
                return limit is None or alarm.live > limit
            case Signal.MMD:
                return alarm.distance is None or alarm.distance > self.distance_max
            case _:
                return True

    def limit_of(self, alarm: Alarm) -> float | None:
        """Return the limit that a difference is told with; None where any difference counts."""
        if alarm.kind is Signal.DATA_QUALITY:
            return self.rates.get(alarm.name.rpartition("/")[2])
        if alarm.kind is Signal.MMD:
            return self.distance_max
        if alarm.kind is Signal.RANKING:
            return self.ndcg_min
        return self.psi_max.get(alarm.kind)

    def watches(self, name: str) -> bool:
        """Return whether an input is among those that are watched, by its name with or without its kind."""
        bare = name.partition("/")[2]
        return any(fnmatchcase(bare, pattern) for pattern in self.features)


def _above(psi: float | None, limit: float | None) -> bool:
    return limit is None or psi is None or psi > limit
