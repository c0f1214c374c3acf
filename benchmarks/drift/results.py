"""What came of all trials: shares, medians and rates, per contender and scenario."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

Record = dict[str, Any]
_NEVER = float("inf")


def delays(records: Iterable[Record]) -> list[Record]:
    """Return, per contender, length of windows and change: how often it was found and named, after how many rows."""
    return [
        {
            **_of(group[0]),
            "runs": len(group),
            "found": round(sum(one["rows"] is not None for one in group) / len(group), 3),
            "medianRows": _at(group, 0.5),
            "p90Rows": _at(group, 0.9),
            "named": dict(Counter(name for one in group for name in one["named"]).most_common(3)),
        }
        for group in _groups(records, "delay")
    ]


def nothing(records: Iterable[Record]) -> list[Record]:
    """Return how often something was said of what is nothing."""
    return [
        {
            **_of(group[0]),
            "runs": len(group),
            "said": round(sum(one["rows"] is not None for one in group) / len(group), 3),
        }
        for group in _groups(records, "nothing")
    ]


def false_alarms(records: Iterable[Record]) -> list[Record]:
    """Return the windows with an alarm while nothing drifts, over all references and for the worst of them."""
    found = []
    for group in _groups(records, "false alarms", "every"):
        windows, alarms = sum(one["windows"] for one in group), sum(one["alarms"] for one in group)
        rows, every = sum(one["rows"] for one in group), group[0]["every"]
        found.append(
            {
                **_of(group[0]),
                "every": every,
                "references": len(group),
                "windows": windows,
                "alarms": alarms,
                "share": round(alarms / windows, 5),
                "per500000Rows": round(alarms / rows * 500_000, 2),
                "timesBudget": None if every is None else round(alarms / windows * every, 2),
                "timesBudgetWorst": None if every is None else round(
                    max(one["alarms"] / one["windows"] for one in group) * every, 2
                ),
            }
        )  # fmt: skip
    return found


def rest(records: Iterable[Record], kind: str) -> list[Record]:
    """Return records of a kind that stand for themselves."""
    return [{key: value for key, value in one.items() if key != "kind"} for one in records if one["kind"] == kind]


def pick(cells: Iterable[Record], **wanted: Any) -> Record | None:
    """Return the first that has all of these."""
    return next((one for one in cells if all(one.get(key) == value for key, value in wanted.items())), None)


def _groups(records: Iterable[Record], kind: str, *more: str) -> list[Sequence[Record]]:
    groups: defaultdict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for one in records:
        if one["kind"] == kind:
            groups[tuple(one[key] for key in ("contender", "size", "scenario", *more))].append(one)
    return list(groups.values())


def _of(record: Record) -> Record:
    return {key: record[key] for key in ("contender", "size", "scenario")}


def _at(group: Sequence[Record], part: float) -> int | None:
    """Return the delay that this part of the runs had at most; None where so many never found it."""
    ordered = sorted(_NEVER if one["rows"] is None else float(one["rows"]) for one in group)
    last = min(len(ordered) - 1, int(part * len(ordered)))
    rows = statistics.median(ordered) if part == 0.5 else ordered[last]
    return None if rows == _NEVER else round(rows)
