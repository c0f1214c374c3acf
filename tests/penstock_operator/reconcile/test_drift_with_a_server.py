"""A real serving process under watch: what it counts and tells over HTTP is what the policy judges."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import numpy.typing as npt
import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.penstock_server import onnx_models
from tests.penstock_server.command_line import started

from penstock_operator.adapters.drift_metrics import DriftMetrics
from penstock_operator.adapters.serving_pods import HttpServingPods
from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.conditions import Reason
from penstock_operator.core.names import revision_labels
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.reconcile.drift_watch import DriftWatch
from penstock_operator.reconcile.watching import Case, Seen

WINDOW = 100
REVISION = "fraud-7c9f2b41"
SPEC = DriftPolicySpec.parse(
    {
        "target": {"kind": "ModelDeployment", "name": "fraud"},
        "windowRows": WINDOW,
        "drift": {"inputs": {}, "outputs": {}},
        "dataQuality": {},
    }
)
Rows = npt.NDArray[np.float32]


def rows(seed: int, count: int) -> Rows:
    made: Rows = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A model and its profile, served on loopback; the address of inference, and the management port."""
    model, data = tmp_path / "model.onnx", tmp_path / "rows.npz"
    model.write_bytes(onnx_models.identity("FP32", [None, 2]).SerializeToString())
    matrix = rows(1, 4000)
    np.savez(data, amount=matrix[:, 0], age=matrix[:, 1])
    made = [
        sys.executable,
        "-m",
        "penstock_server.profile",
        str(model),
        str(data),
        "-o",
        str(tmp_path / "profile.json"),
    ]
    subprocess.run([*made, "-q"], check=True, timeout=60)
    with started(model) as (url, management):
        yield urlsplit(url).netloc, int(urlsplit(management).port or 0)


def ask(address: str, matrix: Rows) -> None:
    """Send each row in a request of its own."""
    connection = http.client.HTTPConnection(address, timeout=10)
    for row in matrix.tolist():
        body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": row}]}
        connection.request("POST", "/v2/models/model/infer", json.dumps(body))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


def objects(kind: Kind, name: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "labels": revision_labels("fraud", REVISION)}
    return {"apiVersion": kind.resource.api_version, "kind": kind.resource.kind, "metadata": metadata, **fields}


async def test_what_a_server_counts_is_judged_and_the_feature_that_moved_is_named(server: tuple[str, int]) -> None:
    address, port = server
    cluster = FakeCluster()
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "127.0.0.1"}
    cluster.put(objects(Kind.POD, "fraud-1", status=ready))
    deployment = objects(Kind.MODEL_DEPLOYMENT, "fraud", status={"stableRevision": REVISION})
    ref = ObjectRef(kind=Kind.DRIFT_POLICY, namespace="shop", name="guard")
    ask(address, rows(2, 30) + 9)
    clock = FakeClock(time.time() + 1)  # what came before is of before anybody watched
    async with aiohttp.ClientSession() as session:
        watch = DriftWatch(
            cluster=cluster,
            pods=HttpServingPods(session, port=port),
            clock=clock,
            monotonic=clock.monotonic,
            interval_seconds=30.0,
            observer=DriftMetrics(),
        )

        async def look() -> Seen:
            clock.move_to(clock.now() + 30)
            return await watch.look(
                Case(
                    ref=ref,
                    owner=objects(Kind.DRIFT_POLICY, "guard"),
                    spec=SPEC,
                    split=None,
                    deployments=[deployment],
                    live={},
                )
            )

        assert (await look()).report.watching.reason is Reason.COLLECTING_ROWS
        for seed in (3, 4):
            ask(address, rows(seed, WINDOW))
            seen = await look()
        assert seen.report.watching.reason is Reason.WATCHING, seen.report
        assert seen.report.health.status is True
        assert seen.report.windows["rows"] == 2 * WINDOW

        moved = rows(5, WINDOW)
        moved[:, 1] += 2
        ask(address, moved)
        seen = await look()
    assert {alarm.name for alarm in seen.alarms} == {"inputs/age", "outputs/y[1]"}
    assert seen.report.health.reason is Reason.INPUT_DRIFT
    assert seen.report.health.message.startswith("age: PSI ")
