"""Good and bad traffic against a real server with everything on, for ten minutes: its memory has to stay flat.

    python -m benchmarks.soak [--seconds 600] [--warm-up 240] [--niceness 5] [--output benchmarks/results/soak.json]

What grows with the number of requests shows as a slope of the resident memory after the warm-up, in which caches fill
and the heap finds its size: half of the growth of the first ten minutes is over after one. The slope is estimated over
means of ten seconds, so that its standard error means something, and told with twice that error. Exits with 1 when the
memory grows by more than the limit, when an answer had an unexpected status, or when the server died.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.soak_traffic import KINDS, ROWS_MAX, Target, client

from penstock_contract.environment import ServingEnvironment

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "examples" / "models" / "tumor-v1.onnx"
ROWS = ROOT / "examples" / "models" / "rows.json"
CLIENTS = 8
BLOCK_SECONDS = 10
READY_SECONDS_MAX = 60
#: What the memory may grow by in an hour, at the rate of the soak: the end of a pod's limit is years away.
GROWTH_MB_PER_HOUR_MAX = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """How fast the memory grows, in MB per hour; ``error``: twice the standard error."""

    mb_per_hour: float
    error: float

    @property
    def is_flat(self) -> bool:
        """Whether growth beyond the limit is out of the question, or at least not shown."""
        return self.mb_per_hour - self.error <= GROWTH_MB_PER_HOUR_MAX


def slope(samples: Sequence[tuple[float, float]], block_seconds: float = BLOCK_SECONDS) -> Slope:
    """Return the slope of memory (MB) over time (seconds), by least squares over the means of blocks."""
    blocks: dict[int, list[float]] = {}
    for second, megabytes in samples:
        blocks.setdefault(int(second // block_seconds), []).append(megabytes)
    if len(blocks) < 4:
        raise ValueError(f"{len(blocks)} blocks of {block_seconds:g} s are too few for a slope; soak for longer")
    hours = np.array(sorted(blocks), float) * block_seconds / 3600
    means = np.array([np.mean(blocks[key]) for key in sorted(blocks)])
    centred = hours - hours.mean()
    spread = float(centred @ centred)
    estimate = float(centred @ means) / spread
    rest = means - means.mean() - estimate * centred
    error = float(np.sqrt(rest @ rest / (len(means) - 2) / spread))
    return Slope(mb_per_hour=estimate, error=2 * error)


def means(samples: Sequence[tuple[float, float]], seconds: float) -> list[float]:
    """Return the mean memory of each stretch of time."""
    stretches: dict[int, list[float]] = {}
    for second, megabytes in samples:
        stretches.setdefault(int(second // seconds), []).append(megabytes)
    return [round(float(np.mean(stretches[key])), 2) for key in sorted(stretches)]


class Server:
    """The serving image's server as a pod runs it, with every feature on."""

    def __init__(self, folder: Path, niceness: int) -> None:
        self.log = folder / "log"
        environment = ServingEnvironment(
            model_name="tumor",
            revision="soak",
            namespace="soak",
            model_path=str(MODEL),
            model_version="1",
            request_timeout_seconds=5.0,
            http_port=0,
            management_port=0,
            grpc_port=0,
            drain_seconds=0.0,
            batching_max_rows=64,
            profile_path=str(_profile(folder)),
            prediction_log="stdout",
            prediction_log_sample=0.01,
        ).to_env()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                ["nice", "-n", str(niceness), sys.executable, "-m", "penstock_server", "--host", "127.0.0.1"],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, "PENSTOCK_TERMINATION_LOG": str(folder / "last-words")},
            )
        ready = self._ready()
        self.target = Target(http=ready["port"], management=ready["management_port"], grpc=ready.get("grpc_port", 0))

    def _ready(self) -> dict[str, Any]:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                if '"event": "ready"' in line:
                    told: dict[str, Any] = json.loads(line)
                    return told
            time.sleep(0.1)
        raise SystemExit(f"the server did not become ready:\n{self.log.read_text()}")

    def megabytes(self) -> float:
        """Return its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def errors(self) -> list[str]:
        """Return the lines in which it tells mistakes of its own."""
        words = ("internal-error", "Traceback", "Warning")
        return [line for line in self.log.read_text().splitlines() if any(word in line for word in words)]

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _rows() -> list[list[float]]:
    return [row["x"] for row in json.loads(ROWS.read_text())["rows"]]


def _profile(folder: Path) -> Path:
    np.savez(folder / "rows.npz", x=np.tile(np.array(_rows(), np.float32), (8, 1)))
    profile = folder / "profile.json"
    command = [sys.executable, "-m", "penstock_server.profile", str(MODEL), str(folder / "rows.npz"), "-q"]
    subprocess.run([*command, "-o", str(profile)], check=True, env=os.environ)
    return profile


async def soak(server: Server, seconds: float) -> tuple[list[tuple[float, float]], Counter[str]]:
    """Return samples of (second, MB), and how often each kind of request was answered how."""
    rows = _rows()
    counts: Counter[str] = Counter()
    samples: list[tuple[float, float]] = []
    started = time.monotonic()
    clients = [
        asyncio.create_task(client(server.target, rows, random.Random(number), counts)) for number in range(CLIENTS)
    ]
    try:
        while (second := time.monotonic() - started) < seconds and server.process.poll() is None:
            samples.append((second, server.megabytes()))
            for one in clients:
                if one.done():
                    one.result()  # a mistake of the soak itself
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{second:5.0f} s  {samples[-1][1]:6.1f} MB  {counts.total()} requests")
            await asyncio.sleep(1)
    finally:
        for one in clients:
            one.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    return samples, counts


def table(samples: Sequence[tuple[float, float]], counts: Counter[str], warm_up: float, grows: Slope) -> str:
    """Return what a person wants to know."""
    after = [megabytes for second, megabytes in samples if second >= warm_up]
    lines = [f"{'request':28} {'answer':>12} {'times':>10}"]
    for key in sorted(counts):
        kind, _, answer = key.partition(" ")
        lines.append(f"{kind:28} {answer:>12} {counts[key]:>10}")
    lines += [
        f"{counts.total()} requests in {samples[-1][0]:.0f} s",
        f"memory after {warm_up:.0f} s: {min(after):.1f} to {max(after):.1f} MB, at the end {after[-1]:.1f} MB",
        f"slope: {grows.mb_per_hour:+.2f} ± {grows.error:.2f} MB per hour: {'flat' if grows.is_flat else 'IT GROWS'}",
    ]
    return "\n".join(lines)


def unexpected(counts: Counter[str]) -> list[str]:
    """Return the answers that nobody wanted."""
    return sorted(key for key in counts if key.partition(" ")[2] not in KINDS[key.partition(" ")[0]])


def main() -> int:
    """Soak; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--warm-up", type=float, default=240, help="seconds that do not count (default: 240)")
    parser.add_argument("--niceness", type=int, default=5, help="of server and client (default: 5)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "soak.json")
    options = parser.parse_args()
    os.nice(options.niceness)
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name), 0)
        try:
            samples, counts = asyncio.run(soak(server, options.seconds))
            alive, errors = server.process.poll() is None, server.errors()
        finally:
            server.stop()
    grows = slope([(second, megabytes) for second, megabytes in samples if second >= options.warm_up])
    print(f"\n{table(samples, counts, options.warm_up, grows)}")
    wrong = unexpected(counts)
    for line in [*(f"unexpected: {key}" for key in wrong), *errors[:10]]:
        print(line)
    if not alive:
        print("the server did not live to the end")
    good = alive and grows.is_flat and not wrong and not errors
    options.output.write_text(
        json.dumps(
            {
                "command": "make soak",
                "seconds": round(samples[-1][0]),
                "warm_up_seconds": options.warm_up,
                "requests": counts.total(),
                "rows_per_request_max": ROWS_MAX,
                "answers": dict(sorted(counts.items())),
                "memory_mb": {
                    "at_the_start": samples[0][1],
                    "after_warm_up": next(one for second, one in samples if second >= options.warm_up),
                    "at_the_end": samples[-1][1],
                    "largest": max(one for _, one in samples),
                    "slope_per_hour": asdict(grows),
                    "means_of_half_minutes": means(samples, 30),
                },
                "passed": good,
            },
            indent=1,
        )
        + "\n"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
