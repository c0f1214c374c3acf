"""Runs every test: brings up what the tests need, runs pytest, takes down what it brought up, prints one total.

Called by ``make test`` with the project's own Python environment. Tests without a cluster run one after the other;
those on the cluster mostly wait, so several run at a time. A test that is skipped is a test that was not run: it fails
the whole.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
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
    done = subprocess.run([*EMBEDDED, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().splitlines()[-1]


def total(reports: list[Path]) -> Counter[str]:
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
    started = time.monotonic()
    environment = dict(os.environ)
    step("make check", "make", "--no-print-directory", "check", environment=environment)
    environment["PATH"] = f"{output('tools')}:{environment['PATH']}"
    environment["PENSTOCK_VERSITYGW"] = str(Path(output("tools", "versitygw")) / "versitygw")
    # A cluster that is up already (make up) is used and left as it is.
    ours = subprocess.run([*EMBEDDED, "status"], check=False, capture_output=True).returncode != 0
    statuses: list[int] = []
    totals: Counter[str] = Counter()
    try:
        step(
            "a cluster with Penstock in it",
            *(sys.executable, str(ROOT / "cluster" / "provision.py")),
            environment={**environment, "CLUSTER": "embedded"},
        )
        environment["KUBECONFIG"] = output("up")
        with tempfile.TemporaryDirectory() as folder:
            reports = [Path(folder) / "alone.xml", Path(folder) / "cluster.xml"]
            selections = [["-m", "not cluster"], ["-m", "cluster", "-n", "3", "--dist", "loadscope"]]
            for report, selection in zip(reports, selections, strict=True):
                say(f"pytest {' '.join(selection)}")
                command = [sys.executable, "-m", "pytest", "-q", "--durations=10", f"--junitxml={report}", *selection]
                statuses.append(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)
            totals = total(reports)
    finally:
        if ours:
            say("taking the cluster down")
            subprocess.run([*EMBEDDED, "down"], check=False)
    say(f"make test: {time.monotonic() - started:.0f} s in all")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped", flush=True)
    sys.exit(1 if any(statuses) or totals["failed"] or totals["skipped"] else 0)


if __name__ == "__main__":
    main()
