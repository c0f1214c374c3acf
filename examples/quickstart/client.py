"""A client of the quickstart: real rows to the endpoint at a steady rate, one line of counts each second.

It runs as a pod. What it prints is JSON: in each second, answers by revision and status code, how many predictions were
wrong, how long they took, and when the last request was sent that each revision answered.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp

RATE = float(os.environ["RATE"])
CONNECTIONS = int(os.environ["CONNECTIONS"])
SECONDS = float(os.environ["SECONDS"])
TOLERANCE = 1e-3
URL = os.environ["URL"]
#: Tell answers apart by the revision that the router names, or by the version of the model, which any answer names.
BY = os.environ.get("BY", "revision")
#: Headers that every request has, as a JSON object.
HEADERS: dict[str, str] = json.loads(os.environ.get("HEADERS", "{}"))
#: Host headers to send in turn; the endpoint answers whatever they say.
HOSTS = [host for host in os.environ.get("HOSTS", "").split(",") if host]


class Tally:
    """What happened in the current second."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.answers: Counter[str] = Counter()
        self.slowest = 0.0
        self.latencies: list[float] = []
        self.sent: dict[str, float] = {}

    def flush(self) -> None:
        """Print the second and begin the next one."""
        self.latencies.sort()
        quantiles = [self.latencies[int(share * (len(self.latencies) - 1))] for share in (0.5, 0.99) if self.latencies]
        line = {
            "t": round(time.time(), 3),
            "answers": dict(self.answers),
            "p50": round(quantiles[0], 5) if quantiles else None,
            "p99": round(quantiles[1], 5) if quantiles else None,
            "slowest": round(self.slowest, 4),
            "sent": {who: round(at, 3) for who, at in self.sent.items()},
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        self.answers.clear()
        self.latencies.clear()
        self.slowest = 0.0


async def ask(
    session: aiohttp.ClientSession, body: bytes, labels: set[int], tally: Tally, headers: dict[str, str]
) -> None:
    """Send one row and count how it was answered; ``labels`` are what the good models say of it."""
    started, sent = time.perf_counter(), time.time()
    try:
        async with session.post(URL, data=body, headers=headers) as response:
            answer = await response.read()
            who = response.headers.get("x-penstock-revision", "direct")
            outcome = str(response.status)
            if response.ok:
                told = json.loads(answer)
                outputs = {output["name"]: output["data"] for output in told["outputs"]}
                if BY == "version":
                    who = f"version-{told['model_version']}"
                if outputs["label"][0] not in labels or abs(sum(outputs["probabilities"]) - 1) > TOLERANCE:
                    outcome = "wrong"
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
        who, outcome = "nobody", f"{type(error).__name__}: {error}"[:120]
    took = time.perf_counter() - started
    tally.latencies.append(took)
    tally.slowest = max(tally.slowest, took)
    tally.answers[f"{who} {outcome}"] += 1
    tally.sent[who] = max(sent, tally.sent.get(who, 0.0))


async def worker(
    session: aiohttp.ClientSession, asks: list[tuple[bytes, set[int]]], tally: Tally, index: int, until: float
) -> None:
    """Ask at this worker's share of the rate until the time is over."""
    pause = CONNECTIONS / RATE
    due = time.monotonic() + pause * index / CONNECTIONS
    while time.monotonic() < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        headers = {"content-type": "application/json", **HEADERS}
        if HOSTS:
            headers["host"] = HOSTS[index // CONNECTIONS % len(HOSTS)]
        await ask(session, *asks[index % len(asks)], tally, headers)
        index += CONNECTIONS
        # A stall of the machine is not answered by a burst.
        due = max(due + pause, time.monotonic() - pause)


async def main() -> None:
    """Run all workers and print the counts."""
    rows = json.loads(await asyncio.to_thread(Path("/client/rows.json").read_text))
    asks = [
        (
            json.dumps(
                {"inputs": [{"name": rows["input"], "shape": [1, 30], "datatype": "FP32", "data": row["x"]}]}
            ).encode(),
            {row["label_v1"], row["label_v2"]},
        )
        for row in rows["rows"]
    ]
    tally = Tally()
    until = time.monotonic() + SECONDS
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        workers = [asyncio.create_task(worker(session, asks, tally, index, until)) for index in range(CONNECTIONS)]
        while not all(task.done() for task in workers):
            await asyncio.sleep(1)
            tally.flush()
        await asyncio.gather(*workers)
    tally.flush()


asyncio.run(main())
