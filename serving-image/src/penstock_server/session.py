"""The one door to ONNX Runtime: load a model, know its tensors, run it."""

import math
import mmap
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from penstock_contract.termination import Reason
from penstock_server import text_locale
from penstock_server.model_outputs import ModelOutputs, UnevenMaps, Unservable, tensor_spec
from penstock_server.protocol import DTYPES, Array, TensorSpec
from penstock_server.zipmap_classes import Classes, zipmap_classes

ORT_VERSION: str = ort.__version__

#: ONNX Runtime's exceptions have no common base class.
_ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    one for one in vars(ort_errors).values() if isinstance(one, type) and issubclass(one, Exception)
)
_LOAD_ERRORS: tuple[type[Exception], ...] = (*_ORT_ERRORS, RuntimeError, ValueError)
_NO_CLASSES: Mapping[str, Classes] = MappingProxyType({})
#: How the field op_type (4, a text) of a node that loops lies in the file.
_LOOPS = (b"\x22\x04Loop", b"\x22\x04Scan", b"\x22\x0bSequenceMap")
_AS_REQUESTED = 1
_SILENT = 4  # "fatal": failed runs are reported to the client and counted; ONNX Runtime need not print them as well
#: Its Python binding decodes all strings, and has no other way to them where an input holds strings.
_NOT_TEXT = (
    "an output of strings holds bytes that are not UTF-8 text, which ONNX Runtime does not hand over; "
    "let the model answer bytes as a tensor of UINT8"
)
_NOT_IMPLEMENTED = "Could not find an implementation for"
_NEWER = (
    "ONNX Runtime has it in other versions or for other types: export the model with a newer opset "
    "(onnx.version_converter lifts a file), or cast to float32"
)
_NODE_FAILED = "Non-zero status code returned while running"
_TERMINATED = "terminate flag"
_NO_MEMORY = ("bad_alloc", "Available memory of")
#: A synthetic input is no use if making it takes longer than the first request would.
_WARM_UP_ELEMENTS_MAX = 1 << 24
_WARM_UP_RUNS_MAX = 5
_WARM_UP_AGAIN_SECONDS_MAX = 0.05
_STEADY = 0.9


class LoadFailed(Exception):  # noqa: N818 - the word that status shows
    """The model cannot be served; holds ONNX Runtime's own words."""

    def __init__(self, reason: Reason, message: str, *, permanent: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent


class RunFailed(Exception):  # noqa: N818
    """The model failed on inputs that fit it: its fault, or the server's."""


class InputRefused(Exception):  # noqa: N818
    """ONNX Runtime refused the inputs before it ran anything: the client's fault."""


class RunTerminated(Exception):  # noqa: N818
    """The run was ended from outside because its time was over."""


class Cancellation:
    """Ends the run that it is given to; may be called from any thread, before, during or after the run."""

    def __init__(self) -> None:
        self.options = ort.RunOptions()
        self.options.log_severity_level = _SILENT

    def cancel(self) -> None:
        """Make the run end at its next node."""
        self.options.terminate = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """What first runs with synthetic inputs showed; ``run_seconds``: the fastest of them, None without any."""

    seconds: float
    error: str | None
    run_seconds: float | None = None


class Session:
    """A loaded model. ``run`` blocks and may be called from several threads at once."""

    def __init__(self, session: Any, classes: Mapping[str, Classes] = _NO_CLASSES, *, may_loop: bool = False) -> None:
        # The outer ``run`` only checks again what the decoder has checked against the same model, which costs a sixth
        # of a small run. The inner one is not documented: where it is gone, the outer one does the same.
        self._run = getattr(session, "_sess", session).run
        try:
            self.inputs: tuple[TensorSpec, ...] = tuple(tensor_spec(node, "input") for node in session.get_inputs())
            self._outputs = ModelOutputs(session.get_outputs(), classes)
        except Unservable as error:
            raise LoadFailed(Reason.LOAD_FAILED, str(error)) from error
        self._as_they_are = self._outputs.as_they_are
        self.outputs: tuple[TensorSpec, ...] = self._outputs.specs
        #: Whether the time of a run may depend on what is in its inputs, and not only on their sizes.
        self.may_loop: bool = may_loop
        #: Answers row for row, so that the rows of several requests may be run at once.
        self.row_by_row: bool = self._outputs.row_by_row

    @classmethod
    def load(cls, path: Path, *, threads: int, bounded: bool = False) -> "Session":
        """Read the model and build its session with ``threads`` per operator; raise LoadFailed.

        ``bounded``: its tensors take no more memory than ``bound_tensors`` has said.
        """
        if not path.is_file():
            raise LoadFailed(Reason.SOURCE_NOT_FOUND, f"there is no file {path}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        # Waiting threads that spin would take the CPU that the limit gives from the threads that work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if bounded:
            options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            session = _inference_session(path, options)
        except _LOAD_ERRORS as error:
            raise _load_failed(error) from error
        except MemoryError as error:
            raise LoadFailed(Reason.LOAD_FAILED, "not enough memory to load the model", permanent=False) from error
        maps = any("map(" in node.type for node in session.get_outputs())
        return cls(session, zipmap_classes(path) if maps else _NO_CLASSES, may_loop=_may_loop(path))

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array], cancellation: Cancellation) -> list[Array]:
        """Return the outputs in order; raise RunFailed, InputRefused or RunTerminated."""
        names = outputs if self._as_they_are else self._outputs.sources(outputs)
        try:
            results = self._run(names, inputs, cancellation.options)
        except _ORT_ERRORS as error:
            raise _run_failed(error) from error
        except UnicodeDecodeError as error:
            raise RunFailed(_NOT_TEXT) from error
        except (RuntimeError, ValueError, MemoryError) as error:
            raise RunFailed(str(error) or type(error).__name__) from error
        if self._as_they_are:
            return results  # type: ignore[no-any-return]  # arrays: every output is a tensor
        try:
            return self._outputs.answer(outputs, results)
        except UnevenMaps as error:
            raise RunFailed(str(error)) from error

    def warm_up(self, cancellation: Cancellation) -> WarmUp:
        """Run once with zeros, or with ones where the model fails on zeros, so that first requests are not slow.

        A failure is told, not raised: a model may rightly refuse a row that no client would send. But one that has not
        the memory for a single row can serve nobody: then LoadFailed is raised.
        """
        started = time.perf_counter()
        elements = sum(math.prod(_smallest(spec.shape)) for spec in self.inputs)
        if elements > _WARM_UP_ELEMENTS_MAX:
            return WarmUp(seconds=0.0, error=f"skipped: the smallest input has {elements} elements")
        error: str | None = None
        run_seconds: float | None = None
        for fill in (0, 1):
            try:
                run_seconds = self._fastest(self.synthetic(fill), cancellation)
            except (RunFailed, InputRefused, RunTerminated) as failure:
                error = str(failure)
            else:
                error = None
                break
        if error is not None and any(words in error for words in _NO_MEMORY):
            message = f"the smallest input needs more memory than there is; raise spec.resources.limits.memory: {error}"
            raise LoadFailed(Reason.OUT_OF_MEMORY, message)
        return WarmUp(seconds=time.perf_counter() - started, error=error, run_seconds=run_seconds)

    def _fastest(self, inputs: Mapping[str, Array], cancellation: Cancellation) -> float:
        """Run until two runs have taken about the same, which the first never does; return the faster one's time."""
        names = [spec.name for spec in self.outputs]
        fastest = math.inf
        for _ in range(_WARM_UP_RUNS_MAX):
            started = time.perf_counter()
            self.run(names, inputs, cancellation)
            seconds, before = time.perf_counter() - started, fastest
            fastest = min(seconds, before)
            if seconds > min(before * _STEADY, _WARM_UP_AGAIN_SECONDS_MAX):
                break
        return fastest

    def synthetic(self, fill: int) -> dict[str, Array]:
        """Return the smallest inputs that fit the model, filled with one number (or its text)."""
        return {
            spec.name: np.full(
                _smallest(spec.shape), str(fill) if spec.datatype == "BYTES" else fill, dtype=DTYPES[spec.datatype]
            )
            for spec in self.inputs
        }


def bound_tensors(bytes_max: int) -> None:
    """Let the tensors of all bounded sessions that are loaded from now on take at most so much memory together.

    A run that wants more fails. Without a bound the kernel would end the process, and before that a node that fills a
    terabyte could not be stopped: a run ends only between two nodes. The memory grows by what is asked for, not by
    doubling, which would take twice as much as there may be.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    arena = ort.OrtArenaCfg({"max_mem": bytes_max, "arena_extend_strategy": _AS_REQUESTED})
    ort.create_and_register_allocator(memory, arena)


def _smallest(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if size < 0 else size for size in shape)


def _inference_session(path: Path, options: Any) -> Any:
    """Return ONNX Runtime's session, with a locale of ours where that is all that is missing."""

    def load() -> Any:
        return ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])

    try:
        return load()
    except _LOAD_ERRORS as error:
        if not text_locale.is_missing(str(error)):
            raise
    with text_locale.lent():
        return load()


def _may_loop(path: Path) -> bool:
    """Return whether a node of the model goes round a loop; it may be wrong only by saying yes."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(one) >= 0 for one in _LOOPS)


def _load_failed(error: Exception) -> LoadFailed:
    message = _words(error)
    if isinstance(error, ort_errors.InvalidProtobuf):
        return LoadFailed(Reason.NOT_ONNX, f"the file is not ONNX, or not all of it: {message}")
    if "is not a registered function/op" in message or "No Op registered for" in message:
        return LoadFailed(Reason.UNKNOWN_OPERATOR, message)
    if _NOT_IMPLEMENTED in message:
        return LoadFailed(Reason.UNKNOWN_OPERATOR, f"{message}; {_NEWER}")
    return LoadFailed(Reason.LOAD_FAILED, message, permanent=not any(words in message for words in _NO_MEMORY))


def _run_failed(error: Exception) -> Exception:
    message = _words(error)
    if _TERMINATED in message:
        return RunTerminated(message)
    if isinstance(error, ort_errors.InvalidArgument) and _NODE_FAILED not in message:
        return InputRefused(message)
    return RunFailed(message)


def _words(error: Exception) -> str:
    """Return ONNX Runtime's message without the source file and line of its own C++ code."""
    text = re.sub(r"\s*/[^\s:]+\.(?:cc|h|cpp|hpp):\d+\s+(?:[^\n]*?\)\s)?", " ", str(error))
    return " ".join(text.split())
