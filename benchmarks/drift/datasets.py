"""Rows that exist, kept as arrays, the same for every tool. Needs numpy alone; where they come from: ``sources``."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Values = Mapping[str, npt.NDArray[Any]]
_INDEX = "cases.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One data set in three parts. ``before`` is like the reference; ``drifted`` are the columns that then change.

    ``judged``: whether another column that is named is a mistake.
    """

    name: str
    reference: Values
    before: Values
    after: Values
    drifted: frozenset[str]
    categorical: frozenset[str] = frozenset()
    judged: bool = True


def load(folder: Path) -> Iterator[Case]:
    """Yield the cases that ``save`` has kept."""
    for name in json.loads((folder / _INDEX).read_text(encoding="utf-8")):
        with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            parts = {
                part: {column: file[f"{part}/{column}"] for column in about["columns"]}
                for part in ("reference", "before", "after")
            }
        yield Case(
            name=name,
            reference=parts["reference"],
            before=parts["before"],
            after=parts["after"],
            drifted=frozenset(about["drifted"]),
            categorical=frozenset(about["categorical"]),
            judged=about["judged"],
        )


def save(folder: Path, cases: Iterable[Case]) -> None:
    """Keep cases for ``load``."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for case in cases:
        about = {
            "columns": list(case.reference),
            "drifted": sorted(case.drifted),
            "categorical": sorted(case.categorical),
            "judged": case.judged,
        }
        arrays = {
            f"{part}/{column}": array
            for part in ("reference", "before", "after")
            for column, array in getattr(case, part).items()
        }
        np.savez(folder / f"{case.name}.npz", about=np.array(json.dumps(about)), **arrays)
        names.append(case.name)
    (folder / _INDEX).write_text(json.dumps(names), encoding="utf-8")


def kept(folder: Path) -> bool:
    """Return whether there is something to load."""
    return (folder / _INDEX).exists()
