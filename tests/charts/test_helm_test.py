"""``helm test`` on a whole cluster."""

import os
from pathlib import Path

import pytest
from tests.charts.conftest import Helm


@pytest.mark.cluster
def test_helm_test_finds_the_installation_well(helm: Helm) -> None:
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        pytest.skip('needs a cluster with Penstock in it: make install, then eval "$(make -s env)"; or make test')
    done = helm("test", "penstock", "--namespace", "penstock-system", "--logs", kubeconfig=Path(kubeconfig))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the operator is ready" in done.stdout
