"""Asks an endpoint at a steady rate, as a pod: a random number and the time; prints one line of counts each second."""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter

import aiohttp

URL = os.environ["URL"]
RATE = float(os.environ["RATE"])
CONNECTIONS = int(os.environ["CONNECTIONS"])
SECONDS = float(os.environ["SECONDS"])
#: Where the times that requests carry begin, in Unix seconds: small numbers, exact in 32 bits.
EPOCH = float(os.environ["EPOCH"])


class Tally:
    """What happened in the current second."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.sent: dict[str, float] = {}

    def flush(self) -> None:
        """Print the second and begin the next one."""
        sent = {who: round(at, 3) for who, at in self.sent.items()}
        line = {"t": round(time.time(), 3), "answers": dict(self.answers), "sent": sent}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        self.answers.clear()


async def ask(session: aiohttp.ClientSession, tally: Tally) -> None:
    """Send one request and count who answered it, and how."""
    now = time.time()
    row = [random.random(), round(now - EPOCH, 3)]
    asked = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": row}]}
    try:
        async with session.post(URL, json=asked) as response:
            await response.read()
            who, outcome = response.headers.get("x-penstock-revision", "direct"), str(response.status)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        who, outcome = "nobody", type(error).__name__
    tally.answers[f"{who} {outcome}"] += 1
    tally.sent[who] = max(now, tally.sent.get(who, 0.0))


async def worker(session: aiohttp.ClientSession, tally: Tally, index: int, until: float) -> None:
    """Ask at this worker's share of the rate until the time is over."""
    pause = CONNECTIONS / RATE
    due = time.monotonic() + pause * index / CONNECTIONS
    while time.monotonic() < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await ask(session, tally)
        # A stall of the machine is not answered by a burst.
        due = max(due + pause, time.monotonic() - pause)


async def main() -> None:
    """Run all workers and print the counts."""
    tally = Tally()
    until = time.monotonic() + SECONDS
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10), connector=connector) as session:
        workers = [asyncio.create_task(worker(session, tally, index, until)) for index in range(CONNECTIONS)]
        while not all(task.done() for task in workers):
            await asyncio.sleep(1)
            tally.flush()
        await asyncio.gather(*workers)
    tally.flush()


asyncio.run(main())
