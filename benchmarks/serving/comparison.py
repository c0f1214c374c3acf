"""The comparison: every server on every workload, in turns."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import wire
from benchmarks.serving.contenders import Contender, Start
from benchmarks.serving.figures import Cell
from benchmarks.serving.models import Subject
from benchmarks.serving.processes import ServerFailed, ServerProcess, listening_inodes
from benchmarks.serving.results import Results
from benchmarks.serving.rounds import Load, Patience, Round, RoundFailed, measured, play
from benchmarks.serving.workloads import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long and how often."""

    seconds: float
    warm_up_seconds: float
    rounds: int
    starts: int
    server_core: int
    client_core: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A contender that serves."""

    contender: Contender
    start: Start
    process: ServerProcess

    def port(self, dialect: wire.Dialect) -> int:
        """Return where this dialect is spoken; 0 where it is not."""
        return self.start.grpc_port if dialect.grpc_path else self.start.port


def started(contender: Contender, subject: Subject, folder: Path, pace: Pace, results: Results) -> Running:
    """Start one server and wait until it is ready; raise ServerFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    start = contender.start(subject, folder)
    for port in filter(None, (start.port, start.grpc_port)):
        if listening_inodes(port):
            raise ServerFailed(f"somebody listens on port {port} already")
    process = ServerProcess(
        start.command, environment=start.environment, core=pace.server_core, log=folder / "server.log"
    )
    try:
        seconds = process.wait_ready(start.port, start.ready_path)
        if listening_inodes(start.grpc_port):
            process.check_owns(start.grpc_port)
    except BaseException:
        process.end()
        raise
    if subject.name == "gbm":
        results.start_seconds.setdefault(contender.name, []).append(seconds)
    print(f"  {contender.name} is ready after {seconds:.2f} s", flush=True)
    return Running(contender=contender, start=start, process=process)


@contextlib.contextmanager
def all_running(
    contenders: Sequence[Contender], subject: Subject, pace: Pace, results: Results
) -> Iterator[list[Running]]:
    """Start every server, several times where starts are measured; all but the one that is measured stand still."""
    running: list[Running] = []
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        try:
            for contender in contenders:
                try:
                    for turn in range(pace.starts if subject.name == "gbm" else 1):
                        if turn:
                            running.pop().process.end()
                        running.append(started(contender, subject, Path(folder) / contender.name, pace, results))
                    running[-1].process.pause()
                except ServerFailed as error:
                    results.failures.append(f"{contender.name}, model {subject.name}: {str(error).splitlines()[-1]}")
                    print(f"  {contender.name} FAILED: {error}", flush=True)
            yield running
        finally:
            for each in running:
                each.process.end()


def compare(
    workload: Workload,
    connections: int,
    servers: Sequence[Running],
    subject: Subject,
    *,
    pace: Pace,
    patience: Patience,
    results: Results,
) -> None:
    """Measure all servers in turns, each round beginning with another one, and add what was found to the results."""
    print(f"{workload.says}, {connections} connection{'s' if connections > 1 else ''}", flush=True)
    expected = subject.expected(workload.rows)
    lines = [(running, dialect) for running in servers for dialect in running.contender.dialects]
    found: dict[str, list[Round]] = {}
    failed: set[str] = set()
    for turn in range(pace.rounds):
        shift = turn * len(lines) // pace.rounds
        for running, dialect in lines[shift:] + lines[:shift]:
            line = running.contender.line(dialect)
            if line in failed:
                continue
            load = Load(
                dialect=dialect,
                payload=dialect.ask(subject.input_name, subject.rows[: workload.rows]),
                expected=expected,
                connections=connections,
                seconds=pace.seconds,
                warm_up_seconds=pace.warm_up_seconds,
                core=pace.client_core,
            )
            try:
                one = _turn(running, load, patience)
            except RoundFailed as error:
                failed.add(line)
                results.failures.append(f"{line}, {workload.name}, {connections} connections: {error}")
                print(f"  {line}: FAILED: {error}", flush=True)
                continue
            found.setdefault(line, []).append(one)
            print(f"  {turn + 1}/{pace.rounds} {line:24} {one.figures.requests_per_second:10,.0f}/s", flush=True)
            if subject.name == "gbm":
                name, size = running.contender.name, round(running.process.resident_megabytes(), 1)
                results.resident_megabytes[name] = max(size, results.resident_megabytes.get(name, 0.0))
    for line in sorted(found.keys() - failed, key=[running.contender.line(one) for running, one in lines].index):
        cell = Cell(line=line, workload=workload.name, connections=connections)
        results.cells[cell] = measured(found[line])


def _turn(running: Running, load: Load, patience: Patience) -> Round:
    running.process.resume()
    try:
        return play(load, port=running.port(load.dialect), server_pids=[running.process.pid], patience=patience)
    finally:
        running.process.pause()
