"""One revision under watch: rows are gathered into windows, and windows are judged."""

from collections.abc import Mapping
from dataclasses import replace

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.drift.live import rightness, wording
from penstock_operator.core.drift.live.episodes import Open
from penstock_operator.core.drift.live.judging import FLOW, MONTH_SECONDS, SILENCE, VOLUME, judged
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.news import news
from penstock_operator.core.drift.live.rightness import Demands, Rightness
from penstock_operator.core.drift.live.state import (
    COVERAGE_MIN,
    Look,
    Reference,
    Seen,
    Watch,
    begin,
    with_alarms,
)

__all__ = ["COVERAGE_MIN", "MONTH_SECONDS", "Look", "Reference", "Seen", "Watch", "after", "begin"]


def after(watch: Watch, look: Look, reference: Reference, limits: Limits) -> Watch:
    """Return what is known after a look; where too few pods could be read, nothing is judged and nothing is lost."""
    seconds = look.now - watch.looked_at
    shape = reference.shape
    fresh = news(watch.known, look.reads, shape, present=look.present, since=watch.since, seconds=seconds)
    refused = {**look.refused, **fresh.refused}
    trusted = sum(pod in look.reads and pod not in refused for pod in look.ready)
    coverage, before = (trusted / len(look.ready) if look.ready else 0.0), watch.coverage
    watch = replace(
        watch,
        looked_at=look.now,
        known=fresh.known,
        partial=fresh.numbers if watch.partial is None else watch.partial + fresh.numbers,
        coverage=coverage,
        refused=tuple(refused.values()),
    )
    watch = _told(watch, fresh.feedback, limits)
    if coverage < COVERAGE_MIN:
        return watch
    # After a look at too few pods rows of more than one look have come, and nobody knows how many of each.
    since = seconds if before >= COVERAGE_MIN else 0.0
    watch = replace(watch, volume=watch.volume.after(int(fresh.numbers[0]), since, look.now))
    if reference.judge is not None and watch.waiting >= reference.judge.window_rows:
        watch = judged(watch, reference, reference.judge, limits)
    return with_alarms(watch, _flow(watch, limits), about=FLOW.__contains__)


def _told(watch: Watch, news: FeedbackCounts, limits: Limits) -> Watch:
    """Return the watch with labels that have come; alarms about them are looked for when there are enough."""
    known = watch.rightness or Rightness(since=watch.since)
    per_second = limits.per_30_days / MONTH_SECONDS
    known, found = rightness.told(
        known, news, limits.demands or Demands(), alarms_per_second=per_second, now=watch.looked_at
    )
    watch = replace(watch, rightness=known)
    return watch if found is None else with_alarms(watch, found, about=rightness.LABELLED.__eq__)


def _flow(watch: Watch, limits: Limits) -> list[Open]:
    """Return what is wrong with how often rows come, which needs no window to be full."""
    found: list[Open] = []
    silent = watch.volume.silent_seconds(watch.looked_at)
    if limits.silence_seconds is not None and silent > limits.silence_seconds:
        message = wording.silence(silent, limits.silence_seconds)
        found.append(_of_flow(SILENCE, watch, message, {"seconds": silent, "limit": limits.silence_seconds}))
        return found  # that fewer rows come is then no news
    change, ratio = watch.volume.change(), limits.volume_ratio
    if ratio is not None and change is not None and not 1 / ratio <= change <= ratio:
        message = wording.volume(watch.volume, ratio)
        found.append(_of_flow(VOLUME, watch, message, {"times": change, "limit": ratio}))
    return found


def _of_flow(name: str, watch: Watch, message: str, evidence: Mapping[str, float]) -> Open:
    return Open(
        signal=SignalClass.DATA_QUALITY, name=name, since=watch.looked_at, message=message, evidence=dict(evidence)
    )
