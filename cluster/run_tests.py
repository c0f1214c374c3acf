"""Runs every test: brings up what the tests need, runs pytest, takes down what it brought up, prints one total.

Called by ``make test`` with the project's own Python environment. The cluster comes up while the code is checked.
Tests on it mostly wait. Those that disturb it run one after the other, beside what needs no cluster: the fuzzers and
most tests; then several of the others at a time; at last, with nothing beside them, those that measure. A test that is
skipped is a test that was not run: it fails the whole.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED = [sys.executable, str(ROOT / "cluster" / "embedded")]


def say(text: str) -> None:
    """Print one line."""
    print(f"== {text}", flush=True)


def step(title: str, *command: str, environment: dict[str, str]) -> None:
    """Run one step with its time; stop the tests if it fails."""
    started = time.monotonic()
    say(title)
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    say(f"{title}: {'done' if done.returncode == 0 else 'FAILED'} after {time.monotonic() - started:.0f} s")
    if done.returncode:
        sys.exit(done.returncode)


def output(*arguments: str) -> str:
    """Return the last line that the embedded cluster's command prints."""
    return last_line(*EMBEDDED, *arguments)


def last_line(*command: str) -> str:
    """Return the last line that a command prints."""
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().splitlines()[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the tests that one call of pytest runs."""

    name: str
    arguments: tuple[str, ...]
    slowest: int = 10

    def command(self, folder: Path) -> list[str]:
        """Return the call; its report comes into ``folder``."""
        report = f"--junitxml={self.report(folder)}"
        return [sys.executable, "-m", "pytest", "-q", f"--durations={self.slowest}", report, *self.arguments]

    def report(self, folder: Path) -> Path:
        """Return pytest's report."""
        return folder / f"{self.name.replace(' ', '-')}.xml"

    def log(self, folder: Path) -> Path:
        """Return what pytest printed, where that was not the terminal."""
        return self.report(folder).with_suffix(".log")


#: Named, so that nothing else is collected for them, by several processes at a time.
CLUSTER_TESTS = ("tests/cluster", "tests/charts/test_helm_test.py")
WITHOUT_CLUSTER = Part(name="without a cluster", arguments=("-m", "not cluster", "-n", "2", "--dist", "loadfile"))
DISTURBING = Part(name="that disturb the cluster", arguments=(*CLUSTER_TESTS, "-m", "alone"), slowest=20)
SHARING = Part(
    name="that share the cluster",
    arguments=(
        *CLUSTER_TESTS,
        *("-m", "not alone and not quiet", "-n", "4", "--dist", "loadscope", "--no-loadscope-reorder"),
    ),
    slowest=20,
)
MEASURING = Part(name="that measure", arguments=(*CLUSTER_TESTS, "-m", "quiet"))
PARTS = (WITHOUT_CLUSTER, DISTURBING, SHARING, MEASURING)


def run_part(part: Part, folder: Path, environment: dict[str, str]) -> int:
    """Run one part; return pytest's exit status."""
    say(f"tests {part.name}")
    return subprocess.run(part.command(folder), cwd=ROOT, env=environment, check=False).returncode


@contextmanager
def beside(title: str, *command: str, log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the block; what it prints is shown when both have ended."""
    started = time.monotonic()
    say(f"{title}: begun, beside what follows")
    with log.open("w") as printed:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=printed, stderr=subprocess.STDOUT)
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        say(f"{title}, begun before: ended with {process.returncode} after {time.monotonic() - started:.0f} s")
        print(log.read_text(), flush=True)


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


def prepare(environment: dict[str, str]) -> None:
    """Check the code and set up what tests use beside the cluster."""
    step("make check", "make", "--no-print-directory", "check", environment=environment)
    environment["PATH"] = f"{output('tools')}:{environment['PATH']}"
    for program in ("versitygw", "registry", "fake-gcs-server", "h2spec", "prometheus", "alertmanager"):
        variable = f"PENSTOCK_{program.upper().replace('-', '_')}"
        environment[variable] = str(Path(output("tools", program)) / program)
    for_others = (sys.executable, "-m", "tests.clients.environments")
    step("environments of other people's programs", *for_others, environment=environment)


def run_all(folder: Path, environment: dict[str, str]) -> list[int]:
    """Run all parts; return the exit statuses of pytest."""
    gateway = ("--", *EMBEDDED, "gateway")
    provision = (sys.executable, str(ROOT / "cluster" / "provision.py"), *gateway)
    for_cluster = {**environment, "CLUSTER": "embedded"}
    log = folder / "provision.log"
    with beside("a cluster with Penstock in it", *provision, log=log, environment=for_cluster) as provisioning:
        prepare(environment)
    if provisioning.returncode:
        sys.exit(provisioning.returncode)
    # Not beside the cluster, which may be installing packages: there is one apt-get at a time.
    environment["PENSTOCK_CHROMIUM"] = last_line(sys.executable, str(ROOT / "cluster" / "browser.py"))
    environment["KUBECONFIG"] = output("up")
    statuses: list[int] = []
    title, disturbing = f"tests {DISTURBING.name}", DISTURBING.command(folder)
    with beside(title, *disturbing, log=DISTURBING.log(folder), environment=environment) as disturbed:
        fuzzers = (sys.executable, "-m", "tests.fuzz.run", "--seconds", "10")
        step("fuzzers, 10 s each", *fuzzers, environment=environment)
        statuses.append(run_part(WITHOUT_CLUSTER, folder, environment))
    return [*statuses, disturbed.returncode, *(run_part(part, folder, environment) for part in (SHARING, MEASURING))]


def main() -> None:
    """Run everything; the exit status is 0 only if every test was run and passed."""
    started = time.monotonic()
    # A cluster that is up already (make up) is used and left as it is.
    ours = subprocess.run([*EMBEDDED, "status"], check=False, capture_output=True).returncode != 0
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            statuses = run_all(folder, dict(os.environ))
            totals = total(part.report(folder) for part in PARTS)
    finally:
        if ours:
            say("taking the cluster down")
            subprocess.run([*EMBEDDED, "down"], check=False)
    say(f"make test: {time.monotonic() - started:.0f} s in all")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped", flush=True)
    sys.exit(1 if any(statuses) or totals["failed"] or totals["skipped"] else 0)


if __name__ == "__main__":
    main()
