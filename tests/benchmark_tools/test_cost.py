"""The cost of a request is measured on answers that are right."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.serving import wire
from benchmarks.serving.cost import Bench, measured
from benchmarks.serving.models import Subject

MODELS = Path(__file__).parents[2] / "examples" / "models"
ROWS = np.array([row["x"] for row in json.loads((MODELS / "rows.json").read_text())["rows"]], np.float32)


@pytest.mark.parametrize("dialect", [wire.V2_JSON, wire.V2_BINARY, wire.V2_GRPC], ids=lambda one: one.name)
async def test_each_way_of_asking_is_answered_by_the_model(dialect: wire.Dialect, tmp_path: Path) -> None:
    subject = Subject(name="tumor", path=MODELS / "tumor-v1.onnx", input_name="x", rows=ROWS, profile_rows=None)
    bench = Bench(subject, tmp_path, profile=False, clear=False)
    await bench.start()
    requester = bench.connection(dialect, 1)
    await asyncio.sleep(0)
    for _ in range(3):
        request = requester.ready()
        requester(request)
        await requester.answered()
    if not dialect.grpc_path:
        wire.check(dialect, requester.answer().partition(b"\r\n\r\n")[2], subject.expected(1))
    assert 0 < await measured(bench, dialect, 1, connections=2, rounds=1) < 1e6
    bench.close()
