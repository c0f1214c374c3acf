"""How drift is told: one JSON document, or a table of the windows in which something was found."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from penstock_cli.drift.judging import Window
from penstock_operator.core.drift.describe import Described
from penstock_operator.core.drift.engine import Alarm, Judge, Verdict

_PIPE_WIDTH = 10_000
_NAMES_SHOWN = 6


def as_json(judge: Judge, windows: Sequence[Window], *, psi_max: float | None, notes: Sequence[str]) -> str:
    """Return the documented document."""
    document = {
        "falseAlarmEvery": 1 / judge.budget.per_window,
        "lookBack": [2**level for level in range(judge.budget.levels)],
        "notes": list(notes),
        "windows": [_window(one, psi_max) for one in windows],
    }
    return json.dumps(document, allow_nan=False)


def _window(window: Window, psi_max: float | None) -> dict[str, Any]:
    found = {alarm.name for alarm in window.alarms}
    wire: dict[str, Any] = {
        "start": window.start,
        "rows": window.rows,
        "signals": [_signal(one, found, psi_max, full=bool(found)) for one in window.described],
        "alarms": list(dict.fromkeys(alarm.name for alarm in window.alarms)),
    }
    if window.alarms:
        wire["found"] = [_found(alarm) for alarm in window.alarms]
    return wire


def verdict(one: Described, found: set[str], psi_max: float | None) -> Verdict:
    """Return Fail where an alarm names the column, and its PSI is above the limit if there is one."""
    if one.psi is None:
        return Verdict.NO_DATA
    failed = one.name in found and (psi_max is None or one.psi > psi_max)
    return Verdict.FAIL if failed else Verdict.PASS


def _signal(one: Described, found: set[str], psi_max: float | None, *, full: bool) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "name": one.name,
        "psi": _short(one.psi),
        "psiAdjusted": _short(one.psi_adjusted),
        "pValue": _short(one.p),
        "verdict": verdict(one, found, psi_max).value,
    }
    if full:
        wire |= {
            "jensenShannon": _short(one.jensen_shannon),
            "kolmogorovSmirnov": _short(one.kolmogorov),
            "hellinger": _short(one.hellinger),
            "wasserstein": _short(one.wasserstein),
            "contribution": _short(one.contribution),
            "rank": one.rank,
        }
    return wire


def _found(alarm: Alarm) -> dict[str, Any]:
    return {"name": alarm.name, "windows": alarm.windows, "p": _short(alarm.p), "limit": _short(alarm.limit)}


def _short(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")


def print_table(judge: Judge, windows: Sequence[Window], *, psi_max: float | None, notes: Sequence[str]) -> None:
    """Print a line for each window in which something was found, and what to make of all of them."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    alarmed = [one for one in windows if one.alarms]
    if alarmed:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("ROWS", "PSI MAX", "FOUND"):
            table.add_column(column, overflow="fold")
        for one in alarmed:
            table.add_row(f"{one.start}-{one.start + one.rows - 1}", _worst(one, psi_max), _sentences(one, judge))
        console.print(table)
    chance = len(windows) * judge.budget.per_window
    console.print(f"{len(alarmed)} of {len(windows)} windows with an alarm; by chance, at most {chance:.2g} expected")
    names = Counter(name for one in alarmed for name in dict.fromkeys(alarm.name for alarm in one.alarms))
    if names:
        console.print(
            "most often: " + ", ".join(f"{name} ({count})" for name, count in names.most_common(_NAMES_SHOWN))
        )
    for note in notes:
        console.print(f"note: {note}")


def _worst(window: Window, psi_max: float | None) -> str:
    known = [one for one in window.described if one.psi is not None]
    if not known:
        return "-"
    worst = max(known, key=lambda one: one.psi or 0.0)
    color = "red" if verdict(worst, {alarm.name for alarm in window.alarms}, psi_max) is Verdict.FAIL else "default"
    return f"[{color}]{worst.psi:.3f} {worst.name}[/]"


def _sentences(window: Window, judge: Judge) -> str:
    lines = [
        f"{alarm.name}: p {alarm.p:.1g} < {alarm.limit:.1g} over {alarm.windows * judge.window_rows} rows"
        for alarm in window.alarms[:_NAMES_SHOWN]
    ]
    more = len(window.alarms) - len(lines)
    return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)
