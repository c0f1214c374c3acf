"""Runs every test: brings up what the tests need, runs pytest, takes down what it brought up, prints one total.

Called by ``make test`` with the project's own Python environment. Three tracks of work go on at the same time:

- ``cluster``: a cluster with Penstock in it; the tests that disturb it, one after the other, which mostly wait; then,
  when the machine's track has ended, several of the others at a time. Both use all of the machine, and both have
  something to say about time.
- ``machine``: the code is checked, programs are built that tests use beside the cluster, the fuzzers, and most tests.
- ``others``: environments of other people's programs.

At last, with nothing beside them, the tests that measure. A test that is skipped is a test that was not run: it fails
the whole.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from cluster.embedded import binaries
from cluster.tracks import ROOT, PartFailedError, Work, last_line

EMBEDDED = (sys.executable, str(ROOT / "cluster" / "embedded"))
#: By modules of cluster/modules: what tests use beside the cluster. The cluster's own are built before.
PROGRAMS = ("envoy-gateway", "h2spec", "versitygw", "registry", "fake-gcs-server", "prometheus", "alertmanager")
#: Given to tests by variables: PENSTOCK_VERSITYGW and so on.
NAMED = ("versitygw", "registry", "fake-gcs-server", "h2spec", "prometheus", "alertmanager")
CLUSTER, MACHINE, OTHERS = "cluster", "machine", "others"
#: Pods and the API server before what is only built.
BUILDS_NICENESS = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """A part of the tests that one call of pytest runs."""

    name: str
    arguments: tuple[str, ...]
    slowest: int = 10

    @property
    def title(self) -> str:
        """Return how the part is called in what is printed."""
        return f"tests {self.name}"

    def command(self, folder: Path) -> list[str]:
        """Return the call; its report comes into ``folder``."""
        report = f"--junitxml={self.report(folder)}"
        return [sys.executable, "-m", "pytest", f"--durations={self.slowest}", report, *self.arguments]

    def report(self, folder: Path) -> Path:
        """Return pytest's report."""
        return folder / f"{self.name.replace(' ', '-')}.xml"


#: Named, so that nothing else is collected for them, by several processes at a time.
CLUSTER_TESTS = ("tests/cluster", "tests/charts/test_helm_test.py")
WITHOUT_CLUSTER = Tests(
    name="without a cluster", arguments=("-q", "-m", "not cluster", "-n", "2", "--dist", "loadfile")
)
DISTURBING = Tests(name="that disturb the cluster", arguments=(*CLUSTER_TESTS, "-v", "-m", "alone"), slowest=20)
SHARING = Tests(
    name="that share the cluster",
    arguments=(
        *CLUSTER_TESTS,
        *("-v", "-m", "not alone and not quiet", "-n", "4", "--dist", "loadscope", "--no-loadscope-reorder"),
    ),
    slowest=30,
)
MEASURING = Tests(name="that measure", arguments=(*CLUSTER_TESTS, "-v", "-m", "quiet"))
PARTS = (WITHOUT_CLUSTER, DISTURBING, SHARING, MEASURING)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of all tests; ``environment`` is what all commands get, and grows."""

    work: Work
    folder: Path
    environment: dict[str, str]
    programs: Future[None] = field(default_factory=Future)
    cluster: Future[None] = field(default_factory=Future)
    others: Future[None] = field(default_factory=Future)
    machine: Future[None] = field(default_factory=Future)

    def all(self) -> bool:
        """Do everything; return whether every call of pytest was content."""
        with ThreadPoolExecutor(3) as threads:
            tracks = [threads.submit(track) for track in (self._on_cluster, self._on_machine, self._on_others)]
            try:
                wait(tracks, return_when=FIRST_EXCEPTION)
                for track in tracks:
                    if track.done():
                        track.result()
            except BaseException:
                self.work.stop()
                raise
        statuses = [status for track in tracks for status in track.result()]
        try:
            return not any([*statuses, self._test(CLUSTER, MEASURING)])
        except BaseException:
            self.work.stop()
            raise

    def _on_cluster(self) -> list[int]:
        fulfil(self.cluster, self._provision)
        has_gateway = binaries.is_linked(binaries.ENVOY_GATEWAY)
        with ThreadPoolExecutor(1) as beside:
            # The test that stops the control plane comes last, long after this.
            installed = beside.submit(self._install_gateway) if has_gateway else None
            disturbed = self._test(CLUSTER, DISTURBING)
        self.programs.result()
        if installed is None:
            self._install_gateway()
        else:
            installed.result()
        self.machine.result()
        return [disturbed, self._test(CLUSTER, SHARING)]

    def _provision(self) -> None:
        environment = {**self.environment, "CLUSTER": "embedded"}
        command = (sys.executable, str(ROOT / "cluster" / "provision.py"))
        self.work.must(CLUSTER, "a cluster with Penstock in it", *command, environment=environment)
        self.environment["KUBECONFIG"] = last_line(*EMBEDDED, "up")
        self.environment["PATH"] = f"{last_line(*EMBEDDED, 'tools')}:{self.environment['PATH']}"

    def _install_gateway(self) -> None:
        self.work.must(CLUSTER, "Envoy Gateway", *EMBEDDED, "gateway", environment=self.environment)

    def _on_machine(self) -> list[int]:
        statuses: list[int] = []
        fulfil(self.machine, lambda: statuses.append(self._test_without_cluster()))
        return statuses

    def _test_without_cluster(self) -> int:
        fulfil(self.programs, self._build)
        self._do(MACHINE, "fuzzers, 10 s each", sys.executable, "-m", "tests.fuzz.run", "--seconds", "10")
        self.others.result()
        return self._test(MACHINE, WITHOUT_CLUSTER)

    def _build(self) -> None:
        self._do(MACHINE, "make check", "make", "--no-print-directory", "check")
        # The cluster's own first, whoever comes first: it is waited for.
        self._do(MACHINE, "programs of the cluster", *EMBEDDED, "tools")
        self._do(MACHINE, "programs beside the cluster", *EMBEDDED, "tools", *PROGRAMS)
        for program in NAMED:
            variable = f"PENSTOCK_{program.upper().replace('-', '_')}"
            self.environment[variable] = str(binaries.bin_dir() / program)

    def _on_others(self) -> list[int]:
        fulfil(self.others, self._get_others)
        return []

    def _get_others(self) -> None:
        environments = (sys.executable, "-m", "tests.clients.environments")
        self._do(OTHERS, "environments of other people's programs", *environments)
        # There is one apt-get at a time, and the cluster may be installing packages before it is up.
        self.cluster.result()
        self._do(OTHERS, "a store like Azure's", *environments, "azurite")
        self.environment["PENSTOCK_CHROMIUM"] = last_line(sys.executable, str(ROOT / "cluster" / "browser.py"))

    def _do(self, track: str, title: str, *command: str) -> None:
        self.work.must(track, title, *command, environment=self.environment, niceness=BUILDS_NICENESS)

    def _test(self, track: str, tests: Tests) -> int:
        command = tests.command(self.folder)
        return self.work.run(track, tests.title, *command, environment=self.environment)


def fulfil(promise: Future[None], do: Callable[[], None]) -> None:
    """Do what others wait for; a failure of it is one of theirs too."""
    try:
        do()
    except BaseException as error:
        promise.set_exception(error)
        raise
    promise.set_result(None)


def total(reports: Iterable[Path]) -> Counter[str]:
    """Return how many tests passed, failed and were skipped, over all of pytest's reports."""
    totals: Counter[str] = Counter(failed=0, skipped=0, passed=0)
    for report in reports:
        # Written by our own pytest a moment ago.
        suite = ET.parse(report).getroot().find("testsuite") if report.exists() else None  # noqa: S314
        if suite is None:
            totals["failed"] += 1
            continue
        counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
        totals["failed"] += counts["failures"] + counts["errors"]
        totals["skipped"] += counts["skipped"]
        totals["passed"] += counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return totals


def main() -> None:
    """Run everything; the exit status is 0 only if every test was run and passed."""
    # Whoever ends this, by ctrl-C or by name, ends what it has started too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    work = Work()
    # A cluster that is up already (make up) is used and left as it is.
    ours = subprocess.run([*EMBEDDED, "status"], check=False, capture_output=True).returncode != 0
    content = False
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                content = Run(work=work, folder=folder, environment=dict(os.environ)).all()
            except PartFailedError as error:
                work.say(f"== failed: {error}; nothing can go on without it")
            totals = total(part.report(folder) for part in PARTS)
    finally:
        if ours:
            work.say("== taking the cluster down")
            subprocess.run([*EMBEDDED, "down"], check=False)
    print(work.table())
    print(f"== make test: {time.monotonic() - work.started:.0f} s in all")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped", flush=True)
    sys.exit(0 if content and not totals["failed"] and not totals["skipped"] else 1)


if __name__ == "__main__":
    main()
