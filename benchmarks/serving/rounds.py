"""One round of load on one server, repeated while somebody disturbs it."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.serving import wire
from benchmarks.serving.environments import ROOT
from benchmarks.serving.figures import Figures
from benchmarks.serving.load import Job, Outcome
from benchmarks.serving.processes import pinned
from benchmarks.serving.quiet import Usage, disturbance
from benchmarks.serving.results import Measured

#: A round that was disturbed is repeated at most so often; the quietest then counts, and the report says so.
_REPEATS_MAX = 2
_CLIENT_SECONDS_MAX = 180


class RoundFailed(Exception):  # noqa: N818
    """The server did not answer as it should; the message is for a person."""


@dataclass(slots=True)
class Patience:
    """How many repetitions are left for the whole run: on a busy machine it ends all the same."""

    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked, of whom, for how long."""

    dialect: wire.Dialect
    payload: bytes
    expected: Mapping[str, list[float]]
    connections: int
    seconds: float
    warm_up_seconds: float
    core: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round as it counts: after the repetitions that were needed."""

    figures: Figures
    disturbed: str | None
    repeated: int


def play(load: Load, *, port: int, server_pids: Sequence[int], patience: Patience) -> Round:
    """Return one round, the quietest of its repetitions; raise RoundFailed."""
    tried: list[tuple[float, Outcome, str | None]] = []
    while True:
        outcome = _outcome(load, port=port, server_pids=server_pids)
        for sample in outcome.samples:
            try:
                wire.check(load.dialect, base64.b64decode(sample), load.expected)
            except wire.WrongAnswer as error:
                raise RoundFailed(f"wrong answer: {error}") from error
        used = Usage(
            server=outcome.server_cpu_seconds,
            client=outcome.client_cpu_seconds,
            foreign=outcome.foreign_cpu_seconds,
            stolen=outcome.stolen_seconds,
        )
        disturbed = disturbance(used, outcome.seconds)
        tried.append((used.disturbing / outcome.seconds, outcome, disturbed))
        if disturbed is None or len(tried) > _REPEATS_MAX or patience.left <= 0:
            break
        patience.left -= 1
        print(f"    disturbed, once more: {disturbed}", flush=True)
    _, outcome, disturbed = min(tried, key=lambda each: each[0])
    return Round(figures=_figures(outcome), disturbed=disturbed, repeated=len(tried) - 1)


def measured(rounds: Sequence[Round]) -> Measured:
    """Return rounds of one cell together."""
    return Measured(
        rounds=[each.figures for each in rounds],
        disturbed=[each.disturbed for each in rounds if each.disturbed is not None],
        repeated=sum(each.repeated for each in rounds),
    )


def _figures(outcome: Outcome) -> Figures:
    return Figures(
        requests_per_second=outcome.requests / outcome.seconds,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        cpu_seconds_per_1000=outcome.server_cpu_seconds / outcome.requests * 1000,
        client_share=min(1.0, outcome.client_cpu_seconds / outcome.seconds),
    )


def _outcome(load: Load, *, port: int, server_pids: Sequence[int]) -> Outcome:
    job = Job(
        port=port,
        payload=wire.encoded(load.payload),
        connections=load.connections,
        seconds=load.seconds,
        warm_up_seconds=load.warm_up_seconds,
        server_pids=list(server_pids),
        grpc_path=load.dialect.grpc_path,
    )
    # Flags: no site packages, no user site. The client needs none, and starts faster without.
    command = [sys.executable, "-S", "-m", "benchmarks.serving.load"]
    with pinned(load.core):
        client = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)},
        )
    try:
        said, complaint = client.communicate(json.dumps(asdict(job)), timeout=_CLIENT_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        client.kill()
        client.wait()
        raise RoundFailed(f"the load client did not end within {_CLIENT_SECONDS_MAX} s") from None
    if client.returncode:
        raise RoundFailed(complaint.strip().splitlines()[-1] if complaint.strip() else "the load client failed")
    return Outcome(**json.loads(said))
