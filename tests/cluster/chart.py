"""The installed chart: taken away and put back as it was."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.cluster.operators import NAMESPACE

CHART = Path(__file__).parents[2] / "charts" / "penstock"
RELEASE = "penstock"
_SECONDS = 120


class Chart:
    """Runs helm at the release that the tests found in the cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        helm = shutil.which("helm")
        if helm is None:
            pytest.skip('needs helm on the PATH: eval "$(make -s env)"')
        self._helm = helm
        self._kubeconfig = kubeconfig

    def values(self) -> str:
        """Return the values that a person gave, as JSON."""
        return self._run("get", "values", RELEASE, "--output", "json")

    def uninstall(self) -> None:
        """Uninstall the release, and wait until what it made is gone."""
        self._run("uninstall", RELEASE, "--wait", "--timeout", f"{_SECONDS}s")

    def install(self, values: str) -> None:
        """Install the chart of this tree, and wait until it is ready."""
        self._run(
            *("upgrade", "--install", RELEASE, str(CHART), "--wait", "--timeout", f"{_SECONDS}s", "--values", "-"),
            given=values,
        )

    def _run(self, *arguments: str, given: str = "") -> str:
        command = [self._helm, *arguments, "--namespace", NAMESPACE, "--kubeconfig", str(self._kubeconfig)]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=_SECONDS + 30)
        assert done.returncode == 0, f"helm {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout
