"""What counting for drift costs a request, and how large what is counted is, at one and at a hundred features."""

import asyncio
import gzip
import time
from typing import Any

import numpy as np
from benchmarks.drift.live import profile_of
from benchmarks.drift.streams import SCORE

from penstock_server.profile.live import LiveProfile
from penstock_server.profile.reference import Reference
from penstock_server.protocol import InferRequest, RequestedOutput, TensorSpec

_ROWS = 20_000
_REQUESTS = 20_000
#: So many requests are answered in one turn of the event loop.
_TURN = 16
_PATIENCE_SECONDS = 60.0


async def measured(features: int, *, together: bool) -> dict[str, Any]:
    """Return the CPU time of ``observe`` for requests of one row, and of all counting on the loop's thread.

    ``together``: the features are one input tensor, else each is one of its own.
    """
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(_ROWS, features)).astype(np.float32)
    answers = rows.sum(axis=1, keepdims=True)
    inputs = {"x": rows} if together else {f"f{place}": rows[:, place].copy() for place in range(features)}
    profile = profile_of({**inputs, SCORE: answers[:, 0]}, ())
    live = LiveProfile(
        inputs=[TensorSpec(name=name, datatype="FP32", shape=(-1, *array.shape[1:])) for name, array in inputs.items()],
        outputs=[TensorSpec(name=SCORE, datatype="FP32", shape=(-1,))],
        source=lambda: Reference(profile=profile), identity={}, errors=dict, log=lambda *_, **__: None,
    )  # fmt: skip
    wanted = (RequestedOutput(name=SCORE),)
    requests = [
        InferRequest(
            id=None, inputs={name: array[at : at + 1] for name, array in inputs.items()}, outputs=wanted, rows=1
        )
        for at in range(2_000)
    ]
    live.start()
    await asyncio.sleep(0.3)
    spent = np.empty(_REQUESTS)
    whole = time.thread_time()
    for at in range(_REQUESTS):
        request, answer = requests[at % len(requests)], [answers[at % len(requests), :]]
        begun = time.thread_time_ns()
        live.observe(request, answer)
        spent[at] = time.thread_time_ns() - begun
        if at % _TURN == 0:
            await asyncio.sleep(0)
    whole = time.thread_time() - whole
    # Counting may be late on a busy machine, and nobody is told anything while it goes on.
    until = time.monotonic() + _PATIENCE_SECONDS
    while live.rows + live.dropped_rows < _REQUESTS and time.monotonic() < until:  # noqa: ASYNC110 - a thread counts
        await asyncio.sleep(0.2)
    body = live.body()
    counted, dropped = live.rows, live.dropped_rows
    live.close()
    microseconds = spent / 1e3
    return {
        "features": features,
        "inputs": 1 if together else features,
        "requests": _REQUESTS,
        "counted": counted,
        "dropped": dropped,
        "microsecondsP50": round(float(np.median(microseconds)), 2),
        "microsecondsP99": round(float(np.quantile(microseconds, 0.99)), 2),
        "microsecondsMeanWithCounting": round(whole / _REQUESTS * 1e6, 2),
        "countsBytes": len(body),
        "countsBytesCompressed": len(gzip.compress(body, 5)),
        "profileBytes": len(profile.to_json().encode()),
    }


def measure() -> list[dict[str, Any]]:
    """Measure for as many features as a small and as a large model has."""
    return [
        asyncio.run(measured(features, together=together)) for together in (True, False) for features in (10, 30, 100)
    ]
