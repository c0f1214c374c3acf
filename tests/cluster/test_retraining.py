"""From drift to a new version: named, told to a real Alertmanager, trained for once, judged, promoted, reported."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from examples.quickstart.quickstart import MODELS, digests
from tests.cluster.alertmanager import Alertmanager, running
from tests.cluster.api import Manifest, wait
from tests.cluster.scene import PATIENCE_SECONDS, SERVER_IMAGE, Scene, base64_text

pytestmark = pytest.mark.cluster

FEATURE = "mean texture"
WINDOW = 200
RATE = 80
Rows = npt.NDArray[np.float32]

#: What a person's training would end with: it reads why it was begun, and says what it has made. It has no rights.
TRAIN = """
import json, os
report = json.load(open(os.environ["PENSTOCK_REPORT"]))
assert report["alarm"]["name"] == os.environ["PENSTOCK_ALARM"], report["alarm"]
assert os.environ["PENSTOCK_REFERENCE_SHA256"], os.environ
assert not os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token")
with open("/dev/termination-log", "w") as told:
    json.dump({"penstock.dev/model": json.loads(os.environ["NEW_MODEL"])}, told)
print("published", os.environ["PENSTOCK_TRAINING"])
"""


def rows(seed: int, count: int, *, moved: bool) -> Rows:
    """Rows like those of the quickstart, none twice; ``moved`` has one feature elsewhere."""
    rng = np.random.default_rng(seed)
    known = np.array([row["x"] for row in json.loads((MODELS / "rows.json").read_text())["rows"]], dtype=np.float32)
    drawn = known[rng.integers(0, len(known), count)]
    drawn = drawn + 0.2 * known.std(axis=0) * rng.normal(size=drawn.shape)
    if moved:
        place = features().index(FEATURE)
        drawn[:, place] += 1.5 * known[:, place].std()
    found: Rows = drawn.astype(np.float32)
    return found


def features() -> list[str]:
    names: list[str] = json.loads((MODELS / "rows.json").read_text())["features"]
    return names


def profile(folder: Path, model: str, *, seed: int, moved: bool) -> bytes:
    """Return the reference of a model over held-out rows, as its command makes it."""
    data, made = folder / f"{model}.npz", folder / f"{model}.json"
    matrix = rows(seed, 4000, moved=moved)
    columns: dict[str, Any] = {name: matrix[:, place] for place, name in enumerate(features())}
    np.savez(data, **columns)
    command = [sys.executable, "-m", "penstock_server.profile", str(MODELS / model), str(data), "-o", str(made), "-q"]
    subprocess.run(command, check=True, timeout=120)
    return made.read_bytes()


def version(config_map: str, file: str, number: str, reference: bytes) -> Manifest:
    """Return the model of a ModelDeployment with the reference beside it."""
    profile = {"sha256": sha256(reference).hexdigest()}
    return {"uri": f"configmap://{config_map}/{file}", "sha256": digests()[file], "version": number, "profile": profile}


def training(model: Manifest) -> Manifest:
    """Return a suspended CronJob whose template publishes ``model``."""
    secure = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container: dict[str, Any] = {
        "name": "train",
        "image": SERVER_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", TRAIN],
        "env": [{"name": "NEW_MODEL", "value": json.dumps(model)}],
        "securityContext": secure,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    template = {"spec": {"backoffLimit": 0, "template": {"spec": pod}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tumor-train"},
        "spec": {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": template},
    }


def policy(webhook: str) -> Manifest:
    """Return one policy for everything: the candidate's errors, drift, data quality, and what follows."""
    metric = {"name": "errors", "source": "ErrorRate", "against": "Stable", "acceptDifference": 0.02}
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "DriftPolicy",
        "metadata": {"name": "tumor-guard"},
        "spec": {
            "target": {"kind": "TrafficSplit", "name": "tumor"},
            "windowRows": WINDOW,
            "metrics": [metric],
            "drift": {"inputs": {"psiMax": 0.2}},
            "actions": [
                {"signals": ["Metrics", "Outputs"], "when": "AttributableToRevision", "do": ["Rollback", "Alert"]},
                {"signals": ["Inputs"], "do": ["Alert", "Retrain"]},
            ],
            # The model was applied by these tests, from whom it may be taken.
            "retrain": {"cronJob": "tumor-train", "update": {"modelDeployment": "tumor", "takeFrom": ["tests"]}},
            "alert": {"webhook": {"url": webhook, "repeatEvery": "10s"}},
        },
    }


def plugin(scene: Scene, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``kubectl penstock`` in the scene's namespace."""
    command = [sys.executable, "-m", "penstock_cli", "-n", scene.namespace, *arguments]
    environment = {**os.environ, "KUBECONFIG": str(scene.api.kubeconfig)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


@pytest.fixture(scope="class")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    with running(tmp_path_factory.mktemp("alertmanager")) as found:
        yield found


class TestRetraining:
    """One story, in order."""

    lasts_seconds = 60

    def guard(self, scene: Scene) -> Manifest:
        return scene.status("DriftPolicy", "tumor-guard")

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def shop(cls, scene: Scene, alertmanager: Alertmanager, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A model behind a split, whose traffic is not what it was made for."""
        folder = tmp_path_factory.mktemp("profiles")
        old, new = "tumor-v1.onnx", "tumor-v2.onnx"
        references = {old: profile(folder, old, seed=1, moved=False), new: profile(folder, new, seed=2, moved=True)}
        for name, file in (("now", old), ("next", new)):
            files = {file: (MODELS / file).read_bytes(), "profile.json": references[file]}
            scene.config_map(name, files)
        scene.serve(model=version("now", old, "1", references[old]))
        scene.apply(training(version("next", new, "2", references[new])))
        scene.apply(policy(alertmanager.url))
        steps = [{"weight": 50, "hold": "2s", "require": "Pass"}, {"weight": 100}]
        split = {"stable": {"modelDeployment": "tumor"}, "strategy": {"steps": steps}, "policies": ["tumor-guard"]}
        head = {"apiVersion": "penstock.dev/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": "tumor"}}
        scene.apply({**head, "spec": split})
        scene.wait_ready("TrafficSplit")
        known = json.loads((MODELS / "rows.json").read_text())
        matrix = rows(3, 1000, moved=True).round(5).tolist()
        told = {**known, "rows": [{**known["rows"][0], "x": row} for row in matrix]}
        client = (MODELS.parent / "quickstart" / "client.py").read_bytes()
        sent = {"client.py": base64_text(client), "rows.json": base64_text(json.dumps(told).encode())}
        scene.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "client"}, "binaryData": sent})
        scene.ask(rate=RATE)

    def test_the_feature_is_named_and_a_real_alertmanager_has_the_alert(
        self, scene: Scene, alertmanager: Alertmanager
    ) -> None:
        labels = {"alertname": "PenstockInputDrift", "policy": "tumor-guard", "signal": f"inputs/{FEATURE}"}
        wait(
            "Alertmanager has the alert",
            lambda: alertmanager.alerts(**labels),
            seconds=PATIENCE_SECONDS,
            picture=scene.picture,
        )
        (alert,) = alertmanager.alerts(**labels)
        assert alert["labels"]["namespace"] == scene.namespace
        assert f"{FEATURE}: PSI " in alert["annotations"]["description"]
        drifted = [one["labels"]["signal"] for one in alertmanager.alerts(alertname="PenstockInputDrift")]
        assert drifted == [f"inputs/{FEATURE}"]

    def test_a_person_is_answered_by_name_what_alarms_there_are(self, scene: Scene) -> None:
        done = plugin(scene, "ack", "tumor-guard", "inputs/nothing")
        assert done.returncode == 1
        assert "Refused: no alarm inputs/nothing to acknowledge; there are: " in done.stderr
        assert f"inputs/{FEATURE}" in done.stderr

    def test_the_training_runs_once_and_what_it_publishes_is_judged_and_promoted(self, scene: Scene) -> None:
        old = scene.status("TrafficSplit")["stableRevision"]
        wait(
            "the new version is promoted",
            lambda: scene.status("TrafficSplit").get("stableRevision") not in (None, old),
            seconds=PATIENCE_SECONDS,
            picture=scene.picture,
        )
        (job,) = scene.api.list("Job", scene.namespace)
        (training,) = self.guard(scene)["trainings"]
        assert (training["name"], training["state"]) == (job["metadata"]["name"], "Succeeded"), scene.picture()
        assert training["updated"] == "tumor asks for configmap://next/tumor-v2.onnx, version 2"
        live = scene.api.the("ModelDeployment", "tumor", scene.namespace)
        owners = [
            one["manager"]
            for one in live["metadata"]["managedFields"]
            if "f:model" in one["fieldsV1"].get("f:spec", {})
        ]
        assert "penstock-retrain" in owners
        (ended,) = (one for one in scene.status("TrafficSplit")["history"] if one["outcome"] == "Promoted")
        assert ended["revision"] == scene.status("ModelDeployment")["latestRevision"]
        assert scene.status("TrafficSplit").get("rejected", []) == []

    def test_the_new_version_fits_the_traffic_and_the_alert_ends(
        self, scene: Scene, alertmanager: Alertmanager
    ) -> None:
        wait(
            "Alertmanager has no alert any more",
            lambda: not alertmanager.alerts(alertname="PenstockInputDrift"),
            seconds=PATIENCE_SECONDS,
            picture=scene.picture,
        )
        wait(
            "no alarm stands any more",
            lambda: all(one["state"] != "Firing" for one in self.guard(scene).get("alarms", ())),
            seconds=PATIENCE_SECONDS,
            picture=scene.picture,
        )
        assert len(self.guard(scene)["trainings"]) == 1

    def test_one_report_shows_all_of_it(self, scene: Scene, tmp_path: Path) -> None:
        page = tmp_path / "report.html"
        command = [
            sys.executable,
            "-m",
            "penstock_cli",
            "-n",
            scene.namespace,
            "report",
            "tumor-guard",
            "-o",
            str(page),
        ]
        environment = {**os.environ, "KUBECONFIG": str(scene.api.kubeconfig)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        told = page.read_text()
        training = self.guard(scene)["trainings"][0]["name"]
        for words in (FEATURE, "Promoted", training, "Succeeded", "Retrain", "live rows of", "Why the output moved"):
            assert words in told, words
