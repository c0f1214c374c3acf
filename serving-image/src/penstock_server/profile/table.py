"""Reads rows from parquet, csv and npz files."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from penstock_server.protocol import Array

#: What reads files that are not numpy's own; an extra, because no server needs it.
_ADVICE = "needs pyarrow: pip install 'penstock[server,profile]'"


#: What numpy and the archive that it reads from say of damaged files, and of files of another kind.
_DAMAGED = (ValueError, OSError, EOFError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


class UnusableData(ValueError):  # noqa: N818 - it says what is wrong with the file
    """The data cannot be read, or do not fit the model; the message names the file or the column, and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Named arrays with one entry per row, in the order of the file. Missing: NaN in numbers, "" in texts."""

    arrays: Mapping[str, Array]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.arrays.values())))

    def without(self, *names: str) -> "Table":
        """Return the table without some columns."""
        return Table(arrays={name: array for name, array in self.arrays.items() if name not in names})


def read(path: Path) -> Table:
    """Return the table in a file; raise UnusableData."""
    readers: dict[str, Callable[[Path], dict[str, Array]]] = {
        ".parquet": _read_parquet, ".pq": _read_parquet, ".csv": _read_csv, ".npz": _read_npz,
    }  # fmt: skip
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UnusableData(f"{path}: the name of the data must end in .parquet, .csv or .npz")
    if not path.is_file():
        raise UnusableData(f"there is no file {path}")
    arrays = reader(path)
    if not arrays:
        raise UnusableData(f"{path} has no columns")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UnusableData(f"{path}: the arrays have different numbers of rows: {lengths}")
    if not next(iter(lengths.values())):
        raise UnusableData(f"{path} has no rows")
    return Table(arrays=arrays)


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as opened:  # numpy leaves a damaged archive open
            arrays = _arrays(np.load(opened, allow_pickle=False))
    except _DAMAGED as error:
        raise UnusableData(f"{path} cannot be read: {error}") from None
    for name, array in arrays.items():
        if array.ndim == 0:
            raise UnusableData(f"{path}: array {name!r} is a single value; its first dimension must count the rows")
    return {name: _plain(array) for name, array in arrays.items()}


def _arrays(file: Any) -> dict[str, Array]:
    if isinstance(file, np.ndarray):
        raise ValueError("it holds one array without a name; write it with numpy.savez")  # noqa: TRY004 - of the file
    with file:
        return {name: file[name] for name in file.files}


def _plain(array: Array) -> Array:
    if array.dtype.kind == "U":
        return array.astype(np.object_)
    return np.char.decode(array, "utf-8").astype(np.object_) if array.dtype.kind == "S" else array


def _read_parquet(path: Path) -> dict[str, Array]:
    try:
        import pyarrow.parquet  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnusableData(f"{path.suffix} {_ADVICE}") from None
    return _from_arrow(path, lambda: pyarrow.parquet.read_table(path))


def _read_csv(path: Path) -> dict[str, Array]:
    try:
        import pyarrow.csv  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnusableData(f"{path.suffix} {_ADVICE}") from None
    return _from_arrow(path, lambda: pyarrow.csv.read_csv(path))


def _from_arrow(path: Path, load: Callable[[], Any]) -> dict[str, Array]:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    try:
        table = load()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnusableData(f"{path} cannot be read: {error}") from None
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UnusableData(f"{path}: several columns are named {', '.join(map(repr, twice))}")
    return {name: _column(path, name, column) for name, column in zip(names, table.columns, strict=True)}


def _column(path: Path, name: str, column: Any) -> Array:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types = pa.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        wanted = kind if types.is_floating(kind) else pa.float64()
        return np.asarray(column.cast(wanted).to_numpy())
    if types.is_integer(kind) or types.is_boolean(kind):
        # A whole number cannot be missing; where one is, all become fractions.
        return np.asarray(column.cast(pa.float64()).to_numpy() if column.null_count else column.to_numpy())
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind):
        return np.array([value if value is not None else "" for value in column.to_pylist()], dtype=np.object_)
    raise UnusableData(f"{path}: column {name!r} has type {kind}; only numbers, booleans and texts can be counted")
