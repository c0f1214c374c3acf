"""The parts of a report that status tells: alarms, the decision and its numbers, what happened when."""

from datetime import datetime

from penstock_cli.report.charts import Moment, time_line
from penstock_cli.report.gathering import Gathered
from penstock_cli.report.markup import Child, Safe, element, join
from penstock_cli.report.table import NONE, shown, table
from penstock_cli.wire import Wire, items, part, text

_MOODS = {"True": "good", "False": "bad", "Pass": "good", "Fail": "bad", "Firing": "bad", "Failed": "bad"}


def badge(label: str, status: str) -> Safe:
    """Return a word that says how something is, in words and in colour."""
    return element("span", f"{label}: {status}", class_=f"badge {_MOODS.get(status, 'unknown')}")


def alarms(policy: Wire) -> Safe:
    """Return what stands now, and what has followed."""
    found = items(part(policy, "status"), "alarms")
    omitted = part(policy, "status").get("alarmsOmitted")
    rows = [
        [
            element("span", text(one, "state"), class_=_MOODS.get(text(one, "state"), "")),
            text(one, "name"),
            text(one, "revision") or text(one, "modelDeployment"),
            text(one, "message"),
            _since(one),
            join(", ".join(_words(one, "actions")) or "nothing", _small(text(one, "held"))),
        ]
        for one in found
    ]
    return _section(
        "Alarms",
        table(("State", "Signal", "Revision", "Numbers", "Since", "What followed"), rows)
        if rows
        else element("p", "No alarm stands.", class_="quiet"),
        element("p", f"{omitted} more alarms wait for room.", class_="quiet") if omitted else None,
    )


def targets(policy: Wire) -> Safe | None:
    """Return what is watched, and why what is not watched is not."""
    rows = [
        [
            f"{text(one, 'revision')} [{segment}]" if (segment := text(one, "segment")) else text(one, "revision"),
            text(one, "role"),
            element("span", text(one, "reason"), class_="" if text(one, "reason") == "Watching" else "unknown"),
            text(one, "message"),
            text(one, "rows"),
            text(one, "judged"),
            text(one, "windowRows"),
        ]
        for one in items(part(policy, "status"), "targets")
    ]
    heads = ("Revision", "Role", "State", "In words", "Rows judged", "Windows", "Rows a window")
    return _section("What is watched", table(heads, rows, numbers=(4, 5, 6))) if rows else None


def decision(gathered: Gathered) -> Safe | None:
    """Return what was decided about a candidate, metric by metric, and on what numbers."""
    status = part(gathered.split or {}, "status")
    name = text(part(gathered.policy, "metadata"), "name")
    judged = [one for one in items(status, "analysis") if text(one, "policy") == name]
    if not judged:
        return None
    candidates = ", ".join(
        f"{text(one, 'revision')} at {text(one, 'weight') or 0}%" for one in items(status, "candidates")
    )
    told = f"TrafficSplit {text(part(gathered.split or {}, 'metadata'), 'name')} is {text(status, 'phase')}"
    rows = [
        [
            text(one, "metric"),
            element("span", text(one, "verdict"), class_=_MOODS.get(text(one, "verdict"), "unknown")),
            _number(one, "evidence"),
            _number(one, "limit"),
            _arm(part(one, "stable")),
            _arm(part(one, "candidate")),
            text(one, "message"),
        ]
        for one in judged
    ]
    heads = ("Metric", "Verdict", "Evidence", "Decides at", "Stable", "Candidate", "In words")
    return _section(
        "The decision and its numbers",
        element("p", f"{told}; stable is {text(status, 'stableRevision')}; candidate: {candidates or 'none'}."),
        table(heads, rows, numbers=(2, 3)),
    )


def times(gathered: Gathered, now: datetime) -> Safe:
    """Return what happened when."""
    status = part(gathered.policy, "status")
    moments = [
        Moment(
            at=at,
            label=f"{_clock(text(one, 'since'))} {text(one, 'name')}: {text(one, 'state')}",
            kind="bad",
            until=_seconds(text(one, "changedAt")) if text(one, "state") == "Ended" else now.timestamp(),
        )
        for one in items(status, "alarms")
        if (at := _seconds(text(one, "since"))) is not None
    ]
    moments += [
        Moment(at=at, label=f"{_clock(text(one, 'at'))} {text(one, 'action')}: {text(one, 'metric')}", kind="bad")
        for one in items(status, "history")
        if (at := _seconds(text(one, "at"))) is not None
    ]
    moments += [
        Moment(
            at=at, label=f"{_clock(text(one, 'at'))} training {text(one, 'name')}: {text(one, 'state')}", kind="good"
        )
        for one in items(status, "trainings")
        if (at := _seconds(text(one, "at"))) is not None
    ]
    moments += [
        Moment(
            at=at,
            label=" ".join(
                (_clock(text(one, "finishedAt")), text(one, "revision"), text(one, "outcome"), text(one, "by"))
            ),
            kind="good" if text(one, "outcome") == "Promoted" else "bad",
        )
        for one in items(part(gathered.split or {}, "status"), "history")
        if (at := _seconds(text(one, "finishedAt"))) is not None
    ]
    return _section("Time line", time_line(sorted(moments, key=lambda one: one.at), until=now.timestamp()))


def trainings(policy: Wire) -> Safe | None:
    """Return the trainings of the last 30 days."""
    rows = [
        [_clock(text(one, "at")), text(one, "name"), text(one, "state"), text(one, "alarm"), text(one, "message")]
        for one in items(part(policy, "status"), "trainings")
    ]
    return _section("Trainings", table(("When", "Job", "State", "Because of", "Message"), rows)) if rows else None


def history(policy: Wire) -> Safe | None:
    """Return the last actions."""
    rows = [
        [
            _clock(text(one, "at")),
            f"{text(one, 'action')}{' (rehearsed)' if one.get('dryRun') else ''}",
            text(one, "metric"),
            text(one, "revision"),
            text(one, "message"),
        ]
        for one in items(part(policy, "status"), "history")
    ]
    heads = ("When", "Action", "Signal", "Revision", "On what numbers")
    return _section("The last actions", table(heads, rows)) if rows else None


def _section(title: str, *children: Child) -> Safe:
    return element("section", element("h2", title), *children)


def _small(words: str) -> Safe | None:
    return element("small", f" {words}") if words else None


def _words(wire: Wire, field: str) -> list[str]:
    found = wire.get(field)
    return [str(word) for word in found] if isinstance(found, list) else []


def _arm(arm: Wire) -> str:
    value, count = arm.get("value"), arm.get("n")
    if not isinstance(value, (int, float)):
        return NONE
    return f"{value:.4g} of {count}" if count is not None else f"{value:.4g}"


def _number(wire: Wire, field: str) -> str:
    value = wire.get(field)
    return shown(float(value)) if isinstance(value, (int, float)) else NONE


def _since(one: Wire) -> str:
    since = _clock(text(one, "since"))
    return f"{since} to {_clock(text(one, 'changedAt'))}" if text(one, "state") == "Ended" else since


def _clock(timestamp: str) -> str:
    return timestamp[:16].replace("T", " ")


def _seconds(timestamp: str) -> float | None:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return None
