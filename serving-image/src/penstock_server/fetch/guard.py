"""Decide from the bytes of an ONNX file whether it may be loaded at all."""

import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.wire import Buffer, Field, Malformed, fields

#: What ONNX Runtime's own build knows; anything else would need native code from somewhere.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"})
#: protobuf's own limit; ONNX Runtime refuses a larger file.
BYTES_MAX = 2**31 - 1
_DEPTH_MAX = 64
_NAME_BYTES_MAX = 4096
_NO_FILES: Mapping[str, int] = MappingProxyType({})
_ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"7z\xbc\xaf\x27\x1c": "7z",
}
_DIGITS_MAX = 18
_TAR_MARK_AT, _TAR_MARK = 257, b"ustar"

# Field numbers of onnx.proto3. A message may hold a field several times, and readers then merge the parts, so each is
# looked at.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 8, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_FUNCTION_NAME, _FUNCTION_NODE, _FUNCTION_DOMAIN, _FUNCTION_ATTRIBUTE = 1, 7, 10, 11
_NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN, _NODE_NAME = 4, 5, 7, 3
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2
_TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 8, 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_TRAINING_INITIALIZATION, _TRAINING_ALGORITHM = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What was found in an acceptable file."""

    bytes: int
    nodes: int


def inspect(path: Path, beside: Mapping[str, int] = _NO_FILES) -> Inspected:
    """Return what the file holds; raise FetchFailed if it is not ONNX or asks for what is not allowed.

    ``beside``: sizes in bytes of the files in the model's folder, by path; it may read its data from these only.
    """
    descriptor = _open_regular(path)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise FetchFailed(Reason.NOT_ONNX, "the file is empty")
        if size > BYTES_MAX:
            raise FetchFailed(Reason.TOO_LARGE, f"the file has {size} bytes; one ONNX file holds at most {BYTES_MAX}")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            return inspect_bytes(buffer, beside)


def inspect_bytes(buffer: Buffer, beside: Mapping[str, int] = _NO_FILES) -> Inspected:
    """Return what the bytes of a file hold; raise FetchFailed as ``inspect`` does."""
    if archive := _archive(buffer):
        raise FetchFailed(
            Reason.NOT_ONNX,
            f"the file is a {archive} archive; archives are never unpacked here, because a small one can hold "
            "terabytes: name the ONNX file itself, and what belongs to it in spec.model.files",
        )
    try:
        return _Inspection(buffer, beside).run()
    except Malformed as error:
        raise FetchFailed(Reason.NOT_ONNX, f"the file is not ONNX, or not all of it: {error}") from error


def _archive(buffer: Buffer) -> str:
    """Return the kind of archive that a file is, or an empty string."""
    for mark, kind in _ARCHIVES.items():
        if buffer[: len(mark)] == mark:
            return kind
    return "tar" if buffer[_TAR_MARK_AT : _TAR_MARK_AT + len(_TAR_MARK)] == _TAR_MARK else ""


def _open_regular(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise FetchFailed(Reason.NOT_ONNX, f"{path} cannot be opened: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise FetchFailed(Reason.NOT_ONNX, f"{path} is not a regular file of its own")
    return descriptor


class _Inspection:
    def __init__(self, buffer: Buffer, beside: Mapping[str, int]) -> None:
        self._buffer = buffer
        self._beside = beside
        self._nodes = 0
        self._functions: set[tuple[str, str]] = set()

    def run(self) -> Inspected:
        model = list(fields(self._buffer, 0, len(self._buffer)))
        functions = [field for field in model if _is(field, _MODEL_FUNCTION)]
        graphs = [field for field in model if _is(field, _MODEL_GRAPH)]
        if not graphs or not any(_is(field, _MODEL_OPSET) for field in model):
            raise Malformed("it has no graph with the operator set that it needs")
        # A model may bring functions of its own, in domains of its own, built of allowed operators.
        self._functions = {self._function_id(function) for function in functions}
        for graph in graphs:
            self._graph(graph, 0)
        for function in functions:
            self._function(function)
        for training in model:
            if _is(training, _MODEL_TRAINING):
                self._training(training)
        if self._nodes == 0:
            raise Malformed("its graph has no nodes")
        return Inspected(bytes=len(self._buffer), nodes=self._nodes)

    def _function_id(self, function: Field) -> tuple[str, str]:
        return self._text(function, _FUNCTION_DOMAIN), self._text(function, _FUNCTION_NAME)

    def _training(self, training: Field) -> None:
        for part in self._within(training):
            if part.number in {_TRAINING_INITIALIZATION, _TRAINING_ALGORITHM} and part.value is None:
                self._graph(part, 0)

    def _graph(self, graph: Field, depth: int) -> None:
        if depth > _DEPTH_MAX:
            raise FetchFailed(Reason.NOT_ONNX, f"graphs are nested more than {_DEPTH_MAX} deep")
        for part in self._within(graph):
            if part.value is not None:
                continue
            if part.number == _GRAPH_NODE:
                self._node(part, depth)
            elif part.number == _GRAPH_INITIALIZER:
                self._tensor(part)
            elif part.number == _GRAPH_SPARSE:
                self._sparse(part)

    def _function(self, function: Field) -> None:
        for part in self._within(function):
            if _is(part, _FUNCTION_NODE):
                self._node(part, 0)
            elif _is(part, _FUNCTION_ATTRIBUTE):
                self._attribute(part, 0)

    def _node(self, node: Field, depth: int) -> None:
        self._nodes += 1
        texts = dict.fromkeys((_NODE_OP, _NODE_DOMAIN, _NODE_NAME), "")
        for part in self._within(node):
            if _is(part, _NODE_ATTRIBUTE):
                self._attribute(part, depth)
            elif part.value is None and part.number in texts:
                texts[part.number] = self._string(part)
        operator, domain, name = texts[_NODE_OP], texts[_NODE_DOMAIN], texts[_NODE_NAME]
        if domain not in DOMAINS and (domain, operator) not in self._functions:
            raise FetchFailed(
                Reason.UNKNOWN_OPERATOR,
                f"node {name!r} needs operator {operator!r} of domain {domain!r}, which this server does not have; "
                f"it has the domains {', '.join(sorted(one or 'ai.onnx' for one in DOMAINS - {'ai.onnx'}))}",
            )

    def _attribute(self, attribute: Field, depth: int) -> None:
        for part in self._within(attribute):
            if part.value is not None:
                continue
            if part.number in {_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS}:
                self._tensor(part)
            elif part.number in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
                self._graph(part, depth + 1)
            elif part.number in {_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES}:
                self._sparse(part)

    def _sparse(self, sparse: Field) -> None:
        for part in self._within(sparse):
            if _is(part, _SPARSE_VALUES) or _is(part, _SPARSE_INDICES):
                self._tensor(part)

    def _tensor(self, tensor: Field) -> None:
        entries: list[Field] = []
        external = False
        for part in self._within(tensor):
            if part.number == _TENSOR_LOCATION and part.value:
                external = True
            elif _is(part, _TENSOR_EXTERNAL):
                entries.append(part)
        if external or entries:
            self._external(self._text(tensor, _TENSOR_NAME), entries)

    def _external(self, tensor: str, entries: list[Field]) -> None:
        """Check that a tensor's data lies in a file that came with the model, and all of it."""
        # The last of several wins, as where ONNX Runtime reads them into a map; but each of them is looked at.
        said: dict[str, str] = {}
        for entry in entries:
            key, value = self._text(entry, _ENTRY_KEY), self._text(entry, _ENTRY_VALUE)
            if key == "location" and escapes(value):
                raise FetchFailed(
                    Reason.UNSAFE_EXTERNAL_DATA,
                    f"tensor {tensor!r} reads its data from {value!r}, outside the model's folder",
                )
            if key in said:
                raise FetchFailed(Reason.UNSAFE_EXTERNAL_DATA, f"tensor {tensor!r} says twice where its data are")
            said[key] = value
        location = str(PurePosixPath(said.get("location", "")))
        size = self._beside.get(location)
        if size is None:
            raise FetchFailed(
                Reason.EXTERNAL_DATA_MISSING,
                f"tensor {tensor!r} has its data in the file {location!r}; add {{path: {location}, sha256: …}} to "
                "spec.model.files, or export the model as one file (onnx.save without save_as_external_data)",
            )
        start, length = (_whole(tensor, said.get(key, "0")) for key in ("offset", "length"))
        if start + length > size:
            raise FetchFailed(
                Reason.UNSAFE_EXTERNAL_DATA,
                f"tensor {tensor!r} has its data in bytes {start} to {start + length} of {location!r}, of {size} bytes",
            )

    def _within(self, message: Field) -> Iterator[Field]:
        return fields(self._buffer, message.start, message.end)

    def _text(self, message: Field, number: int) -> str:
        """Return a string field, its last occurrence as protobuf does, or an empty string."""
        text = ""
        for part in self._within(message):
            if _is(part, number):
                text = self._string(part)
        return text

    def _string(self, field: Field) -> str:
        if field.end - field.start > _NAME_BYTES_MAX:
            raise Malformed(f"a name of {field.end - field.start} bytes at byte {field.start}")
        return bytes(self._buffer[field.start : field.end]).decode("utf-8", "replace")


def _whole(tensor: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise FetchFailed(
            Reason.UNSAFE_EXTERNAL_DATA, f"tensor {tensor!r} has its data at {text[:40]!r}, which is no number of bytes"
        )
    return int(text)


def escapes(location: str) -> bool:
    """Return whether a path of external data leaves the model's folder, on any system's reading of it."""
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    absolute = posix.is_absolute() or windows.is_absolute() or bool(windows.drive) or bool(windows.root)
    return absolute or "\0" in location or ".." in posix.parts or ".." in windows.parts


def _is(field: Field, number: int) -> bool:
    return field.number == number and field.value is None
