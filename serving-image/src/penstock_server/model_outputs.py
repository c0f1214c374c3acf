"""In which form a model's outputs are answered: tensors as they are, ONNX-ML's maps and sequences as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import Any

import numpy as np

from penstock_server.protocol import DTYPES, Array, TensorSpec
from penstock_server.zipmap_classes import Classes

DATATYPES: Mapping[str, str] = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
#: Behind the name of a sequence: the output that holds the shapes of its elements.
SHAPES_SUFFIX = ".shapes"
#: What skl2onnx answers for probabilities unless told zipmap=False: one map of class to probability per row.
_MAPS_PER_ROW = frozenset({"seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))"})


class Unservable(ValueError):  # noqa: N818 - an outcome
    """The protocol has no form for this input or output; the message says what to export instead."""


class UnevenMaps(ValueError):  # noqa: N818 - it says what is wrong with a value
    """The maps of one answer have different keys, so no table holds them."""


class _Form(Enum):
    TENSOR = "as it is"
    TABLE = "one row per map, one column per key"
    VALUES = "the elements of a sequence, one after another"
    SHAPES = "the shapes of the elements of a sequence"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """One output as clients see it, and the output of the model that it is made of."""

    spec: TensorSpec
    source: str
    form: _Form


class ModelOutputs:
    """The outputs that clients may ask for, and how they are made of those that the model has."""

    def __init__(self, nodes: Sequence[Any], classes: Mapping[str, Classes]) -> None:
        """Take ONNX Runtime's description of each output; raise Unservable for one that has no form."""
        answered = [one for node in nodes for one in _forms(node, classes.get(node.name, ()))]
        self._by_name = {one.spec.name: one for one in answered}
        if len(self._by_name) != len(answered):
            names = sorted({one.spec.name for one in answered if one.form is _Form.SHAPES} & {n.name for n in nodes})
            raise Unservable(
                f"output {names[0]!r} has the name under which the shapes of the sequence "
                f"{names[0].removesuffix(SHAPES_SUFFIX)!r} are answered; rename it"
            )
        self.specs: tuple[TensorSpec, ...] = tuple(one.spec for one in answered)
        #: Every output is answered as the model gives it.
        self.as_they_are: bool = all(one.form is _Form.TENSOR for one in answered)
        #: Row for row an answer to the rows of a request, so that runs may be put together and taken apart again.
        self.row_by_row: bool = all(one.form in {_Form.TENSOR, _Form.TABLE} for one in answered)

    def sources(self, names: Sequence[str]) -> list[str]:
        """Return the model's own outputs that the named ones are made of, each once."""
        return list(dict.fromkeys(self._by_name[name].source for name in names))

    def answer(self, names: Sequence[str], results: Sequence[Any]) -> list[Array]:
        """Return the named outputs, made of what ``sources`` of the same names gave; raise UnevenMaps."""
        given = dict(zip(self.sources(names), results, strict=True))
        return [_convert(self._by_name[name], given[self._by_name[name].source]) for name in names]


def tensor_spec(node: Any, role: str) -> TensorSpec:
    """Return what ONNX Runtime says of a tensor in the protocol's words; raise Unservable for anything else."""
    datatype = DATATYPES.get(node.type)
    if datatype is None:
        raise Unservable(f"{role} {node.name!r} has type {node.type}, {_advice(node.type, role)}")
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape or ())
    return TensorSpec(name=node.name, datatype=datatype, shape=shape)


def _forms(node: Any, classes: Classes) -> list[_Answered]:
    if node.type in _MAPS_PER_ROW:
        table = TensorSpec(name=node.name, datatype="FP32", shape=(-1, len(classes) or -1), classes=classes)
        return [_Answered(spec=table, source=node.name, form=_Form.TABLE)]
    element = DATATYPES.get(node.type.removeprefix("seq(").removesuffix(")"))
    if node.type.startswith("seq(") and element is not None:
        values = TensorSpec(name=node.name, datatype=element, shape=(-1,))
        shapes = TensorSpec(name=node.name + SHAPES_SUFFIX, datatype="INT64", shape=(-1, -1))
        return [
            _Answered(spec=values, source=node.name, form=_Form.VALUES),
            _Answered(spec=shapes, source=node.name, form=_Form.SHAPES),
        ]
    return [_Answered(spec=tensor_spec(node, "output"), source=node.name, form=_Form.TENSOR)]


def _convert(answered: _Answered, result: Any) -> Array:
    match answered.form:
        case _Form.TENSOR:
            return np.asarray(result)
        case _Form.TABLE:
            return _table(answered.spec, result)
        case _Form.VALUES:
            return _values(result, answered.spec.datatype)
        case _Form.SHAPES:
            return _shapes(result)


def _table(spec: TensorSpec, rows: Sequence[Mapping[Any, float]]) -> Array:
    """Return one row per map, with the keys as columns in ascending order."""
    keys = spec.classes or (tuple(sorted(rows[0])) if rows else ())
    # itemgetter picks in C, but returns a tuple only from two keys on.
    columns = itemgetter(*keys) if len(keys) > 1 else lambda row: [row[key] for key in keys]
    try:
        pick = [columns(row) for row in rows if len(row) == len(keys)]
    except KeyError as error:
        raise UnevenMaps(f"output {spec.name!r} has no value for {error} in one of its rows") from error
    if len(pick) != len(rows):
        raise UnevenMaps(f"output {spec.name!r} has different keys in different rows")
    return np.array(pick, dtype=np.float32).reshape(len(rows), len(keys))


def _values(elements: Sequence[Any], datatype: str) -> Array:
    """Return the values of all elements in row-major order, one element after another."""
    flat = [np.asarray(element, DTYPES[datatype]).reshape(-1) for element in elements]
    return np.concatenate(flat) if flat else np.empty(0, DTYPES[datatype])


def _shapes(elements: Sequence[Any]) -> Array:
    """Return one shape per row; an element of lower rank than others has -1 for the dimensions that it lacks."""
    shapes = [np.shape(element) for element in elements]
    table = np.full((len(shapes), max(map(len, shapes), default=0)), -1, dtype=np.int64)
    for row, shape in zip(table, shapes, strict=True):
        row[: len(shape)] = shape
    return table


def _advice(kind: str, role: str) -> str:
    """Return why a type cannot be carried, and what to export instead."""
    if kind.startswith("optional("):
        return "and the protocol cannot say that a tensor is absent; export the model with a plain tensor"
    if kind.startswith("sparse_tensor("):
        return "and the protocol has dense tensors only; export the model with a dense one"
    if "map(" in kind and role == "input":
        return (
            "which a request cannot carry; export the model without the step that reads maps (DictVectorizer, CastMap) "
            "and send the vector that it would make"
        )
    if "map(" in kind:
        return "for which the protocol has no form; export the model with zipmap=False"
    if kind.startswith("seq("):
        return "which a request cannot carry; export the model with one input per tensor, or with one stacked tensor"
    return (
        "which the protocol cannot carry: it has tensors of booleans, numbers and strings; cast it in the graph "
        "(bfloat16 and smaller floats to float32, complex numbers to two floats)"
    )
