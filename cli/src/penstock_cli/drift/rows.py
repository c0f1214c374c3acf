"""Live rows from a file, as the columns that a profile counts; the model answers where one is given."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_cli.errors import PluginError
from penstock_contract.profile import Column, Derived, InvalidProfile, Kind, Profile, Role, parse

Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Rows as columns by the names in ``profile``, which lacks the outputs where the file has none."""

    profile: Profile
    values: Mapping[str, Values]
    rows: int
    notes: tuple[str, ...]


def read_profile(path: str) -> Profile:
    """Return the profile in a file; raise PluginError."""
    try:
        return parse(Path(path).read_bytes())
    except OSError as error:
        raise PluginError(f"{path}: {error.strerror}") from error
    except InvalidProfile as error:
        raise PluginError(f"{path}: {error}; make one with penstock-profile") from error


def read_live(profile: Profile, path: str, model: str | None) -> Live:
    """Return the rows of a file; raise PluginError, naming the column and the fix."""
    try:
        return _read(profile, Path(path), None if model is None else Path(model))
    except ImportError as error:
        raise PluginError(f"{error.name} is missing; install it with: pip install 'penstock[cli,server]'") from error


def _read(profile: Profile, path: Path, model: Path | None) -> Live:
    # The one door to the server's code: files are read and the model is run as penstock-profile does it.
    from penstock_server.profile.table import UnusableData, read  # noqa: PLC0415 - needs the extra `server`

    try:
        arrays = read(path).arrays
        if model is not None:
            arrays, extra = _answered(profile, arrays, model)
            return _live(profile, arrays, extra, ())
    except UnusableData as error:
        raise PluginError(str(error)) from error
    wanted = {column.name: _bare(column) for column in profile.columns}
    lacking = {name for name, bare in wanted.items() if bare not in arrays}
    outputs = {column.name for column in profile.columns if column.role is Role.OUTPUT}
    notes: tuple[str, ...] = ()
    if lacking and lacking == outputs:
        profile = _of_inputs(profile)
        notes = ("the file holds no outputs, so only inputs are compared; --model MODEL.onnx answers them",)
    elif lacking:
        names = ", ".join(sorted(wanted[name] for name in lacking))
        raise PluginError(f"{path} lacks {names}, which the profile counts; it has {', '.join(arrays)}")
    values = {column.name: arrays[_bare(column)] for column in profile.columns}
    ignored = [name for name in arrays if name not in wanted.values()]
    return _live(profile, values, ignored, notes)


def _live(profile: Profile, values: Mapping[str, Values], ignored: list[str], notes: tuple[str, ...]) -> Live:
    if ignored:
        notes = (*notes, f"not in the profile, so not compared: {', '.join(ignored)}")
    checked = {column.name: _checked(column, values[column.name]) for column in profile.columns}
    return Live(profile=profile, values=checked, rows=len(next(iter(checked.values()))), notes=notes)


def _bare(column: Column) -> str:
    return column.name.partition("/")[2]


def _checked(column: Column, values: Values) -> Values:
    if values.ndim != 1:
        raise PluginError(f"column {_bare(column)!r} has {values.ndim} dimensions; a column has one number per row")
    if column.kind is Kind.CATEGORICAL and column.datatype == "BYTES" and values.dtype.kind != "O":
        return values.astype(str).astype(np.object_)
    if values.dtype.kind == "O" and column.datatype != "BYTES":
        raise PluginError(f"column {_bare(column)!r} holds text, such as {values[0]!r}; the profile has numbers")
    return values


def _of_inputs(profile: Profile) -> Profile:
    columns = tuple(column for column in profile.columns if column.role is Role.INPUT)
    if not columns:
        raise PluginError("the profile has no inputs, and the file has none of its outputs")
    counts = tuple(replace(one, output_sums=()) for one in profile.counts.columns[: len(columns)])
    return replace(profile, columns=columns, counts=replace(profile.counts, columns=counts), calibration=())


def _answered(profile: Profile, arrays: Mapping[str, Values], model: Path) -> tuple[dict[str, Values], list[str]]:
    from penstock_server.profile.answers import answers, load  # noqa: PLC0415 - needs the extra `server`
    from penstock_server.profile.binding import bind  # noqa: PLC0415
    from penstock_server.profile.reference import check, sha256_of  # noqa: PLC0415
    from penstock_server.profile.table import Table  # noqa: PLC0415

    session = load(model)
    try:
        check(profile, session.inputs, session.outputs)
    except InvalidProfile as error:
        raise PluginError(f"the profile is not of {model}: {error}") from error
    if profile.model_sha256 not in (None, sha256_of(model)):
        raise PluginError(
            f"the profile was made for a model with sha256 {profile.model_sha256}, which {model} has not; make one "
            "for this model with penstock-profile"
        )
    chosen = _in_order(profile, arrays)
    bound = bind(Table(arrays=chosen), session.inputs)
    tensors = {
        Role.INPUT: {one.spec.name: one.array for one in bound},
        Role.OUTPUT: {one.spec.name: one.array for one in answers(session, bound)},
    }
    values: dict[str, Values] = {}
    for column in profile.columns:
        array = tensors[column.role].get(column.tensor)
        if array is None:
            raise PluginError(f"{model} gave no row for each row of {column.tensor!r}, which the profile counts")
        values[column.name] = _values(column, array.reshape(len(array), -1))
    return values, [name for name in arrays if name not in chosen]


def _in_order(profile: Profile, arrays: Mapping[str, Values]) -> Mapping[str, Values]:
    """Return the columns of the profile in its order, where the file has them all; a model knows places, not names."""
    names = [_bare(column) for column in profile.columns if column.role is Role.INPUT]
    return {name: arrays[name] for name in names} if all(name in arrays for name in names) else arrays


def _values(column: Column, matrix: Values) -> Values:
    if column.derived is Derived.ARGMAX:
        return np.asarray(matrix.argmax(axis=1))
    if column.derived is Derived.MAX:
        return np.asarray(matrix.max(axis=1))
    return matrix[:, column.index]
