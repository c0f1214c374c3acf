"""How a difference in live traffic is told: one sentence with the numbers that decided."""

from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.engine import Alarm
from penstock_operator.core.drift.live.volume import Volume
from penstock_operator.core.drift.live.words import rate, share, short, span

_WRONG = {
    "missing": "missing",
    "invalid": "infinite",
    "outOfRange": "outside the reference's range",
    "unseen": "of a category that the reference never held",
}


def sentence(alarm: Alarm, *, rows: int, limit: float | None, explained: float | None = None) -> str:
    """Return what an alarm says. ``rows`` it looked at; ``limit`` of the policy; ``explained`` share of the shift."""
    name = short(alarm.name)
    bare = name.partition("/")[2]
    match alarm.kind:
        case Signal.INPUTS | Signal.OUTPUTS:
            text = f"{bare}: PSI {alarm.psi or 0.0:.2f} over {rows} rows"
            if limit is not None:
                text += f", limit {limit:g}"
            if explained is not None:
                text += f"; explains {explained:.2f} of the output shift"
            return text
        case Signal.CORRELATION:
            one, _, other = bare.partition("~")
            return f"{one} and {other} no longer go together as they did: {chance(alarm)} over {rows} rows"
        case Signal.CONTRIBUTION:
            text = f"the output no longer follows {bare} as it did: at least {alarm.lost:.0%} of their link is gone"
            return f"{text} over {rows} rows"
        case Signal.DATA_QUALITY:
            column, _, what = bare.rpartition("/")
            text = f"{column}: {share(alarm.live)} {_WRONG.get(what, what)} over {rows} rows"
            text += f", {share(alarm.known)} in the reference"
            return text if limit is None else f"{text}, limit {share(limit)}"
        case Signal.RANKING:
            text = f"inputs matter in another order than they did: nDCG {alarm.ndcg or 0.0:.2f} over {rows} rows"
            text += f", limit {limit:g}" if limit is not None else ""
            return f"{text}; {short(alarm.less)} counts for less by most" if alarm.less else text
        case Signal.MMD:
            text = f"inputs no longer go together as they did: MMD {alarm.distance or 0.0:.3f} over {rows} rows"
            return text if limit is None else f"{text}, limit {limit:g}"


def silence(seconds: float, limit_seconds: float) -> str:
    """Return what is said where no rows come any more."""
    return f"no row has come for {span(seconds)}, limit {span(limit_seconds)}"


def volume(of: Volume, ratio: float) -> str:
    """Return what is said where rows come more or less often than usual."""
    return f"{rate(of.recent)} of late, {rate(of.usual)} usually; limit {ratio:g} times more or fewer"


def chance(alarm: Alarm) -> str:
    """Return the numbers of the test."""
    return f"p {alarm.p:.1g} < {alarm.limit:.1g}"
