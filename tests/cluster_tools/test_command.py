"""The command as a person calls it, with the system's python and no virtual environment."""

import subprocess
import sys
from pathlib import Path

import pytest

CLUSTER = Path(__file__).resolve().parents[2] / "cluster"
WITHOUT_PACKAGES = [sys.executable, "-I", "-S"]


def test_it_runs_as_a_folder_without_any_package_installed() -> None:
    result = subprocess.run(
        [*WITHOUT_PACKAGES, str(CLUSTER / "embedded"), "--help"], check=True, capture_output=True, text=True
    )
    assert "control-plane" in result.stdout


def test_an_unknown_image_is_refused_with_the_names_there_are() -> None:
    result = subprocess.run(
        [sys.executable, str(CLUSTER / "embedded"), "images", "nginx"], check=False, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "operator" in result.stderr


def test_the_log_of_a_component_that_never_ran_is_a_message_and_no_traceback(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(CLUSTER / "embedded"), "logs", "etcd"],
        check=False,
        capture_output=True,
        text=True,
        env={"PENSTOCK_STATE": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert result.returncode == 1
    assert result.stderr.strip() == "error: no log of 'etcd'; there are: none, run `up` first"


@pytest.mark.parametrize("command", ["up", "down"])
def test_without_root_the_message_names_the_remedy(command: str, tmp_path: Path) -> None:
    program = (
        f"import os, sys; sys.path.insert(0, {str(CLUSTER)!r}); os.geteuid = lambda: 1000; "
        f"from embedded.cli import main; sys.exit(main([{command!r}]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        env={"PENSTOCK_STATE": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert result.returncode == 1
    assert "sudo" in result.stderr
    assert "CLUSTER=current" in result.stderr
