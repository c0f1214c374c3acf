"""How a replay is told: one JSON document, or a table with a sentence for each file."""

import json
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import track
from rich.table import Table

from penstock_cli.replay.judging import Action, JudgedTick, Outcome, Replay
from penstock_operator.core.judge.judgement import Verdict

_PIPE_WIDTH = 10_000
_STYLES = {Outcome.ROLLED_BACK: "red", Outcome.PROMOTED: "green", Outcome.UNDECIDED: "yellow"}


def watched(files: Sequence[str]) -> Iterator[str]:
    """Yield the files, with a progress bar on a terminal."""
    return iter(track(files, description="Replaying", console=Console(stderr=True), disable=not sys.stderr.isatty()))


def as_json(replays: Sequence[Replay]) -> str:
    """Return the documented list."""
    return json.dumps([one.to_json() for one in replays])


def print_table(replays: Sequence[Replay]) -> None:
    """Print one line for each file, and a count of the outcomes."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("FILE", "OUTCOME", "AT", "TICKS", "ON"):
        table.add_column(column, overflow="fold")
    for one in replays:
        decided = "-" if one.decided_at is None else f"{one.decided_at:g}"
        outcome = f"[{_STYLES[one.outcome]}]{one.outcome.value}[/]"
        table.add_row(one.file, outcome, decided, str(len(one.ticks)), _reasons(one))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    console.print(table)
    counts = {outcome: sum(one.outcome is outcome for one in replays) for outcome in Outcome}
    console.print(", ".join(f"{count} {outcome.value}" for outcome, count in counts.items() if count))


def _reasons(one: Replay) -> str:
    return "\n".join(_sentences(one.ticks[-1])) if one.ticks else "no ticks in this file"


def _sentences(tick: JudgedTick) -> Iterator[str]:
    """Yield what decided at this tick; where nothing did, how everything stands."""
    for policy, judgement in tick.judgements:
        if tick.action is not Action.ROLLBACK or judgement.verdict is Verdict.FAIL:
            yield f"{policy}/{judgement.metric}: {judgement.verdict.value}: {judgement.message}"
