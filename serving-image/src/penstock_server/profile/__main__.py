"""The command ``penstock-profile``."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from penstock_contract.profile import Profile
from penstock_server.profile import binding
from penstock_server.profile.answers import answers, load, not_counted
from penstock_server.profile.build import Choices, build
from penstock_server.profile.reference import sha256_of
from penstock_server.profile.table import Table, UnusableData, read
from penstock_server.protocol import Array

#: A reference should have ten times as many rows as the largest window that is compared with it.
_ROWS_ADVISED = 1000

Step = Callable[[int], None]


def main() -> None:
    """Build a profile; exit with 1 where the data or the model do not allow it, with 2 for a wrong command line."""
    options = _options(sys.argv[1:])
    try:
        profile, notes = _profile(options)
        options.output.write_text(profile.to_json(), encoding="utf-8")
    except UnusableData as error:
        sys.exit(f"penstock-profile: {error}")
    except OSError as error:
        sys.exit(f"penstock-profile: {error.filename}: {error.strerror}")
    if not options.quiet:
        _show(profile, options.output, notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    model: Path | None
    data: Path
    output: Path
    outputs: tuple[str, ...]
    labels: str | None
    ignore: tuple[str, ...]
    choices: Choices
    quiet: bool


def _options(arguments: Sequence[str]) -> _Options:
    parser = _parser()
    given = parser.parse_args(arguments)
    files: list[Path] = given.files
    if len(files) > 2:  # noqa: PLR2004 - a model and data
        parser.error(f"one model and one data file, not {len(files)} files")
    model = files[0] if len(files) == 2 else None  # noqa: PLR2004
    if model is None and files[0].suffix == ".onnx":
        parser.error("no data: penstock-profile MODEL.onnx DATA -o profile.json")
    if model is not None and given.outputs:
        parser.error("--outputs names columns where there is no model; with one, the model answers")
    if model is None and given.labels:
        parser.error("--labels needs a model: it says how often its probabilities are right")
    return _Options(
        model=model, data=files[-1], output=given.output, outputs=_names(given.outputs), labels=given.labels,
        ignore=_names(given.ignore), quiet=given.quiet,
        choices=Choices(
            categorical=frozenset(_names(given.categorical)), numeric=frozenset(_names(given.numeric)),
            segment_by=given.segment_by,
        ),
    )  # fmt: skip


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock-profile",
        usage="penstock-profile [MODEL.onnx] DATA -o profile.json [options]",
        description="Build the reference that live traffic is compared with, from rows that the model was not trained "
        "on: on its training rows a model is surer than it will ever be again.",
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="the model, then rows as .parquet, .csv or .npz"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the profile to write")
    parser.add_argument("--outputs", metavar="COL[,COL]", help="without a model: columns that are its answers")
    parser.add_argument("--labels", metavar="COL", help="column of true classes: calibrates the probabilities")
    parser.add_argument("--ignore", metavar="COL[,COL]", help="columns to leave out")
    parser.add_argument("--categorical", metavar="COL[,COL]", help="count these inputs by value, whatever their type")
    parser.add_argument("--numeric", metavar="COL[,COL]", help="count these inputs by size, whatever their values")
    parser.add_argument("--segment-by", metavar="COL", help="also count the rows of each value of this input")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no table")
    return parser


def _profile(options: _Options) -> tuple[Profile, list[str]]:
    table = read(options.data)
    _check_columns(options, table)
    labels = table.arrays[options.labels] if options.labels else None
    table = table.without(*options.ignore, *((options.labels,) if options.labels else ()))
    if not table.arrays:
        raise UnusableData("no column is left")
    notes: list[str] = []
    if table.rows < _ROWS_ADVISED:
        notes.append(f"only {table.rows} rows: the less there are, the less can be said about live traffic")
    if options.model is None:
        profile = _of_table(options, table)
    else:
        profile = _of_model(options, options.model, table, labels, notes)
    named = replace(
        profile,
        made_by=f"penstock {_version()}",
        source_name=options.data.name,
        source_sha256=sha256_of(options.data),
    )
    return named, notes


def _check_columns(options: _Options, table: Table) -> None:
    chosen = {"--labels": (options.labels,) if options.labels else (), "--ignore": options.ignore}
    for option, names in chosen.items():
        for name in names:
            if name not in table.arrays:
                raise UnusableData(f"{option}: the data have no column {name!r}; they have {sorted(table.arrays)}")


def _of_table(options: _Options, table: Table) -> Profile:
    inputs, outputs = binding.without_model(table, options.outputs)
    with _progress("counting", table.rows, quiet=options.quiet) as step:
        return build(inputs, outputs, labels=None, choices=options.choices, counted=step)


def _of_model(options: _Options, model: Path, table: Table, labels: Array | None, notes: list[str]) -> Profile:
    session = load(model)
    inputs = binding.bind(table, session.inputs)
    with _progress("running the model", table.rows, quiet=options.quiet) as step:
        outputs = answers(session, inputs, step)
    with _progress("counting", table.rows, quiet=options.quiet) as step:
        profile = build(inputs, outputs, labels=labels, choices=options.choices, counted=step)
    notes += [f"{what} is not counted: {why}" for what, why in not_counted(session, outputs, inputs).items()]
    return replace(profile, model_sha256=sha256_of(model))


@contextmanager
def _progress(what: str, rows: int, *, quiet: bool) -> Iterator[Step]:
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.progress import Progress  # noqa: PLC0415
    except ImportError:
        quiet = True
    if quiet:
        yield lambda _rows: None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=rows)
        yield lambda done: progress.advance(task, done)


def _show(profile: Profile, path: Path, notes: Sequence[str]) -> None:
    try:
        from penstock_server.profile.summary import show  # noqa: PLC0415 - rich is an extra
    except ImportError:
        print(f"{path}: {len(profile.columns)} columns of {profile.rows} rows, {profile.hash}")  # noqa: T201
        return
    show(profile, path, notes)


def _version() -> str:
    try:
        return version("penstock")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    main()
