"""What is known of a revision under watch, and what one look at its pods says."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from penstock_operator.core.drift.describe import Described
from penstock_operator.core.drift.engine import Judge, Memory
from penstock_operator.core.drift.live.episodes import Open, carried
from penstock_operator.core.drift.live.flat import Ints, Read, Shape
from penstock_operator.core.drift.live.rightness import Rightness
from penstock_operator.core.drift.live.versus import Versus
from penstock_operator.core.drift.live.volume import Volume
from penstock_operator.core.drift.performance import Estimator

#: With fewer of the pods read nothing is judged: those that are missing may have other traffic.
COVERAGE_MIN = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What live rows are compared with, and the order of the numbers that pods send.

    Without a ``judge`` rows are only gathered.
    """

    shape: Shape
    judge: Judge | None = None
    estimator: Estimator | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A column in the window that was judged last; ``explained``: its share of the output's shift, where that moved."""

    described: Described
    explained: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is known of a revision. ``windows`` and ``rows`` were judged, also by operators before this one.

    ``partial`` has been counted since ``opened_at`` and is not judged yet. Times are Unix seconds.
    """

    revision: str
    since: float
    looked_at: float
    opened_at: float
    known: Mapping[str, Read] = field(default_factory=dict)
    partial: Ints | None = None
    windows: int = 0
    rows: int = 0
    window_seconds: float | None = None
    sizes: tuple[int, ...] = ()
    memory: Memory | None = None
    open: Mapping[str, Open] = field(default_factory=dict)
    columns: tuple[Seen, ...] = ()
    coverage: float = 1.0
    refused: tuple[str, ...] = ()
    volume: Volume = field(default_factory=Volume)
    rightness: Rightness | None = None
    versus: Versus | None = None
    together: Mapping[str, float] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Rows that wait for their window to be full."""
        return 0 if self.partial is None else int(self.partial[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen at one look: what pods said, which are ready, and which there are.

    ``refused``: by pod, why what it said is of no use.
    """

    now: float
    reads: Mapping[str, Read]
    ready: Collection[str]
    present: Collection[str]
    refused: Mapping[str, str] = field(default_factory=dict)


def begin(revision: str, now: float) -> Watch:
    """Return the watch over a revision that nobody has watched before."""
    return Watch(revision=revision, since=now, looked_at=now, opened_at=now)


def with_alarms(watch: Watch, found: Iterable[Open], *, about: Callable[[str], bool]) -> Watch:
    """Return the watch after alarms that are ``about`` something were looked for."""
    return replace(watch, open=carried(watch.open, found, about=about, revision=watch.revision))
