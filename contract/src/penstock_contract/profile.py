"""The reference profile: how a model's inputs and outputs were distributed over held-out rows, as one JSON file."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from penstock_contract.counts import Counts, InvalidCounts, Layout
from penstock_contract.segments import ProfileSegments
from penstock_contract.waves import COLUMNS_MIN, WAVES, Sea

SCHEMA = "penstock.profile/v1"
#: The name of the file beside a model where none is named.
FILE_NAME = "profile.json"
#: Sums are kept in whole numbers: standardised values, cut off at ± CLIP, times FIXED_POINT. So they are exact, add up
#: in any order, and one absurd value cannot drown the others. 3e10 rows at the cut-off fit into 63 bits.
FIXED_POINT = 1024
CLIP = 16.0
#: Normal scores of bins, times this, in whole numbers: what cross moments are sums of.
SCORE_SCALE = 64
#: A probability nearer to 0 or 1 has the logit of this one.
PROBABILITY_EPSILON = 1e-6


class InvalidProfile(ValueError):  # noqa: N818 - it names a state of the file, like the other errors here
    """The text is no reference profile that this version reads; the message says where and why."""


class Role(StrEnum):
    """Which side of the model a column is on."""

    INPUT = "input"
    OUTPUT = "output"


class Kind(StrEnum):
    """How a column is counted."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class Derived(StrEnum):
    """What of a tensor's row a column is: one element, or the place or the value of the largest."""

    VALUE = "value"
    ARGMAX = "argmax"
    MAX = "max"


class Transform(StrEnum):
    """What is done to a value before it is standardised for sums; bins always take the value as it is."""

    NONE = "none"
    LOGIT = "logit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One number or category per row, and how it is counted.

    Numeric: ``edges`` by the rule of ``bins.bin_of``; the first lies just under the smallest reference value and
    the last is the largest one, so that the first bin counts what is below the reference and the last what is
    above it. Categorical: bin i is ``categories[i]``, then come one bin for ``others`` and one for what the
    reference never held; where ``others_complete`` is false, the two cannot be told apart and all of it is "other".
    ``minimum``, ``maximum``, ``mean`` and ``sd`` of the finite reference values are for people: nothing is counted
    by them.
    """

    name: str
    role: Role
    tensor: str
    index: int
    datatype: str
    kind: Kind
    derived: Derived = Derived.VALUE
    edges: tuple[float, ...] = ()
    categories: tuple[int | str, ...] = ()
    others: tuple[int | str, ...] = ()
    others_complete: bool = True
    transform: Transform = Transform.NONE
    centre: float = 0.0
    scale: float = 1.0
    scores: tuple[int, ...] = ()
    contributes: bool = False
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    sd: float | None = None

    @property
    def bins(self) -> int:
        """How many bins are counted."""
        return len(self.edges) + 1 if self.kind is Kind.NUMERIC else len(self.categories) + 2

    def layout(self) -> list[Any]:
        """Return what two counters must agree on for their counts to be added."""
        return [
            self.role.value, self.tensor, self.index, self.derived.value, self.datatype, self.kind.value,
            list(self.edges), list(self.categories), list(self.others), self.others_complete,
            self.transform.value, self.centre, self.scale, list(self.scores), self.contributes,
        ]  # fmt: skip

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of this column; what is empty is left out."""
        wire: dict[str, Any] = {
            "name": self.name, "role": self.role.value, "tensor": self.tensor, "index": self.index,
            "derived": self.derived.value, "datatype": self.datatype, "kind": self.kind.value,
        }  # fmt: skip
        if self.kind is Kind.NUMERIC:
            wire |= {
                "edges": list(self.edges), "transform": self.transform.value, "centre": self.centre,
                "scale": self.scale, "min": self.minimum, "max": self.maximum, "mean": self.mean, "sd": self.sd,
            }  # fmt: skip
        else:
            wire |= {
                "categories": list(self.categories), "others": list(self.others),
                "othersComplete": self.others_complete,
            }  # fmt: skip
        if self.scores:
            wire["scores"] = list(self.scores)
        if self.contributes:
            wire["contributes"] = True
        return wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Of the reference rows in each bin of a probability, how many were what it is the probability of.

    For one class's probability: rows of that class. For the largest of several (``max``): rows whose most
    probable class was the true one. From these and live bins, accuracy is estimated without labels.
    """

    column: str
    hits: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Columns, the counts of the reference rows, and where they came from.

    ``sea``: how the waves over its columns scatter; pods add up waves where it is there.
    """

    columns: tuple[Column, ...]
    counts: Counts
    sea: Sea | None = None
    segments: ProfileSegments | None = None
    calibration: tuple[Calibration, ...] = ()
    classes: tuple[str, ...] = ()
    model_sha256: str | None = None
    source_name: str = ""
    source_sha256: str = ""
    made_by: str = ""

    @property
    def hash(self) -> str:
        """The digest of everything that decides what is counted where."""
        return layout_hash(self.columns)

    @property
    def rows(self) -> int:
        """How many rows the reference had."""
        return self.counts.rows

    def column(self, name: str) -> Column:
        """Return a column by its name; raise KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def to_json(self) -> str:
        """Return the file's text: the same for the same content, one column to a line."""
        head: dict[str, Any] = {
            "schema": SCHEMA,
            "profileHash": self.hash,
            "rows": self.rows,
            "model": {"sha256": self.model_sha256} if self.model_sha256 else None,
            "source": {"name": self.source_name, "sha256": self.source_sha256},
            "madeBy": self.made_by,
            "classes": list(self.classes),
            "calibration": [{"column": one.column, "hits": list(one.hits)} for one in self.calibration],
        }
        if self.sea is not None:
            head["sea"] = {name: list(getattr(self.sea, name)) for name in _SEA}
        counts = self.counts.to_wire(layout_of(self.columns))
        lines = [f"{_dump(key)}: {_dump(value)}" for key, value in head.items()]
        lines.append('"columns": [\n  ' + ",\n  ".join(_dump(column.to_wire()) for column in self.columns) + "\n]")
        inner = ",\n  ".join(_dump(one) for one in counts.pop("columns"))
        if self.segments is not None:
            lines.append(f'"segments": {_dump(self.segments.to_wire(layout_of(self.columns)))}')
        rest = "".join(f"{_dump(key)}: {_dump(value)}, " for key, value in counts.items())
        lines.append(f'"counts": {{{rest}"columns": [\n  {inner}\n]}}')
        return "{\n" + ",\n".join(lines) + "\n}\n"


def layout_of(columns: Sequence[Column]) -> Layout:
    """Return the shape of the counts of these columns."""
    crossed = cross_columns(columns)
    return Layout(
        names=tuple(column.name for column in columns),
        bins=tuple(column.bins for column in columns),
        inputs=tuple(column.role is Role.INPUT for column in columns),
        contributing=sum(column.contributes for column in columns),
        crossed=len(crossed),
    )


def cross_columns(columns: Sequence[Column]) -> tuple[int, ...]:
    """Return the places of the columns whose cross moments are kept, in order: those with scores."""
    return tuple(place for place, column in enumerate(columns) if column.scores)


def layout_hash(columns: Sequence[Column]) -> str:
    """Return the digest that counts of the same layout share."""
    text = json.dumps([column.layout() for column in columns], separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def parse(text: str | bytes) -> Profile:
    """Return the profile in ``text``; raise InvalidProfile."""
    try:
        message: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidProfile(f"it is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise InvalidProfile("it is not a JSON object")
    if message.get("schema") != SCHEMA:
        raise InvalidProfile(f"its schema is {message.get('schema')!r}; this version reads {SCHEMA!r}")
    try:
        profile = _profile(message)
    except InvalidProfile:
        raise
    except InvalidCounts as error:
        raise InvalidProfile(f"its counts: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidProfile(f"a field is missing or wrong: {error!r}") from None
    if message.get("profileHash") != profile.hash:
        raise InvalidProfile("its profileHash does not fit its columns: it was changed by hand, or damaged")
    return profile


def _profile(message: Mapping[str, Any]) -> Profile:
    columns = tuple(_column(one) for one in message["columns"])
    if not columns:
        raise InvalidProfile("it has no columns")
    names = [column.name for column in columns]
    if len(set(names)) != len(names):
        raise InvalidProfile("two of its columns have the same name")
    source, model = message.get("source") or {}, message.get("model") or {}
    bins = {column.name: column.bins for column in columns}
    return Profile(
        columns=columns,
        counts=(counts := Counts.from_wire(message["counts"], layout_of(columns))),
        sea=_sea(message.get("sea"), columns, counts),
        segments=_segments(message.get("segments"), layout_of(columns)),
        calibration=tuple(_calibration(one, bins) for one in message.get("calibration", ())),
        classes=tuple(map(str, message.get("classes", ()))),
        model_sha256=_text(model, "sha256") if model else None,
        source_name=str(source.get("name", "")),
        source_sha256=str(source.get("sha256", "")),
        made_by=str(message.get("madeBy", "")),
    )


_SEA = ("variances", "skews", "spectrum")


def _sea(wire: Mapping[str, Any] | None, columns: Sequence[Column], counts: Counts) -> Sea | None:
    if wire is None:
        return None
    sea = Sea(**{name: tuple(map(_number, wire[name])) for name in _SEA})
    if len(cross_columns(columns)) < COLUMNS_MIN or not counts.waves or not counts.waves[0]:
        raise InvalidProfile("it has a sea, and no waves of its rows")
    if len(sea.variances) != WAVES or len(sea.skews) != WAVES or not 0 < len(sea.spectrum) <= WAVES:
        raise InvalidProfile(f"its sea does not have {WAVES} waves")
    if min(*sea.variances, *sea.spectrum) < 0 or sea.spectrum[0] <= 0:
        raise InvalidProfile("a variance in its sea is below 0, or all are 0")
    return sea


def _segments(wire: Mapping[str, Any] | None, layout: Layout) -> ProfileSegments | None:
    return None if wire is None else ProfileSegments.from_wire(wire, layout)


def _calibration(wire: Mapping[str, Any], bins: Mapping[str, int]) -> Calibration:
    name, hits = _text(wire, "column"), tuple(map(_whole, wire["hits"]))
    if bins.get(name) != len(hits):
        raise InvalidProfile(f"the calibration of {name!r} does not fit its bins")
    return Calibration(column=name, hits=hits)


def _column(wire: Mapping[str, Any]) -> Column:
    column = Column(
        name=_text(wire, "name"),
        role=Role(wire["role"]),
        tensor=_text(wire, "tensor"),
        index=_whole(wire["index"]),
        datatype=_text(wire, "datatype"),
        kind=Kind(wire["kind"]),
        derived=Derived(wire.get("derived", Derived.VALUE)),
        edges=tuple(map(_number, wire.get("edges", ()))),
        categories=tuple(map(_category, wire.get("categories", ()))),
        others=tuple(map(_category, wire.get("others", ()))),
        others_complete=bool(wire.get("othersComplete", True)),
        transform=Transform(wire.get("transform", Transform.NONE)),
        centre=_number(wire.get("centre", 0.0)),
        scale=_number(wire.get("scale", 1.0)),
        scores=tuple(map(_whole, wire.get("scores", ()))),
        contributes=bool(wire.get("contributes", False)),
        minimum=_optional(wire.get("min")),
        maximum=_optional(wire.get("max")),
        mean=_optional(wire.get("mean")),
        sd=_optional(wire.get("sd")),
    )
    _check(column)
    return column


def _check(column: Column) -> None:
    if any(low >= high for low, high in zip(column.edges, column.edges[1:], strict=False)):
        raise InvalidProfile(f"the edges of {column.name!r} do not ascend")
    if column.kind is Kind.NUMERIC and not column.edges:
        raise InvalidProfile(f"{column.name!r} has no edges")
    if column.scale <= 0:
        raise InvalidProfile(f"the scale of {column.name!r} is not above 0")
    if column.scores and len(column.scores) != column.bins:
        raise InvalidProfile(f"{column.name!r} has {len(column.scores)} scores for {column.bins} bins")
    if len(set(column.categories)) != len(column.categories):
        raise InvalidProfile(f"a category of {column.name!r} is named twice")


def _text(wire: Mapping[str, Any], key: str) -> str:
    value = wire[key]
    if not isinstance(value, str):
        raise InvalidProfile(f"{key!r} is {value!r} and not text")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidProfile(f"{value!r} is not a whole number")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidProfile(f"{value!r} is not a finite number")
    return value


def _optional(value: Any) -> float | None:
    return None if value is None else _number(value)


def _category(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InvalidProfile(f"{value!r} is not a category: it must be text or a whole number")
    return value


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
