"""What importing the package decides for the libraries that are imported after it."""

import os
import subprocess
import sys

THREADS = "import penstock_server, numpy, os; print(len(os.listdir('/proc/self/task')))"


def test_numpy_starts_no_threads_of_its_own() -> None:
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", THREADS], env=env, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "1"
