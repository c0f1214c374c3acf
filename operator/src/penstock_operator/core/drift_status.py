"""What a policy's status says of live traffic: signals, windows, targets, and whether all is well."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import nsmallest
from typing import Any

from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.conditions import Reason, Saying, timestamp, unix_seconds
from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.live import words
from penstock_operator.core.drift.live.episodes import Open
from penstock_operator.core.drift.live.state import Seen, Watch, begin
from penstock_operator.core.drift.live.versus import Versus
from penstock_operator.core.drift.live.volume import Volume
from penstock_operator.core.drift_sight import Sight
from penstock_operator.core.traffic_report import TrafficReport
from penstock_operator.core.watched import Watched

SIGNALS_LIMIT = 20
TARGETS_LIMIT = 100
_DIGITS = 6
#: A defect of the data explains everything else, an input what the outputs do.
_ORDER = {
    SignalClass.DATA_QUALITY: Reason.DATA_QUALITY_BREACHED,
    SignalClass.INPUTS: Reason.INPUT_DRIFT,
    SignalClass.CONTRIBUTION: Reason.CONTRIBUTION_DRIFT,
    SignalClass.CORRELATION: Reason.CORRELATION_DRIFT,
    SignalClass.OUTPUTS: Reason.OUTPUT_DRIFT,
    SignalClass.PERFORMANCE: Reason.PERFORMANCE_BREACHED,
}
#: A pod whose counts are refused does not keep the others from being judged.
_JUDGED = frozenset({Reason.WATCHING, Reason.COLLECTING_ROWS, Reason.COUNTS_REFUSED})
_PLACES = {signal: place for place, signal in enumerate(_ORDER)}


def report(sights: Sequence[Sight], now: float) -> TrafficReport:
    """Return all that status says of live traffic."""
    if not sights:
        return TrafficReport(health=health(sights), watching=watching(sights))
    return TrafficReport(
        health=health(sights),
        watching=watching(sights),
        signals=signals(sights),
        windows=windows(sights, now),
        targets=targets(sights),
    )


def health(sights: Sequence[Sight]) -> Saying:
    """Return whether live traffic is as it should be."""
    failing = sorted(
        ((one, sight) for sight in sights for one in sight.watch.open.values()),
        key=lambda pair: (_PLACES[pair[0].signal], *_strongest_first(pair[0])),
    )
    if failing:
        one, sight = failing[0]
        where = f"{sight.watched.model_deployment}: " if _several(sights) else ""
        more = f" (and {len(failing) - 1} more signals)" if len(failing) > 1 else ""
        message = f"{where}{words.told(one.message, sight.watched.segment)}{more}"
        return Saying(status=False, reason=_ORDER[one.signal], message=message)
    judged = [sight for sight in sights if sight.watch.windows and sight.state.reason in _JUDGED]
    if judged:
        rows = sum(sight.watch.rows for sight in _whole(judged))
        return Saying(status=True, reason=Reason.HEALTHY, message=f"nothing has drifted: {rows} rows were judged")
    state = watching(sights)
    reason = Reason.CANNOT_JUDGE if state.status is False else Reason.NOTHING_TO_JUDGE
    return Saying(status=None, reason=reason, message=state.message)


def watching(sights: Sequence[Sight]) -> Saying:
    """Return whether live traffic can be judged, and how that goes."""
    states = [(sight, sight.state) for sight in sights]
    for wanted, status in ((_is_problem, False), (_is_collecting, None), (lambda _: True, True)):
        found = [(sight, state) for sight, state in states if wanted(state.reason)]
        if found:
            sight, state = found[0]
            where = f"{words.told(sight.watched.revision, sight.watched.segment)}: " if len(sights) > 1 else ""
            of = f"{len(found)} of {len(sights)}: " if len(sights) > 1 and status is not True else ""
            return Saying(status=status, reason=state.reason, message=f"{of}{where}{state.message}")
    return Saying(status=None, reason=Reason.NOTHING_TO_JUDGE, message="no revision has traffic yet")


def _is_collecting(reason: Reason) -> bool:
    return reason in (Reason.COLLECTING_ROWS, Reason.GATHERING_REFERENCE)


def _is_problem(reason: Reason) -> bool:
    return reason is not Reason.WATCHING and not _is_collecting(reason)


def _strongest_first(one: Open) -> tuple[float, float, str]:
    return -abs(one.evidence.get("explained", 0.0)), -one.evidence.get("evidence", 0.0), one.name


def signals(sights: Sequence[Sight]) -> list[dict[str, Any]]:
    """Return what the worst signals say: alarms, then columns by how far they have moved."""
    ranked = (entry for sight in sights for entry in _ranked(sight))
    return [_entry(sight, what) for _, sight, what in nsmallest(SIGNALS_LIMIT, ranked, key=lambda entry: entry[0])]


def _ranked(sight: Sight) -> Iterator[tuple[tuple[float | str, ...], Sight, Open | Seen]]:
    for one in sight.watch.open.values():
        yield (0.0, float(_PLACES[one.signal]), *_strongest_first(one)), sight, one
    for column in sight.watch.columns:
        if column.described.name not in sight.watch.open and _is_asked(sight, column):
            yield (1.0, -(column.described.psi_adjusted or 0.0)), sight, column


def _entry(sight: Sight, what: Open | Seen) -> dict[str, Any]:
    about = _about(sight)
    if isinstance(what, Seen):
        verdict = "NoData" if what.described.psi is None else "Pass"
        name = words.named(words.short(what.described.name), sight.watched.segment)
        return {"name": name, "verdict": verdict, **about, **_numbers(what)}
    column = next((one for one in sight.watch.columns if one.described.name == what.name), None)
    return {
        "name": words.named(words.short(what.name), sight.watched.segment),
        "verdict": "Fail",
        **about,
        **(_numbers(column) if column else {}),
        **_rounded({"psi": what.evidence.get("psi"), "evidence": what.evidence.get("evidence")}),
        "since": timestamp(what.since),
        "message": words.told(what.message, sight.watched.segment),
    }


def _about(sight: Sight) -> dict[str, str]:
    about = {"modelDeployment": sight.watched.model_deployment, "revision": sight.watched.revision}
    return {**about, "segment": sight.watched.segment} if sight.watched.segment else about


def _several(sights: Sequence[Sight]) -> bool:
    return len({(sight.watched.model_deployment, sight.watched.revision) for sight in sights}) > 1


def _whole(sights: Sequence[Sight]) -> list[Sight]:
    """Return those of all traffic: the rows of segments are among theirs."""
    return [sight for sight in sights if not sight.watched.segment]


def _is_asked(sight: Sight, column: Seen) -> bool:
    is_input = column.described.name.startswith("inputs/")
    kind = Signal.INPUTS if is_input else Signal.OUTPUTS
    return kind in sight.limits.kinds and (not is_input or sight.limits.watches(column.described.name))


def _numbers(column: Seen) -> dict[str, Any]:
    one = column.described
    numbers = _rounded({"psi": one.psi_adjusted, "pValue": one.p, "contribution": column.explained})
    return numbers if one.rank is None else {**numbers, "rank": one.rank}


def _rounded(numbers: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(f"{number:.{_DIGITS}g}") for name, number in numbers.items() if number is not None}


def windows(sights: Sequence[Sight], now: float) -> dict[str, Any]:
    """Return what was judged, over all targets."""
    return {
        "rows": sum(sight.watch.rows for sight in _whole(sights)),
        "judged": sum(sight.watch.windows for sight in _whole(sights)),
        "coverage": round(min(sight.watch.coverage for sight in sights), 4),
        "since": timestamp(min(sight.watch.since for sight in sights)),
        "at": timestamp(now),
    }


def targets(sights: Sequence[Sight]) -> list[dict[str, Any]]:
    """Return the revisions under watch, those with a problem first."""
    entries = [(sight.state, sight) for sight in sights]
    entries.sort(key=lambda pair: (not _is_problem(pair[0].reason), pair[1].watched.revision))
    return [_target(sight) for _, sight in entries[:TARGETS_LIMIT]]


def _target(sight: Sight) -> dict[str, Any]:
    watch, state = sight.watch, sight.state
    last = watch.volume.last_row_at
    performance = watch.rightness.numbers(watch.rows) if watch.rightness is not None else {}
    return {
        **_about(sight),
        "role": sight.watched.role.value,
        "reason": state.reason.value,
        "message": state.message,
        "rows": watch.rows,
        "judged": watch.windows,
        "waiting": watch.waiting,
        "coverage": round(watch.coverage, 4),
        "since": timestamp(watch.since),
        "observedSeconds": round(watch.volume.seconds, 1),
        **({"windowRows": sight.judge.window_rows} if sight.judge is not None else {}),
        **_rounded({"windowSeconds": watch.window_seconds, "rowsPerSecond": watch.volume.usual}),
        **({"lastRowAt": timestamp(last)} if last is not None else {}),
        **({"performance": _rounded(performance)} if performance else {}),
        **({"againstStable": watch.versus.to_wire()} if watch.versus is not None else {}),
        **({"together": _rounded(watch.together)} if watch.together else {}),
    }


def restored(watched: Watched, live: Mapping[str, Any], now: float) -> Watch:
    """Return the watch over a revision as an operator before this one left it in status: what it knew in numbers.

    Rows that it had not judged are lost, and so is what longer look-backs had of windows before; alarms go on until
    they were looked for in vain.
    """
    watch = begin(watched.revision, now)
    for one in live.get("targets", ()):
        if not _is_about(watched, one) or one.get("segment", "") != watched.segment:
            continue
        last = one.get("lastRowAt")
        watch = replace(
            watch,
            windows=int(one.get("judged", 0)),
            rows=int(one.get("rows", 0)),
            window_seconds=one.get("windowSeconds"),
            versus=Versus.from_wire(one.get("againstStable")),
            volume=Volume(
                usual=one.get("rowsPerSecond"),
                recent=one.get("rowsPerSecond"),
                seconds=float(one.get("observedSeconds", 0.0)),
                last_row_at=unix_seconds(last) if last else None,
            ),
        )
    return replace(watch, open={one.name: one for one in _alarms(watched, live)})


def _alarms(watched: Watched, live: Mapping[str, Any]) -> Iterator[Open]:
    for one in live.get("alarms", ()):
        name = _unnamed(one["name"], watched.segment)
        if not _is_about(watched, one) or name is None:
            continue
        signal = SignalClass(one["signal"])
        if signal in _PLACES and one.get("state") != "Ended":
            yield Open(
                signal=signal,
                name=name,
                since=unix_seconds(one["since"]),
                message=one.get("message", "").removeprefix(words.told("", watched.segment)),
                window_id=one["window"],
                evidence=one.get("evidence", {}),
                seen=one.get("seen", "1"),
            )


def _is_about(watched: Watched, entry: Mapping[str, Any]) -> bool:
    return (entry.get("revision"), entry.get("modelDeployment")) == (watched.revision, watched.model_deployment)


def _unnamed(name: str, segment: str) -> str | None:
    """Return the name of a signal without its segment, None where it is another one's."""
    if segment:
        bare = name.removesuffix(words.named("", segment))
        return bare if bare != name else None
    return None if name.endswith("]") and " [" in name else name
