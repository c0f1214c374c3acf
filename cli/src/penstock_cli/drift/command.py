"""The command ``kubectl penstock drift``, from files to what is printed."""

from dataclasses import dataclass

from penstock_cli.drift import report
from penstock_cli.drift.judging import Window, windows
from penstock_cli.drift.rows import read_live, read_profile
from penstock_operator.core.drift.budget import REFERENCE_PER_BLOCK
from penstock_operator.core.drift.engine import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The paths as they were given."""

    profile: str
    live: str
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All windows, and what a person should know about how they were judged."""

    judge: Judge
    windows: tuple[Window, ...]
    notes: tuple[str, ...]

    def show(self, *, as_json: bool, psi_max: float | None) -> None:
        """Print them."""
        if as_json:
            print(report.as_json(self.judge, self.windows, psi_max=psi_max, notes=self.notes))
        else:
            report.print_table(self.judge, self.windows, psi_max=psi_max, notes=self.notes)


def run(files: Files, *, window_rows: int, false_alarm_every: float) -> Found:
    """Return what the live file says; raise PluginError where a file cannot be used."""
    live = read_live(read_profile(files.profile), files.live, files.model)
    judge = Judge(live.profile, window_rows=window_rows, false_alarm_every=false_alarm_every)
    return Found(
        judge=judge,
        windows=tuple(windows(live, judge)),
        notes=(*live.notes, *_limits(judge, live.profile.rows, window_rows)),
    )


def _limits(judge: Judge, reference_rows: int, window_rows: int) -> tuple[str, ...]:
    """Return what the size of the reference does not allow."""
    needed = window_rows * REFERENCE_PER_BLOCK
    if needed > reference_rows:
        note = (
            f"the reference has {reference_rows} rows; windows of {window_rows} need {needed} for their false alarms "
            "to be as rare as you ask"
        )
    else:
        note = (
            f"the longest look-back is {judge.block * window_rows} rows: the reference has {reference_rows}, and a "
            "block must stay below a tenth of that"
        )
    return (note,)
