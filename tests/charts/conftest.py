"""Helm, and the chart as it renders."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.embedded import binaries

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "penstock"

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]
Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Run the pinned helm."""
    program = binaries.ensure((binaries.HELM,)) / "helm"

    def run(*arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        extra = ("--kubeconfig", str(kubeconfig)) if kubeconfig else ()
        return subprocess.run(
            [str(program), *arguments, *extra], capture_output=True, text=True, check=False, timeout=120
        )

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Render the chart with ``--set`` values into manifests; fails on an error."""

    def run(*values: str, namespace: str = "penstock-system") -> list[Manifest]:
        flags = [part for value in values for part in ("--set", value)]
        done = helm("template", "penstock", str(CHART), "--namespace", namespace, *flags)
        assert done.returncode == 0, done.stderr
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]

    return run
