"""Runs every test: brings up what the tests need, runs pytest once over all of them, takes down what it brought up.

Called by ``make test`` with the project's own Python environment. Arguments go to pytest.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

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


def main() -> None:
    """Run everything; the exit status is pytest's."""
    started = time.monotonic()
    environment = dict(os.environ)
    step("make check", "make", "--no-print-directory", "check", environment=environment)
    environment["PATH"] = f"{output('tools')}:{environment['PATH']}"
    environment["PENSTOCK_VERSITYGW"] = str(Path(output("tools", "versitygw")) / "versitygw")
    # A cluster that is up already (make up) is used and left as it is.
    ours = subprocess.run([*EMBEDDED, "status"], check=False, capture_output=True).returncode != 0
    try:
        step(
            "a cluster with Penstock in it",
            *(sys.executable, str(ROOT / "cluster" / "provision.py")),
            environment={**environment, "CLUSTER": "embedded"},
        )
        environment["KUBECONFIG"] = output("up")
        say("pytest")
        done = subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], cwd=ROOT, env=environment, check=False)
    finally:
        if ours:
            say("taking the cluster down")
            subprocess.run([*EMBEDDED, "down"], check=False)
    say(f"make test: {time.monotonic() - started:.0f} s in all")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
