"""A candidate's labels beside those of the stable revision: what is gathered, and what is said of it."""

from dataclasses import replace

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.drift.live import versus
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.state import Watch, with_alarms
from penstock_operator.core.drift.live.versus import Versus


def compared(watch: Watch, stable: Watch | None, limits: Limits) -> Watch:
    """Return a candidate's watch after a look at both; against another stable revision the evidence begins anew."""
    demands = limits.demands
    if demands is None or demands.drop_max is None or stable is None:
        return replace(watch, versus=None) if watch.versus is not None else watch
    known = watch.versus
    if known is None or known.stable_revision != stable.revision:
        totals = versus.counted(_labels(watch)), versus.counted(_labels(stable))
        known = Versus(stable_revision=stable.revision, seen=totals)
    known = versus.after(known, _labels(watch), _labels(stable), tolerated=demands.drop_max)
    found = versus.alarm(known, limit=1 / demands.per_rollout, now=watch.looked_at)
    if not found and versus.NAME not in watch.open:
        return replace(watch, versus=known)
    return with_alarms(replace(watch, versus=known), found, about=versus.NAME.__eq__)


def _labels(watch: Watch) -> FeedbackCounts:
    return watch.rightness.total if watch.rightness is not None else FeedbackCounts()
