"""Data sets out of what other people's wheels hold; what drifts in them is known, or that something does.

Who made the data says so, or the rows after the change were chosen by it.
"""

import gzip
import subprocess
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks.drift.datasets import Case, Values
from benchmarks.drift.streams import SCORE
from pyarrow import csv
from sklearn import datasets


def cases(packages: Path, river_python: Path) -> Iterator[Case]:
    """Yield all data sets: of packages that lie in a folder, and of river, which a Python has."""
    yield car_loan(packages)
    yield _flights(packages)
    yield from _scikit_learn()
    yield from _change_points(packages / "river" / "drift" / "datasets")
    yield from _generated(river_python)


def car_loan(packages: Path) -> Case:
    """NannyML's car loan: nothing happens in the first half of the live rows, then five columns drift."""
    folder = packages / "nannyml" / "datasets" / "data"
    known = _csv(folder / "synthetic_car_loan_reference.csv")
    live = _csv(folder / "synthetic_car_loan_analysis.csv")
    numeric = ("car_value", "debt_to_income_ratio", "loan_length", "driver_tenure")
    words = ("salary_range", "repaid_loan_on_prev_car", "size_of_downpayment")
    codes = {name: {word: code for code, word in enumerate(sorted(set(known[name].tolist())))} for name in words}

    def columns(table: Values) -> Values:
        coded = {name: np.array([codes[name].get(word, -1) for word in table[name].tolist()]) for name in words}
        numbers = {name: table[name].astype(np.float64) for name in numeric}
        return {**numbers, **coded, SCORE: table["y_pred_proba"].astype(np.float64)}

    rows = columns(live)
    half = len(rows[SCORE]) // 2
    return Case(
        name="car loan",
        reference=columns(known),
        before=_part(rows, 0, half),
        after=_part(rows, half, None),
        drifted=frozenset({"car_value", "loan_length", "salary_range", "repaid_loan_on_prev_car", SCORE}),
        categorical=frozenset(words),
    )


def labels(packages: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return car loan's true answers of the reference and of the rows after, and what the model says to the latter."""
    folder = packages / "nannyml" / "datasets" / "data"
    known = _csv(folder / "synthetic_car_loan_reference.csv")
    live = _csv(folder / "synthetic_car_loan_analysis.csv")
    target = _csv(folder / "synthetic_car_loan_analysis_target.csv")
    return known["repaid"].astype(np.int64), target["repaid"].astype(np.int64), live["y_pred"].astype(np.int64)


def _flights(packages: Path) -> Case:
    """popmon's flight delays: months before against months after; that they differ is known, and not in what."""
    folder = packages / "popmon" / "test_data"
    known = _csv(folder / "flight_delays_reference.csv.gz")
    live = _csv(folder / "flight_delays.csv.gz")
    wanted = ("DEPARTURE_DELAY", "TAXI_OUT", "AIR_TIME", "DISTANCE")

    def flown(table: Values) -> Values:
        """Return the rows of which everything is known: missing values are another subject."""
        rows = {name: table[name].astype(np.float64) for name in wanted}
        whole = np.isfinite(np.stack(list(rows.values()))).all(axis=0)
        return {name: array[whole] for name, array in rows.items()}

    known, live = flown(known), flown(live)
    rng = np.random.default_rng(5)
    shuffled = rng.permutation(len(known[wanted[0]]))
    mixed = {name: array[shuffled] for name, array in known.items()}
    cut = len(shuffled) * 4 // 5
    return Case(
        name="flights",
        reference=_part(mixed, 0, cut),
        before=_part(mixed, cut, None),
        after=live,
        drifted=frozenset(),
        judged=False,
    )


def _scikit_learn() -> Iterator[Case]:
    """Rows by chance, and then only those of some classes."""
    rng = np.random.default_rng(6)
    for name, load_set, after in (
        ("digits", datasets.load_digits, (5, 6, 7, 8, 9)),
        ("breast cancer", datasets.load_breast_cancer, (0,)),
    ):
        found = load_set()
        # Pixels that are always dark are no columns that anybody watches.
        varied = np.flatnonzero(found.data.std(axis=0) > 0)
        matrix = found.data[:, varied].astype(np.float64)
        columns = {f"x{place}": matrix[:, number] for number, place in enumerate(varied.tolist())}
        order = rng.permutation(len(matrix))
        known, like = order[: len(order) // 2], order[len(order) // 2 : len(order) * 7 // 10]
        rest = order[len(order) * 7 // 10 :]
        rest = rest[np.isin(found.target[rest], after)]
        yield Case(
            name=name,
            reference={key: array[known] for key, array in columns.items()},
            before={key: array[like] for key, array in columns.items()},
            after={key: array[rest] for key, array in columns.items()},
            drifted=frozenset(),
            judged=False,
        )


def _change_points(folder: Path) -> Iterator[Case]:
    """Series in which people have marked where something changes: rows that follow from each other."""
    for file, columns, change in (
        ("apple", ("Close", "Volume"), 319),
        ("occupancy", ("V1", "V2", "V3", "V4"), 236),
    ):
        table = _csv(folder / f"{file}.csv")
        rows = {name: table[name].astype(np.float64) for name in columns}
        start = change * 3 // 5
        yield Case(
            name=file,
            reference=_part(rows, 0, start),
            before=_part(rows, start, change),
            after=_part(rows, change, None),
            drifted=frozenset(),
            judged=False,
        )


#: Rows of river's generators; only the last changes what the rows look like, the others what is true of them.
_GENERATE = """
import json, sys
from itertools import islice
import numpy as np
from river.datasets import synth
def take(stream, count): return [x for x, _ in islice(stream, count)]
made = {
  "SEA": (take(synth.SEA(variant=0, seed=1), 30000), take(synth.SEA(variant=3, seed=2), 10000)),
  "Sine": (take(synth.Sine(classification_function=0, seed=1), 30000),
           take(synth.Sine(classification_function=2, seed=2), 10000)),
  "Agrawal": (take(synth.Agrawal(classification_function=0, seed=1), 30000),
              take(synth.Agrawal(classification_function=4, seed=2), 10000)),
  "RandomRBF": (take(synth.RandomRBF(seed_model=1, seed_sample=1, n_features=6), 30000),
                take(synth.RandomRBF(seed_model=2, seed_sample=2, n_features=6), 10000)),
}
arrays = {}
for name, parts in made.items():
    for part, rows in zip(("known", "after"), parts):
        for column in rows[0]:
            arrays[f"{name}|{part}|{column}"] = np.array([row[column] for row in rows], dtype=float)
np.savez(sys.stdout.buffer, **arrays)
"""


def _generated(python: Path) -> Iterator[Case]:
    made = subprocess.run([str(python), "-c", _GENERATE], check=True, capture_output=True).stdout
    with np.load(BytesIO(made)) as file:
        arrays = {key: file[key] for key in file.files}
    for name in dict.fromkeys(key.split("|")[0] for key in arrays):
        parts = {
            part: {key.split("|")[2]: array for key, array in arrays.items() if key.startswith(f"{name}|{part}|")}
            for part in ("known", "after")
        }
        few = {column for column, array in parts["known"].items() if np.unique(array).size <= 20}
        known, after = (_coded(part, few) for part in parts.values())
        moved = name == "RandomRBF"
        yield Case(
            name=f"river {name}",
            reference=_part(known, 0, 25_000),
            before=_part(known, 25_000, None),
            after=after,
            drifted=frozenset(known) if moved else frozenset(),
            categorical=frozenset(few),
        )


def _coded(values: Values, categorical: Collection[str]) -> Values:
    return {name: array.astype(np.int64) if name in categorical else array for name, array in values.items()}


def _part(values: Values, start: int, end: int | None) -> Values:
    return {name: array[start:end] for name, array in values.items()}


def _csv(path: Path) -> Values:
    content = path.read_bytes()
    table = csv.read_csv(BytesIO(gzip.decompress(content) if path.suffix == ".gz" else content))
    return {name: table[name].to_numpy() for name in table.column_names}
