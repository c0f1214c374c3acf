"""Shows a person what a profile holds."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from penstock_contract.profile import Calibration, Column, Kind, Profile


def show(profile: Profile, path: Path, notes: Sequence[str]) -> None:
    """Print a line for each column, what was noted, and where the profile is."""
    console = Console()
    table = Table(title=f"{profile.rows} rows of {profile.source_name}", title_justify="left")
    # Where it is narrow, names and categories go on in the next line: half a number is none.
    table.add_column("column", overflow="fold")
    for name in ("bins", "missing", "min", "mean", "sd", "max"):
        table.add_column(name, justify="right", overflow="fold", no_wrap=name != "mean")
    for column, counts in zip(profile.columns, profile.counts.columns, strict=True):
        table.add_row(column.name, str(column.bins), _share(counts.missing, profile.rows),
                      *_numbers(column))  # fmt: skip
    console.print(table)
    for calibration in profile.calibration:
        console.print(_calibrated(profile, calibration), highlight=False)
    for note in notes:
        console.print(f"note: {note}", highlight=False)
    console.print(f"{path}  {profile.hash}", highlight=False, soft_wrap=True)


def _numbers(column: Column) -> tuple[str, ...]:
    if column.kind is Kind.CATEGORICAL:
        shown = ", ".join(map(str, column.categories[:3]))
        more = len(column.categories) + len(column.others) - 3
        return ("", f"{shown} and {more} more" if more > 0 else shown, "", "")
    return tuple("" if value is None else f"{value:.4g}" for value in (
        column.minimum, column.mean, column.sd, column.maximum))  # fmt: skip


def _share(count: int, rows: int) -> str:
    return f"{count / rows:.2%}" if count else ""


def _calibrated(profile: Profile, calibration: Calibration) -> str:
    return f"calibrated: {calibration.column}, {sum(calibration.hits)} of {profile.rows} rows are what it says"
