"""What the fuzzers found so far, replayed: every input keeps the invariants, in bounded time and memory."""

import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from tests.fuzz.run import CORPUS
from tests.fuzz.run import TARGETS as FUZZED
from tests.fuzz.targets import SECONDS_MAX, TARGETS

#: What any input may take whatever its size: messages of errors, the models' own tables.
BYTES_MAX = 4 << 20


def inputs(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus_keeps_the_invariants(target: str) -> None:
    for path in inputs(target):
        try:
            replay(target, path)
        except Exception as error:
            error.add_note(f"input: {path}")
            raise


def replay(target: str, path: Path) -> None:
    data = path.read_bytes()
    TARGETS[target](data)  # what it imports and makes once is not counted
    started = time.monotonic()
    tracemalloc.start()
    try:
        TARGETS[target](data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < BYTES_MAX, f"{path.name} takes {peak} bytes"
    assert time.monotonic() - started < SECONDS_MAX, f"{path.name} takes long"


def test_the_corpus_is_small_and_each_target_has_one() -> None:
    files: list[Any] = [path for target in TARGETS for path in inputs(target)]
    assert set(FUZZED) == set(TARGETS)
    assert min(len(inputs(target)) for target in TARGETS) >= 5
    assert sum(path.stat().st_size for path in files) <= 200_000
