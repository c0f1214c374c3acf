"""Builds a reference profile from rows and what the model answered to them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from penstock_contract.profile import (
    Calibration,
    Column,
    Derived,
    Kind,
    Profile,
    Role,
    Transform,
    cross_columns,
    layout_hash,
)
from penstock_contract.segments import PROFILE_VALUES_MAX, ProfileSegments, Segmentation
from penstock_contract.waves import COLUMNS_MIN
from penstock_server.predictions import class_name
from penstock_server.probabilities import are_probabilities
from penstock_server.profile import describe
from penstock_server.profile.binding import Bound, matrices
from penstock_server.profile.counting import Counter
from penstock_server.profile.rows import OUTPUT_COLUMNS_MAX, Block
from penstock_server.profile.segments import Segments
from penstock_server.profile.table import UnusableData
from penstock_server.profile.waves import Scatter, Waves
from penstock_server.protocol import DTYPES, Array

#: With more input columns no cross moments are kept: their number grows with the square.
CROSSED_MAX = 64
#: Of so many outputs the sums for each bin of each input are kept.
CONTRIBUTING_MAX = 8
_CHUNK_ROWS = 8192
_BINARY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a person decides: columns to count as categories or as numbers against the rule.

    ``segment_by``: an input by whose values rows are also counted.
    """

    categorical: frozenset[str] = frozenset()
    numeric: frozenset[str] = frozenset()
    segment_by: str | None = None


def build(
    inputs: Sequence[Bound],
    outputs: Sequence[Bound],
    *,
    labels: Array | None,
    choices: Choices,
    counted: Callable[[int], None] = lambda _rows: None,
) -> Profile:
    """Return the profile; raise UnusableData. ``counted`` is told of rows as they are counted."""
    columns = (*_input_columns(inputs, choices), *_output_columns(outputs, choices))
    if not columns:
        raise UnusableData("there is no column to count: every input and output is too wide, or has no fixed width")
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UnusableData(f"several columns would be named {', '.join(map(repr, twice))}; rename a column of the data")
    rows = {Role.INPUT: matrices(inputs), Role.OUTPUT: _flat(outputs)}
    crossed = len(cross_columns(columns))
    waves = Waves(layout_hash(columns), crossed) if crossed >= COLUMNS_MIN else None
    counter = Counter(columns, waves=waves)
    scatter = counter.scatter = Scatter(waves) if waves is not None else None
    total = len((*inputs, *outputs)[0].array)
    for block in _blocks(rows, total):
        counter.add(block)
        counted(block.rows)
    calibration, classes = ((), ()) if labels is None else _calibration(columns, outputs, labels)
    sea, counts = scatter.sea() if scatter is not None else None, counter.counts()
    if sea is None:
        counts = replace(counts, waves=())
    profile = Profile(columns=columns, counts=counts, sea=sea, calibration=calibration, classes=classes)
    if choices.segment_by is None:
        return profile
    return replace(profile, segments=_segments(profile, choices.segment_by, _blocks(rows, total)))


def _blocks(rows: Mapping[Role, Mapping[str, Array]], total: int) -> Iterator[Block]:
    for start in range(0, total, _CHUNK_ROWS):
        part = slice(start, min(start + _CHUNK_ROWS, total))
        taken = {role: {name: array[part] for name, array in arrays.items()} for role, arrays in rows.items()}
        yield Block(rows=part.stop - start, inputs=taken[Role.INPUT], outputs=taken[Role.OUTPUT])


def _segments(profile: Profile, by: str, blocks: Iterable[Block]) -> ProfileSegments:
    column = next((one for one in profile.columns if one.name == f"{Role.INPUT}s/{by}"), None)
    frequent: list[tuple[int, str]] = []
    if column is not None:
        bins = profile.counts.columns[profile.columns.index(column)].bins
        frequent = sorted(((-count, str(name)) for count, name in zip(bins, column.categories, strict=False)))
    wanted = Segmentation(by=by, values=tuple(name for _, name in frequent[:PROFILE_VALUES_MAX]))
    segments = Segments(profile)
    if error := segments.ask(wanted, 0.0):
        raise UnusableData(f"--segment-by: {error}")
    for block in blocks:
        segments.add(block, 0.0)
    counts = segments.counts(wanted)
    return ProfileSegments(by=by, counts={value: counts[value] for value in wanted.values})


def _flat(outputs: Sequence[Bound]) -> Mapping[str, Array]:
    return {one.spec.name: one.array.reshape(len(one.array), -1) for one in outputs}


def _input_columns(inputs: Sequence[Bound], choices: Choices) -> list[Column]:
    crossed = sum(len(one.names) for one in inputs) <= CROSSED_MAX
    columns: list[Column] = []
    for one in inputs:
        matrix = one.array.reshape(len(one.array), -1)
        for place, name in enumerate(one.names):
            values = matrix[:, place]
            identity = describe.identity_of(
                name=f"inputs/{name}", role=Role.INPUT, tensor=one.spec.name, index=place, datatype=one.spec.datatype
            )
            if _kind(name, values, one.spec.datatype, choices) is Kind.CATEGORICAL:
                columns.append(describe.categorical(values, **identity))
            else:
                columns.append(describe.numeric(values, transform=Transform.NONE, scored=crossed, **identity))
    return columns


def _kind(name: str, values: Array, datatype: str, choices: Choices) -> Kind:
    if name in choices.categorical:
        return Kind.CATEGORICAL
    if name in choices.numeric:
        if datatype == "BYTES":
            raise UnusableData(f"column {name!r} holds text and cannot be counted as numbers")
        return Kind.NUMERIC
    return describe.kind_of(values, datatype)


def _output_columns(outputs: Sequence[Bound], choices: Choices) -> list[Column]:
    columns = [column for one in outputs for column in _of_output(one, choices)]
    contributing = islice((place for place, column in enumerate(columns) if column.contributes), CONTRIBUTING_MAX)
    kept = set(contributing)
    return [
        column if not column.contributes or place in kept else _silent(column) for place, column in enumerate(columns)
    ]


def _silent(column: Column) -> Column:
    fields = {name: getattr(column, name) for name in Column.__dataclass_fields__}
    return Column(**{**fields, "contributes": False})


def _of_output(one: Bound, choices: Choices) -> list[Column]:
    matrix = one.array.reshape(len(one.array), -1)
    size = matrix.shape[1]
    floating = DTYPES[one.spec.datatype].kind == "f"
    probabilities = floating and are_probabilities(matrix)
    columns: list[Column] = []
    if size <= OUTPUT_COLUMNS_MAX:
        names = one.names or tuple(f"{one.spec.name}[{place}]" for place in range(size))
        columns += [_element(one, name, place, choices, probabilities=probabilities) for place, name in
                    enumerate(names)]  # fmt: skip
    if floating and (size > OUTPUT_COLUMNS_MAX or (probabilities and size > _BINARY)):
        columns += _largest(one, matrix)
    return columns


def _element(one: Bound, name: str, place: int, choices: Choices, *, probabilities: bool) -> Column:
    matrix = one.array.reshape(len(one.array), -1)
    values, size = matrix[:, place], matrix.shape[1]
    identity = describe.identity_of(
        name=f"outputs/{name}", role=Role.OUTPUT, tensor=one.spec.name, index=place, datatype=one.spec.datatype
    )
    if _kind(name, values, one.spec.datatype, choices) is Kind.CATEGORICAL:
        return describe.categorical(values, **identity)
    # Of two that add up to 1, one says it all.
    contributes = not (probabilities and size == _BINARY and place == 0)
    return describe.numeric(
        values,
        transform=Transform.LOGIT if probabilities else Transform.NONE,
        scored=False,
        split_at=0.5 if probabilities and size <= _BINARY else None,
        contributes=contributes,
        **identity,
    )


def _largest(one: Bound, matrix: Array) -> list[Column]:
    name, spec = f"outputs/{one.spec.name}", one.spec
    common: dict[str, Any] = {"role": Role.OUTPUT, "tensor": spec.name, "index": 0}
    place = describe.categorical(
        matrix.argmax(axis=1), name=f"{name}.argmax", datatype="INT64", derived=Derived.ARGMAX, **common
    )
    largest = describe.numeric(
        matrix.max(axis=1), transform=Transform.NONE, scored=False, name=f"{name}.max", datatype=spec.datatype,
        derived=Derived.MAX, contributes=matrix.shape[1] > OUTPUT_COLUMNS_MAX, **common,
    )  # fmt: skip
    return [place, largest]


def _calibration(
    columns: Sequence[Column], outputs: Sequence[Bound], labels: Array
) -> tuple[tuple[Calibration, ...], tuple[str, ...]]:
    probabilities = {column.tensor for column in columns if column.transform is Transform.LOGIT}
    for one in outputs:
        if one.spec.name in probabilities:
            matrix = one.array.reshape(len(one.array), -1)
            places, names = _classes(labels, max(matrix.shape[1], _BINARY), tuple(map(str, one.spec.classes)))
            return tuple(_hits(columns, one.spec.name, matrix, places)), names
    raise UnusableData("--labels needs an output that holds probabilities, and the model has none")


def _classes(labels: Array, count: int, named: tuple[str, ...]) -> tuple[Array, tuple[str, ...]]:
    """Return the place of each label's class among the probabilities, and the names of the classes.

    The model's own names count; else labels are places already, or all classes occur and stand in ascending order.
    """
    if labels.dtype.kind == "f":
        missing = int(np.isnan(labels).sum())
        if missing:
            raise UnusableData(f"{missing} labels are missing; leave those rows out")
    distinct, places = np.unique(labels, return_inverse=True)
    found = tuple(class_name(one) for one in distinct.tolist())
    numbers = tuple(map(str, range(count)))
    names = named if len(named) == count else numbers
    if set(found) <= set(names):
        return np.array([names.index(one) for one in found], dtype=np.intp)[places], names
    if len(named) == count or len(found) != count:
        wanted = (
            f"its classes are {', '.join(named)}" if named else f"write numbers from 0 to {count - 1}, or all classes"
        )
        raise UnusableData(
            f"--labels holds {len(found)} classes ({', '.join(found[:8])}) and the model has probabilities of {count}: "
            + wanted
        )
    return places.astype(np.intp), found


def _hits(columns: Sequence[Column], tensor: str, matrix: Array, places: Array) -> list[Calibration]:
    result: list[Calibration] = []
    for column in columns:
        if column.role is not Role.OUTPUT or column.tensor != tensor or column.kind is not Kind.NUMERIC:
            continue
        if column.derived is Derived.MAX:
            values, hit = matrix.max(axis=1), matrix.argmax(axis=1) == places
        else:
            positive = 1 if matrix.shape[1] == 1 else column.index
            values, hit = matrix[:, column.index], places == positive
        finite = np.isfinite(values)
        bins = np.array(column.edges, dtype=matrix.dtype).searchsorted(values[finite])
        hits = np.bincount(bins[hit[finite]], minlength=column.bins)
        result.append(Calibration(column=column.name, hits=tuple(hits.tolist())))
    return result
